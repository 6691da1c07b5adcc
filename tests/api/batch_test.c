/* SPDX-License-Identifier: MIT */
/*
 * batch_test.c - many datagrams by one call.
 *
 * Mostly over Unix sockets, where a datagram is there when it has been sent; those of UDP may be
 * late, and out of order, even on one machine.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define COUNT 50 /* More than one system call takes. */
#define ROOM  32

struct batch {
    struct torc_datagram datagrams[COUNT];
    char data[COUNT][ROOM];
};

static void open_pair(int ret_fds[2])
{
    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, ret_fds), ==, 0);
}

static void make_room(struct batch *batch)
{
    for (int i = 0; i < COUNT; i++)
        batch->datagrams[i] = (struct torc_datagram){.data = batch->data[i], .size = ROOM};
}

/* Datagrams of different lengths and contents. */
static void make_datagrams(struct batch *batch)
{
    for (int i = 0; i < COUNT; i++) {
        batch->datagrams[i] =
            (struct torc_datagram){.data = batch->data[i], .length = (size_t)(i % ROOM)};
        harness_pattern_fill(batch->data[i], ROOM, (uint64_t)i);
    }
}

static void check(const struct batch *batch)
{
    for (int i = 0; i < COUNT; i++) {
        const struct torc_datagram *datagram = &batch->datagrams[i];

        EXPECT_UINT(datagram->length, ==, i % ROOM);
        EXPECT_UINT(datagram->whole_length, ==, i % ROOM);
        EXPECT_UINT(datagram->peer.length, ==, 0); /* It has no name. */
        harness_pattern_check(batch->data[i], datagram->length, (uint64_t)i);
    }
}

FIBER_TEST(a_batch_arrives_whole_and_in_order)
{
    struct batch batch;
    int fds[2];

    open_pair(fds);
    make_datagrams(&batch);
    EXPECT_INT(torc_datagram_send_batch(fds[0], batch.datagrams, COUNT), ==, COUNT);
    memset(batch.data, 0, sizeof(batch.data));
    make_room(&batch);
    EXPECT_INT(torc_datagram_recv_batch(fds[1], batch.datagrams, COUNT), ==, COUNT);
    check(&batch);
    EXPECT(!harness_is_readable(fds[1]));
    harness_close_pair(fds);
}

static int open_udp(struct torc_address *ret_address)
{
    const struct torc_address local = harness_address("127.0.0.1:0");
    const int fd = torc_udp_open(&local, NULL);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_local_address(fd, ret_address), ==, 0);
    return fd;
}

FIBER_TEST(batches_of_udp_tell_of_each_datagram_who_sent_it)
{
    struct torc_address server_address;
    struct torc_address addresses[2];
    const int server = open_udp(&server_address);
    const int clients[2] = {open_udp(&addresses[0]), open_udp(&addresses[1])};
    bool seen[COUNT] = {false};
    struct batch batch;
    int total = 0;

    for (int i = 0; i < COUNT; i++) {
        batch.data[i][0] = (char)i;
        batch.datagrams[i] =
            (struct torc_datagram){.data = batch.data[i], .length = 1, .peer = server_address};
    }
    for (int i = 0; i < 2; i++)
        EXPECT_INT(torc_datagram_send_batch(clients[i], batch.datagrams + i * COUNT / 2, COUNT / 2),
                   ==, COUNT / 2);
    make_room(&batch);
    while (total < COUNT) {
        const int count = torc_datagram_recv_batch(server, batch.datagrams, COUNT);

        EXPECT_INT(count, >, 0);
        for (int i = 0; i < count; i++) {
            const int number = batch.data[i][0];

            EXPECT(!seen[number]);
            seen[number] = true;
            EXPECT(torc_address_equal(&batch.datagrams[i].peer, &addresses[number >= COUNT / 2]));
        }
        total += count;
    }
    harness_close_pair(clients);
    torc_close(server);
}

static uint64_t system_calls(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.enters;
}

FIBER_TEST(a_batch_that_is_there_needs_no_call_of_the_ring)
{
    struct batch batch;
    uint64_t before;
    int fds[2];

    open_pair(fds);
    before = system_calls();
    for (int i = 0; i < 3; i++) {
        make_datagrams(&batch);
        EXPECT_INT(torc_datagram_send_batch(fds[0], batch.datagrams, COUNT), ==, COUNT);
        make_room(&batch);
        EXPECT_INT(torc_datagram_recv_batch(fds[1], batch.datagrams, COUNT), ==, COUNT);
    }
    EXPECT_UINT(system_calls(), ==, before);
    harness_close_pair(fds);
}

struct receiver {
    int fd;
    int count;
    struct batch batch;
};

static int receive_batch(void *arg)
{
    struct receiver *receiver = arg;

    make_room(&receiver->batch);
    receiver->count = torc_datagram_recv_batch(receiver->fd, receiver->batch.datagrams, COUNT);
    return 0;
}

