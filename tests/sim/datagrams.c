/* SPDX-License-Identifier: MIT */
/*
 * datagrams.c - a datagram comes whole or not at all, and none comes that nobody has sent.
 *
 * Some fibers send, others receive, by every call there is, in scopes that end at any instant: over
 * UDP between two hosts, where some are lost, doubled and overtaken, or over Unix sockets on one,
 * where all come once, in the order of each sender.
 */
#include "books.h"
#include <string.h>
#include <sys/socket.h>

#define SENDERS     2u
#define BATCH       5u
#define LENGTH_MAX  1400u
#define LENGTH_MIN  16u /* of its header */
#define NUMBERS_MAX 100u
#define BOUND_NS    (600 * TORC_SECOND)

/* What one sender does. */
struct sender {
    struct flow *flow;
    uint64_t number;
    uint64_t next;                 /* datagram */
    uint8_t received[NUMBERS_MAX]; /* how often each came */
    uint64_t last_received;
};

struct flow {
    bool is_unix;
    bool by_feed;
    bool all_sent;
    int fd; /* of the receiver */
    struct torc_address address;
    struct sender senders[SENDERS];
};

/* ---- A datagram: who sent it, which it is, and a pattern that follows from both ---- */

static size_t length_of(const struct sender *sender, uint64_t number)
{
    const uint64_t mixed = (number * SENDERS + sender->number) * UINT64_C(0x9e3779b97f4a7c15);

    return LENGTH_MIN + (size_t)((mixed >> 32) % (LENGTH_MAX - LENGTH_MIN));
}

static size_t write_datagram(struct sender *sender, uint64_t number, uint8_t *bytes)
{
    const size_t length = length_of(sender, number);

    memcpy(bytes, &sender->number, 8);
    memcpy(bytes + 8, &number, 8);
    pattern_fill((uint8_t)sender->number, number, bytes + LENGTH_MIN, length - LENGTH_MIN);
    return length;
}

static void take_datagram(struct flow *flow, const uint8_t *bytes, size_t length)
{
    struct sender *sender;
    uint64_t from;
    uint64_t number;

    TORC_SIM_CHECK(length >= LENGTH_MIN);
    memcpy(&from, bytes, 8);
    memcpy(&number, bytes + 8, 8);
    TORC_SIM_CHECK(from < SENDERS);
    sender = &flow->senders[from];
    TORC_SIM_CHECK(number < sender->next);
    TORC_SIM_CHECK(length == length_of(sender, number));
    pattern_check((uint8_t)from, number, bytes + LENGTH_MIN, length - LENGTH_MIN);
    sender->received[number]++;
    if (!flow->is_unix)
        return;
    TORC_SIM_CHECK(number == 0 || number > sender->last_received);
    sender->last_received = number;
}

/* ---- Sending ---- */

static int64_t send_batch(struct sender *sender, int fd)
{
    uint8_t bytes[BATCH][LENGTH_MAX];
    struct torc_datagram datagrams[BATCH];
    unsigned count = (unsigned)torc_sim_random_below(BATCH) + 1;
    uint64_t number = sender->next;
    int result;

    if (NUMBERS_MAX - number < count)
        count = (unsigned)(NUMBERS_MAX - number);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *data = bytes[i];

        datagrams[i] = (struct torc_datagram){
            .data = data,
            .length = write_datagram(sender, number + i, data),
            .peer = sender->flow->address,
        };
    }
    sender->next += count; /* They may be received before we know that they were sent. */
    result = torc_datagram_send_batch(fd, datagrams, count);
    TORC_SIM_CHECK(result != 0 && result <= (int)count);
    sender->next = number + (result > 0 ? (uint64_t)result : 0);
    return result;
}

