/* SPDX-License-Identifier: MIT */
/*
 * op_test.c - operations of io_uring as such: one, several at once, and with many completions.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <torc/torc.h>
#include <unistd.h>

#define A_WHILE (5 * TORC_MILLISECOND)

FIBER_TEST(any_operation_of_the_kernel_can_be_used)
{
    const int file = memfd_create("file", MFD_CLOEXEC);
    struct statx about = {0};
    struct torc_op op;

    io_uring_prep_write(torc_op_prepare(&op), file, "abc", 3, 0);
    EXPECT_INT(torc_op_wait(&op), ==, 3);
    io_uring_prep_fsync(torc_op_prepare(&op), file, 0);
    EXPECT_INT(torc_op_wait(&op), ==, 0);
    io_uring_prep_statx(torc_op_prepare(&op), file, "", AT_EMPTY_PATH, STATX_SIZE, &about);
    EXPECT_INT(torc_op_wait(&op), ==, 0);
    EXPECT_UINT(about.stx_size, ==, 3);
    io_uring_prep_fsync(torc_op_prepare(&op), -1, 0);
    EXPECT_INT(torc_op_wait(&op), ==, -EBADF);
    io_uring_prep_rw(0xfe, torc_op_prepare(&op), -1, NULL, 0, 0); /* There is none. */
    EXPECT_INT(torc_op_wait(&op), ==, -EINVAL);
    io_uring_prep_nop(torc_op_prepare(&op));
    EXPECT_INT(torc_op_wait(&op), ==, 0);
    close(file);
}

FIBER_TEST(the_flags_of_the_last_completion_can_be_had)
{
    struct torc_op op;
    char data[2];
    int fds[2];

    harness_tcp_pair(fds);
    harness_put(fds[1], "abcd", 4);
    for (int i = 0; i < 2; i++) {
        io_uring_prep_recv(torc_op_prepare(&op), fds[0], data, 2, 0);
        EXPECT_INT(torc_op_wait(&op), ==, 2);
        EXPECT_UINT(torc_op_flags(&op) & ~IORING_CQE_F_SOCK_NONEMPTY, ==, 0); /* Linux 5.19 */
        if (i == 1) /* Nothing more is there. */
            EXPECT_UINT(torc_op_flags(&op), ==, 0);
    }
    harness_close_pair(fds);
}

FIBER_TEST(the_sqe_comes_cleared)
{
    struct torc_op op;
    struct io_uring_sqe zero;

    memset(&zero, 0, sizeof(zero));
    for (int i = 0; i < 5000; i++) { /* More than there are entries, so that all are used again. */
        struct io_uring_sqe *sqe = torc_op_prepare(&op);

        EXPECT_MEM(sqe, &zero, offsetof(struct io_uring_sqe, user_data));
        io_uring_prep_rw(IORING_OP_NOP, sqe, -1, &op, 0xffffffff, UINT64_MAX);
        sqe->len = 0;
        sqe->flags = 0;
        EXPECT_INT(torc_op_wait(&op), ==, 0);
    }
}

/* ---- Storms ---- */

#define STORM 20000

static struct torc_op storm[STORM];

static int raise_storm(void *arg)
{
    const unsigned count = *(const unsigned *)arg;

    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < count; i++)
            io_uring_prep_nop(torc_op_prepare(&storm[i]));
        for (unsigned i = 0; i < count; i++)
            EXPECT_INT(torc_op_wait(&storm[(i * 7919) % count]), ==, 0);
    }
    return 0;
}

TEST(far_more_operations_than_queue_entries_may_be_in_flight)
{
    const struct torc_options small = {.entries = 256, .completion_entries = 8192};
    unsigned count = harness_scaled(STORM);

    harness_run_with(&small, raise_storm, &count);
    harness_run_with(NULL, raise_storm, &count);
}