FIBER_TEST(a_batch_waits_for_its_first_datagram_and_takes_what_is_there)
{
    static struct receiver receiver;
    struct torc_scope scope;
    int fds[2];

    open_pair(fds);
    receiver.fd = fds[1];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_batch, &receiver);
    harness_pass_kernel();
    for (int i = 0; i < 3; i++) /* The receiver does not run in between: send() of the system. */
        EXPECT_INT(send(fds[0], "abc", 3, 0), ==, 3);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(receiver.count, ==, 3);
    EXPECT_UINT(receiver.batch.datagrams[2].length, ==, 3);
    harness_close_pair(fds);
}

FIBER_TEST(a_batch_that_is_cancelled_takes_nothing)
{
    static struct receiver receiver;
    struct torc_scope scope;
    int fds[2];

    open_pair(fds);
    receiver.fd = fds[1];
    EXPECT_INT(torc_send(fds[0], "abc", 3, 0), ==, 3);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    receive_batch(&receiver);
    torc_scope_close(&scope);
    EXPECT_INT(receiver.count, ==, -ECANCELED);
    EXPECT_UINT(harness_unread(fds[1]), ==, 3);
    harness_close_pair(fds);
}

FIBER_TEST(a_batch_stops_before_the_datagram_that_cannot_be_sent)
{
    static char large[100000];
    const int small = 10000;
    struct batch batch;
    int fds[2];

    open_pair(fds);
    EXPECT_INT(torc_setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==, 0);
    make_datagrams(&batch);
    batch.datagrams[10].data = large;
    batch.datagrams[10].length = sizeof(large);
    EXPECT_INT(torc_datagram_send_batch(fds[0], batch.datagrams, 20), ==, 10);
    EXPECT_INT(torc_datagram_send_batch(fds[0], batch.datagrams + 10, 10), ==, -EMSGSIZE);
    EXPECT_INT(torc_datagram_send_batch(fds[0], batch.datagrams + 11, 9), ==, 9);
    make_room(&batch);
    EXPECT_INT(torc_datagram_recv_batch(fds[1], batch.datagrams, COUNT), ==, 19);
    harness_close_pair(fds);
}

FIBER_TEST(wrong_batches_give_errors)
{
    char byte;
    struct torc_datagram datagram = {.data = &byte, .size = 1};
    int fds[2];

    harness_pipe(fds);
    EXPECT_INT(torc_datagram_recv_batch(fds[0], &datagram, 0), ==, -EINVAL);
    EXPECT_INT(torc_datagram_send_batch(fds[1], &datagram, 0), ==, -EINVAL);
    EXPECT_INT(torc_datagram_recv_batch(fds[0], &datagram, 1), ==, -ENOTSOCK);
    EXPECT_INT(torc_datagram_send_batch(fds[1], &datagram, 1), ==, -ENOTSOCK);
    EXPECT_INT(torc_datagram_recv(fds[0], &datagram, 0), ==, -ENOTSOCK);
    EXPECT_INT(torc_datagram_send(fds[1], &datagram, 0), ==, -ENOTSOCK);
    EXPECT_INT(torc_datagram_recv_batch(-1, &datagram, 1), ==, -EBADF);
    harness_close_pair(fds);
}

static bool others_ran;

static int note_that_it_ran(void *arg)
{
    (void)arg;
    others_ran = true;
    return 0;
}

FIBER_TEST(a_fiber_that_always_finds_datagrams_lets_others_run)
{
    struct torc_scope scope;
    struct batch batch;
    int fds[2];

    open_pair(fds);
    make_datagrams(&batch);
    EXPECT_INT(torc_datagram_send_batch(fds[0], batch.datagrams, COUNT), ==, COUNT);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, note_that_it_ran, NULL);
    make_room(&batch);
    EXPECT_INT(torc_datagram_recv_batch(fds[1], batch.datagrams, 1), ==, 1);
    EXPECT(others_ran);
    torc_scope_close(&scope);
    harness_close_pair(fds);
}

static int receive_all(void *arg)
{
    struct receiver *receiver = arg;
    int total = 0;

    while (total < 10 * COUNT) {
        make_room(&receiver->batch);
        receiver->count = torc_datagram_recv_batch(receiver->fd, receiver->batch.datagrams, COUNT);
        EXPECT_INT(receiver->count, >, 0);
        for (int i = 0; i < receiver->count; i++)
            harness_pattern_check(receiver->batch.data[i], ROOM, (uint64_t)(total + i));
        total += receiver->count;
    }
    return 0;
}

/* The socket holds few, so that both sides wait again and again. */
FIBER_TEST(batches_go_through_a_narrow_socket_without_loss)
{
    static struct receiver receiver;
    const int small = 10000;
    struct torc_scope scope;
    struct batch batch;
    int fds[2];

    open_pair(fds);
    EXPECT_INT(torc_setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==, 0);
    receiver.fd = fds[1];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_all, &receiver);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < COUNT; i++) {
            batch.datagrams[i] = (struct torc_datagram){.data = batch.data[i], .length = ROOM};
            harness_pattern_fill(batch.data[i], ROOM, (uint64_t)(round * COUNT + i));
        }
        EXPECT_INT(torc_datagram_send_batch(fds[0], batch.datagrams, COUNT), ==, COUNT);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
}
