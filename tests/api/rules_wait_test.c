/* SPDX-License-Identifier: MIT */
/*
 * rules_wait_test.c - the numbered rules of cancellation that speak of a wait under way.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <liburing.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define A_WHILE (5 * TORC_MILLISECOND)

/* A fiber that receives once, and then sees what its next wait says. */
struct receiver {
    int fd;
    int flags;
    void *data;
    size_t size;
    ssize_t result;
    int next; /* what the wait after that returned */
    bool done;
};

static int receive(void *arg)
{
    struct receiver *receiver = arg;

    receiver->result = torc_recv(receiver->fd, receiver->data, receiver->size, receiver->flags);
    receiver->next = torc_sleep(0);
    receiver->done = true;
    return 0;
}

/* ---- 6, 7, 11: operations in flight ---- */

static void cancel_receiver_and_look(bool submitted)
{
    struct torc_scope scope;
    char data[64];
    char intact[sizeof(data)];
    struct receiver receiver = {.data = data, .size = sizeof(data)};
    int fds[2];

    harness_tcp_pair(fds);
    receiver.fd = fds[0];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive, &receiver);
    torc_yield();
    if (submitted)
        harness_pass_kernel();
    EXPECT(!receiver.done);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(receiver.result, ==, -ECANCELED);
    EXPECT_INT(receiver.next, ==, -ECANCELED);

    memset(data, 0x55, sizeof(data));
    memset(intact, 0x55, sizeof(intact));
    harness_put(fds[1], "late", 4);
    harness_pass_kernel();
    EXPECT_MEM(data, intact, sizeof(data));
    EXPECT_UINT(harness_unread(fds[0]), ==, 4);
    harness_close_pair(fds);
}

FIBER_TEST(rule_06_the_buffer_of_a_cancelled_wait_is_free_when_it_returns)
{
    for (int i = 0; i < 100; i++)
        cancel_receiver_and_look(true);
}

FIBER_TEST(rule_11_an_operation_that_was_not_submitted_yet_is_cancelled_too)
{
    for (int i = 0; i < 100; i++)
        cancel_receiver_and_look(false);
}

FIBER_TEST(rule_06_a_wait_ends_with_its_operation_and_not_before)
{
    struct torc_scope scope;
    struct torc_op op;
    char data[8];
    int fds[2];

    harness_tcp_pair(fds);
    torc_scope_open(&scope, 0);
    io_uring_prep_recv(torc_op_prepare(&op), fds[0], data, sizeof(data), 0);
    EXPECT(!torc_op_done(&op));
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_op_wait(&op), ==, -ETIME);
    EXPECT(torc_op_done(&op));
    EXPECT_INT(torc_op_wait(&op), ==, -ETIME); /* The same answer again, */
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_INT(torc_op_wait(&op), ==, -ETIME); /* also out of the scope. */
    harness_close_pair(fds);
}

static void wait_done(const struct torc_op *op)
{
    for (int i = 0; !torc_op_done(op); i++) {
        EXPECT_INT(i, <, 100000);
        harness_pass_kernel();
    }
}

FIBER_TEST(rule_07_a_result_that_beat_the_cancel_is_returned)
{
    struct torc_scope scope;
    struct torc_op op;
    char data[8];
    int fds[2];

    harness_tcp_pair(fds);
    torc_scope_open(&scope, 0);
    harness_put(fds[1], "abcd", 4);
    io_uring_prep_recv(torc_op_prepare(&op), fds[0], data, sizeof(data), 0);
    wait_done(&op);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_op_wait(&op), ==, 4);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    harness_close_pair(fds);
}

FIBER_TEST(rule_07_an_error_that_beat_the_cancel_is_returned)
{
    struct torc_scope scope;
    struct torc_op op;
    char data[8];

    torc_scope_open(&scope, 0);
    io_uring_prep_recv(torc_op_prepare(&op), -1, data, sizeof(data), 0);
    wait_done(&op);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_op_wait(&op), ==, -EBADF);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
}

FIBER_TEST(rule_07_cancelling_an_op_by_hand_is_no_reason_of_the_scope)
{
    struct torc_op op;
    char data[8];
    int fds[2];

    harness_tcp_pair(fds);
    io_uring_prep_recv(torc_op_prepare(&op), fds[0], data, sizeof(data), 0);
    torc_op_cancel(&op);
    torc_op_cancel(&op); /* Idempotent. */
    EXPECT_INT(torc_op_wait(&op), ==, -ECANCELED);
    torc_op_cancel(&op); /* Harmless. */
    EXPECT_INT(torc_cancelled(), ==, 0);
    EXPECT_INT(torc_yield(), ==, 0);
    harness_close_pair(fds);
}

/* ---- 8: partial transfers ---- */

FIBER_TEST(rule_08_a_cancelled_wait_for_all_bytes_returns_those_that_came)
{
    struct torc_scope scope;
    char data[100];
    size_t done = 0;
    int fds[2];

    harness_tcp_pair(fds);
    harness_put(fds[1], "abcdefghij", 10);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), MSG_WAITALL), ==, 10);
    EXPECT_MEM(data, "abcdefghij", 10);
    EXPECT_INT(torc_recv(fds[0], data, 1, 0), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);

    harness_put(fds[1], "klmno", 5);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_recv_all(fds[0], data, sizeof(data), &done), ==, -ETIME);
    EXPECT_UINT(done, ==, 5);
    EXPECT_MEM(data, "klmno", 5);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    harness_close_pair(fds);
}