/* Polls that all complete at one moment, more than the completion queue holds. */
static int burst(void *arg)
{
    const unsigned count = *(const unsigned *)arg;
    struct torc_stats stats;
    int fds[2];

    harness_unix_pair(fds);
    for (unsigned i = 0; i < count; i++)
        io_uring_prep_poll_add(torc_op_prepare(&storm[i]), fds[0], POLLIN);
    harness_pass_kernel();
    EXPECT(!torc_op_done(&storm[0]) && !torc_op_done(&storm[count - 1]));
    harness_put(fds[1], "x", 1);
    for (unsigned i = 0; i < count; i++)
        EXPECT_INT(torc_op_wait(&storm[i]), ==, POLLIN);
    torc_stats(&stats);
    EXPECT_UINT(stats.completions, >=, count);
    harness_close_pair(fds);
    return 0;
}

TEST(more_completions_at_once_than_the_queue_holds_are_all_delivered)
{
    const struct torc_options small = {.entries = 256, .completion_entries = 8192};
    unsigned count = harness_is_slow() ? 10000 : STORM;

    harness_run_with(&small, burst, &count);
}

static int join_often(void *arg)
{
    const unsigned rounds = *(const unsigned *)arg;

    for (unsigned i = 0; i < rounds; i++) {
        struct torc_op ops[8];
        struct torc_op *all[8];

        for (int j = 0; j < 8; j++) {
            all[j] = &ops[j];
            io_uring_prep_nop(torc_op_prepare(&ops[j]));
        }
        EXPECT_INT(torc_op_join(all, 8), ==, 0);
    }
    return 0;
}

FIBER_TEST(a_thousand_fibers_may_have_operations_in_flight)
{
    struct torc_scope scope;
    unsigned rounds = harness_scaled(50);

    torc_scope_open(&scope, 0);
    for (int i = 0; i < 1000; i++)
        harness_spawn(&scope, join_often, &rounds);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

/* ---- Several at once ---- */

struct trio {
    int fds[3][2];
    char data[3][8];
    struct torc_op ops[3];
    struct torc_op *all[3];
};

/* Three receives in flight. */
static void open_trio(struct trio *trio)
{
    for (int i = 0; i < 3; i++) {
        harness_tcp_pair(trio->fds[i]);
        trio->all[i] = &trio->ops[i];
        io_uring_prep_recv(torc_op_prepare(&trio->ops[i]), trio->fds[i][0], trio->data[i], 8, 0);
    }
    harness_pass_kernel();
}

static void close_trio(const struct trio *trio)
{
    for (int i = 0; i < 3; i++)
        harness_close_pair(trio->fds[i]);
}

static int feed_trio(void *arg)
{
    struct trio *trio = arg;

    for (int i = 2; i >= 0; i--) {
        harness_put(trio->fds[i][1], "abcdefgh", (size_t)i + 1);
        harness_pass_kernel();
    }
    return 0;
}

FIBER_TEST(join_waits_for_all_and_keeps_each_result)
{
    struct torc_scope scope;
    struct trio trio;

    open_trio(&trio);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, feed_trio, &trio);
    EXPECT_INT(torc_op_join(trio.all, 3), ==, 0);
    for (int i = 0; i < 3; i++)
        EXPECT_INT(torc_op_wait(&trio.ops[i]), ==, i + 1);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    close_trio(&trio);
}

static int reset_second(void *arg)
{
    struct trio *trio = arg;

    harness_reset(trio->fds[1][1]);
    harness_pass_kernel();
    harness_put(trio->fds[0][1], "a", 1);
    harness_put(trio->fds[2][1], "abc", 3);
    return 0;
}

FIBER_TEST(join_returns_the_first_failure_in_the_order_of_the_array_when_all_have_ended)
{
    struct torc_scope scope;
    struct trio trio;

    open_trio(&trio);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, reset_second, &trio);
    EXPECT_INT(torc_op_join(trio.all, 3), ==, -ECONNRESET);
    EXPECT_INT(torc_op_wait(&trio.ops[0]), ==, 1);
    EXPECT_INT(torc_op_wait(&trio.ops[1]), ==, -ECONNRESET);
    EXPECT_INT(torc_op_wait(&trio.ops[2]), ==, 3);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    trio.fds[1][1] = dup(0);
    close_trio(&trio);
    EXPECT_INT(torc_op_join(trio.all, 0), ==, 0);
}

