/* SPDX-License-Identifier: MIT */
/*
 * rules_entry_test.c - the numbered rules of cancellation, tried on each kind of call: when made
 * there is a reason already, and one that is interrupted.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <torc/torc.h>
#include <unistd.h>

struct ready_things {
    struct torc_event event;
    struct torc_interval interval;
    struct torc_address address;
    int listener; /* A connection waits to be accepted. */
    int client;
    int fds[2]; /* Bytes wait on both sides. */
    int file;
    int fresh; /* A socket to connect. */
};

static void make_ready_things(struct ready_things *things)
{
    *things = (struct ready_things){.listener = -1};
    torc_event_set(&things->event);
    EXPECT_INT(torc_interval_init(&things->interval, torc_now(), TORC_SECOND, TORC_MISSED_BURST),
               ==, 0);
    things->listener = harness_listener(&things->address);
    things->client = harness_dial(&things->address);
    harness_tcp_pair(things->fds);
    harness_put(things->fds[0], "abcd", 4);
    harness_put(things->fds[1], "abcd", 4);
    things->file = memfd_create("file", MFD_CLOEXEC);
    harness_put(things->file, "abcd", 4);
    things->fresh = torc_socket(AF_INET, SOCK_STREAM, 0);
}

static void close_ready_things(const struct ready_things *things)
{
    close(things->listener);
    close(things->client);
    close(things->file);
    close(things->fresh);
    harness_close_pair(things->fds);
}

#define READY_CALLS 24

/* ---- 4 and 5: a reason at the entry ---- */

/* Each of these calls could succeed at once. */
static ssize_t call_ready(struct ready_things *things, int number)
{
    char data[2] = "xy";
    const struct iovec vector = {data, sizeof(data)};
    struct msghdr message = {.msg_iov = (struct iovec *)&vector, .msg_iovlen = 1};
    const int fd = things->fds[0];

    switch (number) {
    case 0:
        return torc_yield();
    case 1:
        return torc_sleep(0);
    case 2:
        return torc_sleep_until(0);
    case 3:
        return torc_interval_wait(&things->interval);
    case 4:
        return torc_event_wait(&things->event);
    case 5:
        return torc_recv(fd, data, sizeof(data), 0);
    case 6:
        return torc_recv(fd, data, sizeof(data), MSG_DONTWAIT);
    case 7:
        return torc_recv_all(fd, data, sizeof(data), NULL);
    case 8:
        return torc_recvmsg(fd, &message, 0);
    case 9:
        return torc_send(fd, data, sizeof(data), 0);
    case 10:
        return torc_send_all(fd, data, sizeof(data), NULL);
    case 11:
        return torc_sendmsg(fd, &message, 0);
    case 12:
        return torc_accept(things->listener, NULL);
    case 13:
        return torc_connect(things->fresh, &things->address);
    case 14:
        return torc_tcp_connect(&things->address, 1, NULL);
    case 15:
        return torc_read(fd, data, sizeof(data));
    case 16:
        return torc_write(fd, data, sizeof(data));
    case 17:
        return torc_readv(fd, &vector, 1);
    case 18:
        return torc_writev(fd, &vector, 1);
    case 19:
        return torc_pread(things->file, data, sizeof(data), 0);
    case 20:
        return torc_pwrite(things->file, data, sizeof(data), 0);
    case 21:
        return torc_poll(fd, POLLIN);
    case 22:
        return torc_readv_all(fd, &vector, 1, NULL);
    case 23:
        return torc_writev_all(fd, &vector, 1, NULL);
    default:
        FAIL("no such call");
    }
}

FIBER_TEST(rule_04_under_a_reason_every_blocking_call_returns_it_and_submits_nothing)
{
    struct ready_things things;
    struct torc_stats before;
    struct torc_stats after;
    struct torc_scope scope;

    make_ready_things(&things);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    torc_stats(&before);
    for (int number = 0; number < READY_CALLS; number++) {
        const ssize_t result = call_ready(&things, number);

        EXPECT_MSG(result == -ECANCELED, "call %d returned %zd", number, result);
    }
    torc_stats(&after);
    EXPECT_UINT(after.ops, ==, before.ops);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);

    EXPECT_UINT(harness_unread(things.fds[0]), ==, 4);
    EXPECT_UINT(harness_unread(things.fds[1]), ==, 4);
    EXPECT(harness_is_readable(things.listener));
    EXPECT_UINT(things.interval.next_ns, <=, torc_now()); /* Its tick is still to come. */
    close_ready_things(&things);
}

FIBER_TEST(rule_04_without_a_reason_the_same_calls_succeed)
{
    for (int number = 0; number < READY_CALLS; number++) {
        struct ready_things things;
        ssize_t result;

        make_ready_things(&things);
        result = call_ready(&things, number);
        EXPECT_MSG(result >= 0, "call %d returned %zd", number, result);
        if (number == 12 || number == 14)
            EXPECT_INT(torc_close((int)result), ==, 0);
        close_ready_things(&things);
    }
}

FIBER_TEST(rule_04_a_loop_that_ignores_one_error_meets_it_again)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_deadline(&scope, torc_now());
    EXPECT_INT(torc_sleep_until(TORC_FOREVER), ==, -ETIME);
    for (int i = 0; i < 100; i++)
        EXPECT_INT(torc_sleep(0), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
}

