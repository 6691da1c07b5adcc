/* SPDX-License-Identifier: MIT */
/*
 * connect_name_test.c - connecting to a name, and to whichever of several addresses is first.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

/* Never waited for: what needs it to pass would not end in time. */
#define FOR_EVER (1000000 * TORC_SECOND)

static void expect_peer(int fd, const struct torc_address *expected)
{
    struct torc_address peer;

    EXPECT_MSG(fd >= 0, "%s", torc_strerror(fd));
    EXPECT_INT(torc_peer_address(fd, &peer), ==, 0);
    EXPECT(torc_address_equal(&peer, expected));
    EXPECT(harness_is_cloexec(fd));
    EXPECT_INT(torc_close(fd), ==, 0);
}

/* A listener at an IPv6 address and port; -1 if this machine has no IPv6. */
static int listen_v6(struct torc_address *ret_address)
{
    struct torc_address address = harness_address("[::1]:0");
    const int fd = torc_tcp_listen(&address, NULL);

    if (fd >= 0)
        EXPECT_INT(torc_local_address(fd, ret_address), ==, 0);
    return fd;
}

FIBER_TEST(the_name_localhost_is_connected_to_in_either_family)
{
    struct torc_address v4;
    struct torc_address v6;
    const int listener = harness_listener(&v4);

    /* Nobody listens at that port of ::1, so it is refused, and 127.0.0.1 is next. */
    expect_peer(torc_tcp_connect_name("localhost", torc_address_port(&v4), NULL), &v4);
    EXPECT_INT(torc_close(listener), ==, 0);

    const int listener_v6 = listen_v6(&v6);
    if (listener_v6 < 0)
        return;
    expect_peer(torc_tcp_connect_name("localhost", torc_address_port(&v6), NULL), &v6);
    const struct torc_connect_name_options only_v4 = {.family = AF_INET};
    EXPECT_INT(torc_tcp_connect_name("localhost", torc_address_port(&v6), &only_v4), ==,
               -ECONNREFUSED);
    EXPECT_INT(torc_close(listener_v6), ==, 0);
}

FIBER_TEST_WITH_THREADS(a_name_is_looked_up_and_connected_to)
{
    struct torc_address address;
    const int listener = harness_listener(&address);
    struct torc_resolver *resolver;

    EXPECT_INT(torc_resolver_create(NULL, &resolver), ==, 0);
    const struct torc_connect_name_options options = {.resolver = resolver};
    expect_peer(torc_tcp_connect_name("127.1", torc_address_port(&address), &options), &address);
    torc_resolver_destroy(resolver);
    EXPECT_INT(torc_close(listener), ==, 0);
}

FIBER_TEST(an_address_that_does_not_answer_is_overtaken)
{
    const struct torc_connect_name_options options = {.attempt_delay_ns = TORC_MILLISECOND};
    struct torc_address addresses[3];
    int clients[2];
    const int full = harness_full_listener(&addresses[0], clients);
    const int live = harness_listener(&addresses[2]);

    addresses[1] = addresses[0];
    expect_peer(torc_tcp_race(addresses, 3, &options), &addresses[2]);
    EXPECT_INT(harness_fibers(), ==, 1);
    harness_close_pair(clients);
    EXPECT_INT(close(full), ==, 0);
    EXPECT_INT(close(live), ==, 0);
}

FIBER_TEST(one_that_fails_gives_up_the_rest_of_its_start)
{
    const struct torc_connect_name_options options = {.attempt_delay_ns = FOR_EVER};
    struct torc_address addresses[4];
    const int live = harness_listener(&addresses[3]);

    for (int i = 0; i < 3; i++)
        addresses[i] = harness_dead_address();
    expect_peer(torc_tcp_race(addresses, 4, &options), &addresses[3]);
    EXPECT_INT(torc_tcp_race(addresses, 3, &options), ==, -ECONNREFUSED);
    EXPECT_INT(torc_tcp_race(addresses, 1, NULL), ==, -ECONNREFUSED);
    EXPECT_INT(close(live), ==, 0);
}