FIBER_TEST(try_join_cancels_the_others_when_one_fails)
{
    struct trio trio;

    open_trio(&trio);
    harness_reset(trio.fds[1][1]);
    EXPECT_INT(torc_op_try_join(trio.all, 3), ==, -ECONNRESET);
    EXPECT_INT(torc_op_wait(&trio.ops[0]), ==, -ECANCELED);
    EXPECT_INT(torc_op_wait(&trio.ops[1]), ==, -ECONNRESET);
    EXPECT_INT(torc_op_wait(&trio.ops[2]), ==, -ECANCELED);
    EXPECT_INT(torc_cancelled(), ==, 0);
    trio.fds[1][1] = dup(0);
    close_trio(&trio);
}

FIBER_TEST(try_join_is_a_join_when_none_fails)
{
    struct torc_scope scope;
    struct trio trio;

    open_trio(&trio);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, feed_trio, &trio);
    EXPECT_INT(torc_op_try_join(trio.all, 3), ==, 0);
    for (int i = 0; i < 3; i++)
        EXPECT_INT(torc_op_wait(&trio.ops[i]), ==, i + 1);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    close_trio(&trio);
}

FIBER_TEST(rule_25_select_commits_one_and_cancels_and_awaits_the_others)
{
    for (int winner = 0; winner < 3; winner++) {
        struct trio trio;

        open_trio(&trio);
        harness_put(trio.fds[winner][1], "ab", 2);
        EXPECT_INT(torc_op_select(trio.all, 3), ==, winner);
        for (int i = 0; i < 3; i++) {
            EXPECT(torc_op_done(&trio.ops[i]));
            EXPECT_INT(torc_op_wait(&trio.ops[i]), ==, i == winner ? 2 : -ECANCELED);
        }
        close_trio(&trio);
    }
    EXPECT_INT(torc_op_select(NULL, 0), ==, -EINVAL);
}

FIBER_TEST(rule_25_the_losers_of_a_select_lose_no_data)
{
    for (unsigned i = 0; i < harness_scaled(500); i++) {
        struct trio trio;
        size_t in_sockets = 0;
        size_t in_results = 0;

        open_trio(&trio);
        for (int j = 0; j < 3; j++) {
            if (harness_random_below(2) == 0 || j == 2)
                harness_put(trio.fds[j][1], "abcd", 4);
        }
        EXPECT_INT(torc_op_select(trio.all, 3), >=, 0);
        for (int j = 0; j < 3; j++) {
            const int result = torc_op_wait(&trio.ops[j]);

            EXPECT_MSG(result == 4 || result == -ECANCELED, "%d", result);
            in_results += result > 0 ? (size_t)result : 0;
            in_sockets += harness_unread(trio.fds[j][0]);
        }
        EXPECT_UINT(in_results, >=, 4);
        EXPECT_UINT((in_results + in_sockets) % 4, ==, 0);
        EXPECT_UINT(harness_unread(trio.fds[2][0]), ==, torc_op_wait(&trio.ops[2]) == 4 ? 0 : 4);
        close_trio(&trio);
    }
}

FIBER_TEST(t_07_waiting_for_all_or_any_ends_with_the_reason_when_the_time_is_up)
{
    int (*const waits[])(struct torc_op *const *, unsigned) = {torc_op_join, torc_op_try_join,
                                                               torc_op_select};

    for (int i = 0; i < 3; i++) {
        struct torc_scope scope;
        struct trio trio;

        open_trio(&trio);
        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, A_WHILE);
        EXPECT_INT(waits[i](trio.all, 3), ==, -ETIME);
        for (int j = 0; j < 3; j++)
            EXPECT(torc_op_done(&trio.ops[j]));
        EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
        close_trio(&trio);
    }
}