#define LARGE (8 << 20)
static char large[LARGE];

FIBER_TEST(rule_08_a_cancelled_send_tells_how_many_bytes_the_peer_gets)
{
    struct torc_scope scope;
    size_t done = 0;
    ssize_t sent;
    int fds[2];

    harness_tight_pair(fds);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    sent = torc_send(fds[0], large, LARGE, MSG_WAITALL);
    EXPECT_INT(sent, >, 0);
    EXPECT_INT(sent, <, LARGE);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_send_all(fds[0], large, LARGE, &done), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    close(fds[0]); /* What was taken is still delivered, bit by bit, then the end. */
    for (;;) {
        const ssize_t count = torc_recv(fds[1], large, LARGE, 0);

        EXPECT_INT(count, >=, 0);
        if (count == 0)
            break;
        sent -= count;
    }
    EXPECT_INT(sent + (ssize_t)done, ==, 0);
    close(fds[1]);
}

/* ---- 10: data before timers ---- */

FIBER_TEST(rule_10_data_that_came_before_the_deadline_was_looked_at_wins)
{
    struct torc_scope scope;
    char data[8];
    struct receiver receiver = {.data = data, .size = sizeof(data)};
    uint64_t deadline;
    bool in_time;
    int fds[2];

    harness_tcp_pair(fds);
    receiver.fd = fds[0];
    for (int i = 0; i < 20; i++) {
        deadline = torc_now() + A_WHILE;
        torc_scope_open(&scope, 0);
        torc_scope_set_deadline(&scope, deadline);
        harness_spawn(&scope, receive, &receiver);
        harness_pass_kernel();
        in_time = torc_now() < deadline;
        if (in_time)
            harness_put(fds[1], "abcd", 4);
        harness_hog_until(deadline + TORC_MILLISECOND);
        torc_scope_close(&scope);
        EXPECT_INT(receiver.result, ==, in_time ? 4 : -ETIME);
    }
    harness_close_pair(fds);
}

/* ---- 13: what is awaited, and what is never refused ---- */

FIBER_TEST(rule_13_closing_is_never_refused)
{
    struct torc_scope scope;
    int ends[2];

    harness_pipe(ends);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_close(ends[0]), ==, 0);
    EXPECT_INT(torc_close(ends[0]), ==, -EBADF);
    EXPECT_INT(torc_close(ends[1]), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
}

FIBER_TEST(rule_13_a_read_of_an_empty_pipe_ends_when_its_deadline_passes)
{
    struct torc_scope scope;
    char data[8];
    int ends[2];

    harness_pipe(ends);
    for (int i = 0; i < 5; i++) {
        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, A_WHILE);
        EXPECT_INT(torc_read(ends[0], data, sizeof(data)), ==, -ETIME);
        EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    }
    harness_close_pair(ends);
}

/* ---- 16: connecting ---- */

FIBER_TEST(rule_16_a_connect_that_is_cut_off_leaves_no_descriptor)
{
    struct torc_address address;
    struct torc_scope scope;
    int clients[2];
    const int listener = harness_full_listener(&address, clients);
    const unsigned fds = harness_open_fds();
    const uint64_t start = torc_now();
    int fd;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_tcp_connect(&address, 1, NULL), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_UINT(torc_now() - start, >=, A_WHILE);
    EXPECT_UINT(harness_open_fds(), ==, fds);

    torc_scope_open(&scope, 0);
    fd = torc_socket(AF_INET, SOCK_STREAM, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_connect(fd, &address), ==, -ETIME);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    harness_close_pair(clients);
    close(listener);
}

/* ---- 17: waits that are no operations ---- */

struct waiter {
    struct torc_event *event;
    int result;
    int next;
};

static int wait_event(void *arg)
{
    struct waiter *waiter = arg;

    waiter->result = torc_event_wait(waiter->event);
    waiter->next = torc_yield();
    return 0;
}

FIBER_TEST(rule_17_cancel_takes_a_waiter_out_of_the_events_queue)
{
    struct torc_event event = {0};
    struct waiter gone = {.event = &event};
    struct waiter stays = {.event = &event};
    struct torc_scope scope;
    struct torc_scope other;

    torc_scope_open(&other, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_event, &gone);
    harness_spawn(&other, wait_event, &stays);
    torc_yield();
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(gone.result, ==, -ECANCELED);
    torc_event_set(&event);
    EXPECT_INT(torc_scope_close(&other), ==, 0);
    EXPECT_INT(stays.result, ==, 0);
}

FIBER_TEST(rule_17_what_was_granted_before_the_cancel_is_granted)
{
    struct torc_event event = {0};
    struct waiter waiter = {.event = &event, .result = 1};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_event, &waiter);
    torc_yield();
    torc_event_set(&event);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(waiter.result, ==, 0);
    EXPECT_INT(waiter.next, ==, -ECANCELED);
}