static int64_t send_one(struct sender *sender, int fd)
{
    const struct torc_address *peer = &sender->flow->address;
    uint8_t bytes[LENGTH_MAX];
    const size_t length = write_datagram(sender, sender->next++, bytes);
    struct torc_datagram datagram = {.data = bytes, .length = length, .peer = *peer};
    struct iovec vector = {.iov_base = bytes, .iov_len = length};
    struct msghdr message = {.msg_name = (void *)(uintptr_t)&peer->any,
                             .msg_namelen = peer->length,
                             .msg_iov = &vector,
                             .msg_iovlen = 1};
    int64_t result;

    switch (torc_sim_random_below(3)) {
    case 0:
        result = torc_sendto(fd, bytes, length, 0, peer);
        break;
    case 1:
        result = torc_datagram_send(fd, &datagram, 0);
        break;
    default:
        result = torc_sendmsg(fd, &message, 0);
        break;
    }
    if (result < 0)
        sender->next--;
    TORC_SIM_CHECK(result < 0 || result == (int64_t)length);
    return result;
}

static int open_socket(const struct flow *flow, bool receives)
{
    const struct torc_unix_options options = {.type = SOCK_DGRAM};
    struct torc_address any;
    int fd;

    TORC_SIM_CHECK(torc_address_parse(receives ? "0.0.0.0:7000" : "0.0.0.0:0", &any) == 0);
    do {
        if (flow->is_unix)
            fd = receives ? torc_unix_open(&flow->address, &options)
                          : torc_socket(AF_UNIX, SOCK_DGRAM, 0);
        else
            fd = torc_udp_open(&any, NULL);
    } while (is_chance(fd) && torc_cancelled() == 0);
    TORC_SIM_CHECK(fd >= 0 || torc_cancelled() < 0);
    return fd;
}

static int send_all(void *arg)
{
    struct sender *sender = arg;
    const int fd = open_socket(sender->flow, false);
    int64_t result = 0;

    while (sender->next < NUMBERS_MAX) {
        struct peril peril;

        peril_open(&peril);
        result = one_in(2) ? send_batch(sender, fd) : send_one(sender, fd);
        peril_close(&peril);
        TORC_SIM_CHECK(result > 0 || is_passing(result));
        if (one_in(10))
            (void)torc_sleep(some_time(TORC_MILLISECOND));
    }
    (void)torc_close(fd);
    return 0;
}

/* ---- Receiving ---- */

static int64_t receive_batch(struct flow *flow, int fd)
{
    uint8_t bytes[BATCH][LENGTH_MAX];
    struct torc_datagram datagrams[BATCH];
    int count;

    for (unsigned i = 0; i < BATCH; i++)
        datagrams[i] = (struct torc_datagram){.data = bytes[i], .size = LENGTH_MAX};
    count = torc_datagram_recv_batch(fd, datagrams, BATCH);
    TORC_SIM_CHECK(count != 0 && count <= (int)BATCH);
    for (int i = 0; i < count; i++)
        take_datagram(flow, bytes[i], datagrams[i].length);
    return count;
}

static int64_t receive_one(struct flow *flow, int fd)
{
    uint8_t bytes[LENGTH_MAX];
    struct torc_datagram datagram = {.data = bytes, .size = sizeof(bytes)};
    struct torc_address peer;
    int64_t result;

    switch (torc_sim_random_below(3)) {
    case 0:
        result = torc_recv(fd, bytes, sizeof(bytes), 0);
        break;
    case 1:
        result = torc_recvfrom(fd, bytes, sizeof(bytes), 0, &peer);
        break;
    default:
        result = torc_datagram_recv(fd, &datagram, 0);
        TORC_SIM_CHECK(result < 0 || datagram.whole_length == (size_t)result);
        break;
    }
    if (result >= 0)
        take_datagram(flow, bytes, (size_t)result);
    return result;
}

static int64_t take_from_feed(struct flow *flow, struct torc_datagram_feed *feed)
{
    struct torc_datagram datagrams[BATCH];
    const unsigned most = (unsigned)torc_sim_random_below(BATCH) + 1;
    const int count = torc_datagram_feed_take(feed, datagrams, most);

    TORC_SIM_CHECK(count != 0 && count <= (int)most);
    for (int i = 0; i < count; i++) {
        TORC_SIM_CHECK(datagrams[i].whole_length == datagrams[i].length);
        take_datagram(flow, datagrams[i].data, datagrams[i].length);
    }
    return count;
}