FIBER_TEST(t_04_a_connect_that_hangs_loses_against_a_timeout)
{
    struct __kernel_timespec timeout = {.tv_nsec = (long long)A_WHILE};
    struct torc_address address;
    int clients[2];
    const int listener = harness_full_listener(&address, clients);
    struct torc_op ops[2];
    struct torc_op *const both[2] = {&ops[0], &ops[1]};
    int fd;

    fd = torc_socket(AF_INET, SOCK_STREAM, 0);
    io_uring_prep_connect(torc_op_prepare(&ops[0]), fd, &address.any, address.length);
    io_uring_prep_timeout(torc_op_prepare(&ops[1]), &timeout, 0, 0);
    EXPECT_INT(torc_op_select(both, 2), ==, 1);
    EXPECT_INT(torc_op_wait(&ops[1]), ==, -ETIME); /* The kernel's, not the scope's. */
    EXPECT_INT(torc_op_wait(&ops[0]), <, 0);
    EXPECT_INT(torc_cancelled(), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_close_pair(clients);
    close(listener);
}

/* ---- Many completions ---- */

struct feed {
    struct torc_op op;
    struct torc_event changed;
    int results[16];
    unsigned count;
    unsigned last; /* how often a completion said that no other follows */
};

static void take_completion(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct feed *feed = (struct feed *)op;

    EXPECT_INT((flags & IORING_CQE_F_MORE) != 0, ==, more != 0);
    EXPECT_UINT(feed->last, ==, 0);
    if (feed->count < 16)
        feed->results[feed->count] = result;
    feed->count++;
    feed->last += !more;
    torc_event_set(&feed->changed);
}

static void wait_for_count(struct feed *feed, unsigned count)
{
    while (feed->count < count) {
        torc_event_clear(&feed->changed);
        EXPECT_INT(torc_event_wait(&feed->changed), ==, 0);
    }
}

FIBER_TEST(rule_14_a_feed_delivers_every_connection_of_a_multishot_accept)
{
    struct torc_address address;
    const int listener = harness_listener(&address);
    struct feed feed = {.count = 0};
    int clients[5];

    io_uring_prep_multishot_accept(torc_op_prepare_feed(&feed.op, take_completion), listener, NULL,
                                   NULL, SOCK_CLOEXEC);
    for (unsigned i = 0; i < 5; i++) {
        clients[i] = harness_dial(&address);
        wait_for_count(&feed, i + 1);
    }
    torc_op_cancel(&feed.op);
    wait_for_count(&feed, 6);
    EXPECT_UINT(feed.last, ==, 1);
    EXPECT_INT(feed.results[5], ==, -ECANCELED);
    for (unsigned i = 0; i < 5; i++) {
        EXPECT_INT(feed.results[i], >=, 0);
        close(feed.results[i]);
        close(clients[i]);
    }
    close(listener);
}

FIBER_TEST(rule_14_a_feed_of_a_multishot_poll_ends_only_with_its_last_completion)
{
    struct feed feed = {.count = 0};
    char byte;
    int fds[2];

    harness_unix_pair(fds);
    io_uring_prep_poll_multishot(torc_op_prepare_feed(&feed.op, take_completion), fds[0], POLLIN);
    harness_pass_kernel();
    for (unsigned i = 0; i < 5; i++) {
        harness_put(fds[1], "x", 1);
        wait_for_count(&feed, i + 1);
        EXPECT_INT(feed.results[i] & POLLIN, ==, POLLIN);
        harness_get(fds[0], &byte, 1);
    }
    torc_op_cancel(&feed.op);
    torc_op_cancel(&feed.op);
    wait_for_count(&feed, 6);
    harness_pass_kernel();
    EXPECT_UINT(feed.count, ==, 6);
    EXPECT_UINT(feed.last, ==, 1);
    harness_close_pair(fds);
}

static int ready_fds[2];
static unsigned ended_feeds;

static void begin_again(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)flags;
    EXPECT_INT(more, ==, 0);
    if (result == -ECANCELED)
        ended_feeds++;
    else
        io_uring_prep_poll_add(torc_op_prepare_feed(op, begin_again), ready_fds[0], POLLIN);
}