FIBER_TEST(families_take_turns)
{
    const struct torc_connect_name_options options = {.attempt_delay_ns = FOR_EVER};
    struct torc_address v4;
    struct torc_address v6;
    const int listener = harness_listener(&v4);
    const int listener_v6 = listen_v6(&v6);

    if (listener_v6 < 0) {
        EXPECT_INT(close(listener), ==, 0);
        SKIP("no IPv6 here");
    }
    /* The second that is tried is the first of the other family, wherever it stands. */
    const struct torc_address first_v4[] = {harness_dead_address(), v4, v4, v6};
    expect_peer(torc_tcp_race(first_v4, 4, &options), &v6);
    const struct torc_address first_v6[] = {v6, v4};
    expect_peer(torc_tcp_race(first_v6, 2, &options), &v6);
    struct torc_address dead_v6 = v6;
    EXPECT_INT(torc_close(listener_v6), ==, 0);
    const struct torc_address rest_v4[] = {dead_v6, dead_v6, dead_v6, v4};
    expect_peer(torc_tcp_race(rest_v4, 4, &options), &v4);
    EXPECT_INT(close(listener), ==, 0);
}

FIBER_TEST(a_deadline_ends_all_attempts_and_leaves_nothing)
{
    const struct torc_connect_name_options options = {.attempt_delay_ns = TORC_MILLISECOND};
    struct torc_address addresses[2];
    int clients[2];
    const int full = harness_full_listener(&addresses[0], clients);
    const unsigned fds = harness_open_fds();
    struct torc_scope scope;

    addresses[1] = addresses[0];
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 20 * TORC_MILLISECOND);
    EXPECT_INT(torc_tcp_race(addresses, 2, &options), ==, -ETIME);
    EXPECT_INT(torc_tcp_race(addresses, 2, &options), ==, -ETIME);
    EXPECT_INT(torc_tcp_connect_name("localhost", 1, NULL), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_UINT(harness_open_fds(), ==, fds);
    EXPECT_INT(harness_fibers(), ==, 1);
    harness_close_pair(clients);
    EXPECT_INT(close(full), ==, 0);
}

struct racer {
    const struct torc_address *addresses;
    int result;
};

static int race(void *arg)
{
    struct racer *racer = arg;

    racer->result = torc_tcp_race(racer->addresses, 2, NULL);
    return 0;
}

FIBER_TEST(cancelling_ends_all_attempts)
{
    struct torc_address addresses[2];
    int clients[2];
    const int full = harness_full_listener(&addresses[0], clients);
    struct racer racer = {.addresses = addresses};
    struct torc_scope scope;

    addresses[1] = addresses[0];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, race, &racer);
    harness_pass_kernel();
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(racer.result, ==, -ECANCELED);
    harness_close_pair(clients);
    EXPECT_INT(close(full), ==, 0);
}

FIBER_TEST(of_several_that_connect_at_once_one_is_kept)
{
    const struct torc_connect_name_options at_once = {.attempt_delay_ns = 1};
    struct torc_address addresses[64];
    const int live = harness_listener(&addresses[0]);
    const unsigned fds = harness_open_fds();

    for (int i = 1; i < 64; i++)
        addresses[i] = addresses[0];
    for (unsigned i = 0; i < harness_scaled(50); i++) {
        const int fd = torc_tcp_race(addresses, 64, &at_once);

        EXPECT_INT(fd, >=, 0);
        EXPECT_UINT(harness_open_fds(), ==, fds + 1);
        EXPECT_INT(harness_fibers(), ==, 1);
        EXPECT_INT(torc_close(fd), ==, 0);
    }
    EXPECT_INT(close(live), ==, 0);
}

FIBER_TEST(what_cannot_be_raced_is_refused)
{
    struct torc_address addresses[65];

    for (int i = 0; i < 65; i++)
        addresses[i] = harness_address("127.0.0.1:1");
    EXPECT_INT(torc_tcp_race(addresses, 0, NULL), ==, -EINVAL);
    EXPECT_INT(torc_tcp_race(addresses, 65, NULL), ==, -EINVAL);
}