static int note_run(void *arg)
{
    *(bool *)arg = true;
    return 0;
}

FIBER_TEST(rule_05_calls_that_never_block_do_not_look_at_the_reason)
{
    const struct torc_address any = harness_address("127.0.0.1:0");
    struct torc_event event = {0};
    struct torc_address address;
    struct torc_scope scope;
    bool run = false;
    int option = 1;
    int fd;

    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    fd = torc_socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &option, sizeof(option)), ==, 0);
    EXPECT_INT(torc_bind(fd, &any), ==, 0);
    EXPECT_INT(torc_listen(fd, 1), ==, 0);
    EXPECT_INT(torc_local_address(fd, &address), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    fd = torc_tcp_listen(&any, NULL);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    torc_event_set(&event);
    EXPECT(torc_event_is_set(&event));
    harness_spawn(&scope, note_run, &run);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT(run);
}

/* ---- 6 and 17: each kind of wait, interrupted ---- */

struct unready_things {
    struct torc_event event;
    struct torc_interval interval;
    struct torc_address address; /* of the listener */
    int listener;                /* Nobody comes. */
    int full_listener;           /* Connecting to it hangs. */
    struct torc_address full_address;
    int clients[2];
    int fds[2];   /* Nothing comes, and nothing more can be sent. */
    int pipe[2];  /* likewise */
    int dgram[2]; /* Nothing comes. */
};

static void open_unready_things(struct unready_things *things)
{
    memset(things, 0, sizeof(*things));
    EXPECT_INT(torc_interval_init(&things->interval, torc_now() + 100 * TORC_SECOND, TORC_SECOND,
                                  TORC_MISSED_BURST),
               ==, 0);
    things->listener = harness_listener(&things->address);
    things->full_listener = harness_full_listener(&things->full_address, things->clients);
    harness_unix_pair(things->fds);
    harness_pipe(things->pipe);
    EXPECT_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, things->dgram), ==, 0);
    harness_fill(things->fds[0]);
    harness_fill(things->pipe[1]);
}

static void close_unready_things(const struct unready_things *things)
{
    close(things->listener);
    close(things->full_listener);
    harness_close_pair(things->clients);
    harness_close_pair(things->fds);
    harness_close_pair(things->pipe);
    harness_close_pair(things->dgram);
}

#define UNREADY_CALLS 18

/* None of these calls can succeed. */
static ssize_t call_unready(struct unready_things *things, int number)
{
    char data[16] = "";
    const struct iovec vector[2] = {{data, 5}, {data + 5, 11}};
    struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = 2};
    struct torc_address peer;
    struct torc_op op;

    switch (number) {
    case 0:
        return torc_sleep_until(TORC_FOREVER);
    case 1:
        return torc_interval_wait(&things->interval);
    case 2:
        return torc_event_wait(&things->event);
    case 3:
        return torc_accept(things->listener, &peer);
    case 4:
        return torc_tcp_connect(&things->full_address, 1, NULL);
    case 5:
        return torc_recv(things->fds[0], data, 16, 0);
    case 6:
        return torc_recv_all(things->fds[0], data, 16, NULL);
    case 7:
        return torc_recvmsg(things->fds[0], &message, 0);
    case 8:
        return torc_readv(things->fds[0], vector, 2);
    case 9:
        return torc_readv_all(things->fds[0], vector, 2, NULL);
    case 10:
        return torc_send(things->fds[0], data, 16, 0);
    case 11:
        return torc_sendmsg(things->fds[0], &message, 0);
    case 12:
        return torc_writev_all(things->fds[0], vector, 2, NULL);
    case 13:
        return torc_read(things->fds[0], data, 16);
    case 14:
        return torc_poll(things->fds[0], POLLIN | POLLOUT);
    case 15:
        return torc_recvmsg(things->dgram[0], &message, 0);
    case 16:
        return torc_write(things->pipe[1], data, 16);
    case 17:
        io_uring_prep_poll_add(torc_op_prepare(&op), things->listener, POLLIN);
        return torc_op_wait(&op);
    default:
        FAIL("no such call");
    }
}

struct unready_call {
    struct unready_things *things;
    int number;
    ssize_t result;
};

static int make_unready_call(void *arg)
{
    struct unready_call *call = arg;

    call->result = call_unready(call->things, call->number);
    return 0;
}

static void interrupt_call(struct unready_things *things, int number, bool submitted)
{
    struct unready_call call = {things, number, 1};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, make_unready_call, &call);
    torc_yield();
    if (submitted)
        harness_pass_kernel();
    EXPECT_MSG(call.result == 1, "call %d ended by itself: %zd", number, call.result);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_MSG(call.result == -ECANCELED, "call %d: %zd", number, call.result);

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    call.result = call_unready(things, number);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_MSG(call.result == -ETIME, "call %d: %zd", number, call.result);
}

FIBER_TEST(rule_06_every_kind_of_wait_ends_when_its_scope_is_cancelled_or_its_deadline_passes)
{
    struct unready_things things;

    open_unready_things(&things);
    for (int number = 0; number < UNREADY_CALLS; number++) {
        interrupt_call(&things, number, true);
        interrupt_call(&things, number, false);
    }
    close_unready_things(&things);
}