/* Until nothing has come for so long that nothing is under way any more. */
static void receive_all(struct flow *flow, struct torc_datagram_feed *feed)
{
    bool is_silent = false;

    while (!is_silent) {
        const bool all_sent = flow->all_sent;
        struct torc_scope patience;
        struct peril peril;
        int64_t result;

        torc_scope_open(&patience, 0);
        torc_scope_set_timeout(&patience, 5 * TORC_SECOND);
        peril_open(&peril);
        if (feed != NULL)
            result = take_from_feed(flow, feed);
        else
            result = one_in(2) ? receive_batch(flow, flow->fd) : receive_one(flow, flow->fd);
        peril_close(&peril);
        TORC_SIM_CHECK(result > 0 || is_passing(result));
        is_silent = all_sent && torc_cancelled() == -ETIME;
        torc_scope_cancel(&patience);
        (void)torc_scope_close(&patience);
    }
}

static int receive(void *arg)
{
    const struct torc_datagram_feed_options options = {.count = 8};
    struct flow *flow = arg;
    struct torc_datagram_feed feed;

    if (flow->by_feed) {
        TORC_SIM_CHECK(torc_datagram_feed_open(&feed, flow->fd, &options) == 0);
        receive_all(flow, &feed);
        torc_datagram_feed_close(&feed);
    } else {
        receive_all(flow, NULL);
    }
    return 0;
}

/* ---- The hosts ---- */

static int send_both(void *arg)
{
    struct flow *flow = arg;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < SENDERS; i++)
        TORC_SIM_CHECK(torc_scope_spawn(&scope, send_all, &flow->senders[i]) == 0);
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    flow->all_sent = true;
    return 0;
}

/* Unix sockets: both sides are on this host. */
static int receiver_main(void *arg)
{
    struct flow *flow = arg;
    struct torc_scope scope;

    flow->fd = open_socket(flow, true);
    torc_scope_open(&scope, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, receive, flow) == 0);
    if (flow->is_unix)
        TORC_SIM_CHECK(torc_scope_spawn(&scope, send_both, flow) == 0);
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    (void)(flow->is_unix ? torc_unix_close(flow->fd) : torc_close(flow->fd));
    check_alone();
    return 0;
}

static int receiver(void *arg)
{
    return run_and_check(receiver_main, arg, NULL);
}

static int sender(void *arg)
{
    return run_and_check(send_both, arg, NULL);
}

static void check_counts(const struct flow *flow)
{
    for (unsigned i = 0; i < SENDERS; i++) {
        const struct sender *from = &flow->senders[i];

        for (uint64_t number = 0; number < from->next && flow->is_unix; number++)
            TORC_SIM_CHECK(from->received[number] == 1);
    }
}

static int scenario(void *arg)
{
    struct flow flow = {.is_unix = one_in(2), .by_feed = one_in(2)};
    struct torc_sim_host *receiving;
    struct torc_sim_host *sending;

    (void)arg;
    TORC_SIM_CHECK(
        torc_address_parse(flow.is_unix ? "/tmp/mail" : "10.0.0.9:7000", &flow.address) == 0);
    for (unsigned i = 0; i < SENDERS; i++)
        flow.senders[i] = (struct sender){.flow = &flow, .number = i};
    TORC_SIM_CHECK(torc_sim_host_start("receiver", "10.0.0.9", receiver, &flow, &receiving) == 0);
    if (!flow.is_unix) {
        TORC_SIM_CHECK(torc_sim_host_start("sender", NULL, sender, &flow, &sending) == 0);
        TORC_SIM_CHECK(wait_for_end(sending, BOUND_NS) == 0);
    }
    TORC_SIM_CHECK(wait_for_end(receiving, BOUND_NS) == 0);
    check_counts(&flow);
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}