static int leave_busy_feeds(void *arg)
{
    static struct torc_op feeds[3];

    (void)arg;
    for (int i = 0; i < 3; i++)
        io_uring_prep_poll_add(torc_op_prepare_feed(&feeds[i], begin_again), ready_fds[0], POLLIN);
    return 0;
}

/* There is always something to be read, so it never ends by itself. */
TEST(a_shard_ends_although_feeds_begin_again_at_each_completion)
{
    harness_unix_pair(ready_fds);
    harness_put(ready_fds[1], "x", 1);
    for (unsigned i = 1; i <= 10; i++) {
        EXPECT_INT(torc_run(leave_busy_feeds, NULL, NULL), ==, 0);
        EXPECT_UINT(ended_feeds, ==, 3 * i);
    }
    harness_close_pair(ready_fds);
}

FIBER_TEST(a_multishot_operation_may_be_waited_for_like_any_other)
{
    struct torc_scope scope;
    struct torc_op op;
    int fds[2];

    harness_unix_pair(fds);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    io_uring_prep_poll_multishot(torc_op_prepare(&op), fds[0], POLLIN);
    harness_put(fds[1], "x", 1);
    EXPECT_INT(torc_op_wait(&op), ==, -ETIME); /* The end of the op, not its first completion. */
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    harness_close_pair(fds);
}

FIBER_TEST(rule_15_a_zero_copy_send_gives_its_count_and_lasts_until_the_buffer_is_free)
{
    static char data[100000];
    static char copy[100000];
    struct torc_op op;
    int fds[2];
    int sent;

    harness_tcp_pair(fds);
    harness_pattern_fill(data, sizeof(data), 0);
    io_uring_prep_send_zc(torc_op_prepare(&op), fds[0], data, sizeof(data), 0, 0);
    sent = torc_op_wait(&op);
    if (sent != -EINVAL && sent != -EOPNOTSUPP) { /* Linux 6.0 */
        EXPECT_INT(sent, >, 0);
        memset(data, 0, sizeof(data)); /* It is ours again, whatever the peer has read. */
        harness_get(fds[1], copy, (size_t)sent);
        harness_pattern_check(copy, (size_t)sent, 0);
    }
    harness_close_pair(fds);
}

/* Of a send that fails the kernel may tell twice all the same: the result, and the notification. */
FIBER_TEST(rule_15_a_zero_copy_send_that_fails_completes_once_with_the_error)
{
    static char data[1000];
    struct torc_stats stats;
    int fds[2];

    harness_tcp_pair(fds);
    EXPECT_INT(shutdown(fds[0], SHUT_WR), ==, 0);
    for (unsigned i = 0; i < 50; i++) {
        const int sockets[] = {fds[0], -1, torc_socket(AF_INET, SOCK_STREAM, 0)};

        for (unsigned j = 0; j < 3; j++) {
            struct torc_op op;
            int result;

            io_uring_prep_send_zc(torc_op_prepare(&op), sockets[j], data, sizeof(data),
                                  MSG_NOSIGNAL, 0);
            result = torc_op_wait(&op);
            EXPECT_INT(result, <, 0);
            EXPECT(torc_op_done(&op));
            EXPECT_INT(torc_op_wait(&op), ==, result);
        }
        EXPECT_INT(torc_close(sockets[2]), ==, 0);
    }
    torc_stats(&stats);
    EXPECT_UINT(stats.ops_in_flight, ==, 0);
    harness_close_pair(fds);
}

FIBER_TEST(cancelling_an_op_that_was_never_prepared_does_nothing)
{
    struct torc_op op = {0};

    torc_op_cancel(&op);
    EXPECT(torc_op_done(&op));
    harness_pass_kernel();
}
