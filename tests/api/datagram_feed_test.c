/* SPDX-License-Identifier: MIT */
/*
 * datagram_feed_test.c - datagrams that are received as they come.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define BATCH 16

static const struct torc_datagram_feed_options small = {.count = 8, .size = 100};

static int open_udp(const struct torc_udp_options *options, struct torc_address *ret_address)
{
    const struct torc_address local = harness_address("127.0.0.1:0");
    const int fd = torc_udp_open(&local, options);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_local_address(fd, ret_address), ==, 0);
    return fd;
}

/* Send a datagram of the pattern that begins at `number`, as long as that says. */
static void send_one(int fd, unsigned number)
{
    char data[64];

    harness_pattern_fill(data, sizeof(data), number);
    EXPECT_INT(torc_send(fd, data, number % sizeof(data), 0), ==, number % sizeof(data));
}

/* Take `count` datagrams, the first of which is the one with this number. */
static void take_and_check(struct torc_datagram_feed *feed, unsigned number, unsigned count)
{
    struct torc_datagram datagrams[BATCH];

    while (count > 0) {
        const int taken = torc_datagram_feed_take(feed, datagrams, count < BATCH ? count : BATCH);

        EXPECT_INT(taken, >, 0);
        for (int i = 0; i < taken; i++, number++) {
            EXPECT_UINT(datagrams[i].length, ==, number % 64);
            EXPECT_UINT(datagrams[i].whole_length, ==, number % 64);
            harness_pattern_check(datagrams[i].data, datagrams[i].length, number);
        }
        count -= (unsigned)taken;
    }
}

FIBER_TEST(a_feed_gives_datagrams_in_order_empty_ones_too)
{
    struct torc_datagram_feed feed;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], NULL), ==, 0);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 5; i++)
            send_one(fds[0], 5 * round + i);
        take_and_check(&feed, 5 * round, 5);
    }
    torc_datagram_feed_close(&feed);
    harness_close_pair(fds);
}

static int send_many(void *arg)
{
    for (unsigned i = 0; i < 1000; i++)
        send_one(*(const int *)arg, i);
    return 0;
}

FIBER_TEST(a_feed_with_few_slots_loses_nothing)
{
    struct torc_datagram_feed feed;
    struct torc_scope scope;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], &small), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_many, &fds[0]); /* It waits where the socket is full. */
    take_and_check(&feed, 0, 1000);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_datagram_feed_close(&feed);
    harness_close_pair(fds);
}

/* More are there than slots when it begins to receive, so it ends for want of these each time. */
FIBER_TEST(a_feed_that_finds_no_slot_goes_on_when_some_are_given_back)
{
    struct torc_datagram_feed feed;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], &small), ==, 0);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 10; i++)
            send_one(fds[0], 10 * round + i);
        take_and_check(&feed, 10 * round, 10);
    }
    torc_datagram_feed_close(&feed);
    harness_close_pair(fds);
}

FIBER_TEST(a_feed_tells_who_sent_and_what_the_socket_was_opened_to_tell)
{
    const struct torc_udp_options options = {.tell_local = true, .tell_time = true};
    struct torc_datagram_feed feed;
    struct torc_datagram datagram;
    struct torc_address address;
    struct torc_address sender;
    const int fd = open_udp(&options, &address);
    const int client = open_udp(NULL, &sender);
    char reply[8];

    EXPECT_INT(torc_datagram_feed_open(&feed, fd, NULL), ==, 0);
    EXPECT_INT(torc_sendto(client, "hello", 5, 0, &address), ==, 5);
    EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, 1);
    EXPECT_UINT(datagram.length, ==, 5);
    EXPECT_MEM(datagram.data, "hello", 5);
    EXPECT(torc_address_equal(&datagram.peer, &sender));
    EXPECT_INT(datagram.local.any.sa_family, ==, AF_INET);
    EXPECT_UINT(datagram.timestamp_ns, >, 0);
    EXPECT_INT(torc_datagram_send(fd, &datagram, 0), ==,
               5); /* It goes back to where it came from. */
    EXPECT_INT(torc_recv(client, reply, sizeof(reply), 0), ==, 5);
    torc_datagram_feed_close(&feed);
    close(client);
    close(fd);
}

FIBER_TEST(what_is_longer_than_a_slot_is_cut_and_told)
{
    struct torc_datagram_feed feed;
    struct torc_datagram datagram;
    char data[300] = {0};
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], &small), ==, 0);
    EXPECT_INT(torc_send(fds[0], data, sizeof(data), 0), ==, sizeof(data));
    EXPECT_INT(torc_send(fds[0], "abc", 3, 0), ==, 3);
    EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, 1);
    EXPECT_UINT(datagram.length, ==, 100);
    EXPECT_UINT(datagram.whole_length, ==, 300);
    EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, 1);
    EXPECT_UINT(datagram.length, ==, 3);
    EXPECT_MEM(datagram.data, "abc", 3);
    torc_datagram_feed_close(&feed);
    harness_close_pair(fds);
}

FIBER_TEST(a_reason_ends_a_take_and_no_datagram_is_lost)
{
    struct torc_datagram_feed feed;
    struct torc_datagram datagram;
    struct torc_scope scope;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], NULL), ==, 0);
    for (unsigned i = 0; i < 20; i++) {
        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, 100 * TORC_MICROSECOND);
        EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, -ETIME);
        harness_put(fds[0], "abc", 3);
        EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, -ETIME);
        EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
        EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, 1);
        EXPECT_MEM(datagram.data, "abc", 3);
    }
    torc_datagram_feed_close(&feed);
    harness_close_pair(fds);
}

FIBER_TEST(a_feed_is_closed_with_datagrams_in_it)
{
    struct torc_datagram_feed feed;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], NULL), ==, 0);
    for (unsigned i = 0; i < 5; i++)
        send_one(fds[0], i);
    take_and_check(&feed, 0, 1);
    torc_datagram_feed_close(&feed);
    EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], &small), ==, 0);
    torc_datagram_feed_close(&feed); /* Before the first take. */
    harness_close_pair(fds);
}

FIBER_TEST(an_error_is_told_once_and_receiving_goes_on)
{
    struct torc_address dead = harness_dead_address();
    const int fd = torc_udp_connect(&dead, NULL);
    struct torc_datagram_feed feed;
    struct torc_datagram datagram;
    struct torc_scope scope;

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_datagram_feed_open(&feed, fd, NULL), ==, 0);
    EXPECT_INT(torc_send(fd, "x", 1, 0), ==, 1);
    EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, -ECONNREFUSED);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    torc_datagram_feed_close(&feed);
    close(fd);
}

FIBER_TEST(options_out_of_range_are_refused)
{
    static const struct torc_datagram_feed_options wrong[] = {
        {.count = 1}, {.count = 3}, {.count = 65536}, {.size = 65537}};
    struct torc_datagram_feed feed;
    struct torc_datagram datagram;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], &wrong[i]), ==, -EINVAL);
    EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], NULL), ==, 0);
    EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 0), ==, -EINVAL);
    torc_datagram_feed_close(&feed);
    harness_close_pair(fds);
}
