/* SPDX-License-Identifier: MIT */
/*
 * end_test.c - what still comes while a shard ends, and what the end of a run tells.
 */
#include "harness/harness.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <torc/torc.h>
#include <unistd.h>

static unsigned guests; /* Fibers that were started while the shard ended, and have run. */

static int be_a_guest(void *arg)
{
    (void)arg;
    EXPECT_INT(torc_cancelled(), ==, -ECANCELED);
    guests++;
    return 0;
}

/* ---- Mail ---- */

static void let_a_guest_in(struct torc_message *message)
{
    (void)message;
    EXPECT_INT(torc_spawn(be_a_guest, NULL), ==, 0);
}

static int post_and_leave(void *arg)
{
    static struct torc_message message = {.run = let_a_guest_in};
    struct torc_mailbox *mailbox = torc_mailbox_acquire();

    (void)arg;
    EXPECT_INT(torc_mailbox_post(mailbox, &message), ==, 0);
    torc_mailbox_release(mailbox);
    return 0;
}

TEST(a_message_that_comes_while_the_shard_ends_may_start_a_fiber)
{
    guests = 0;
    EXPECT_INT(harness_run_result(NULL, post_and_leave, NULL), ==, 0);
    EXPECT_UINT(guests, ==, 1);
}

static struct torc_mailbox *early_mailbox;
static atomic_bool early_ended;
static atomic_bool message_run; /* The message is the sender's again. */

static void let_a_guest_in_and_tell(struct torc_message *message)
{
    let_a_guest_in(message);
    atomic_store(&message_run, true);
}

/* Shard 0 leaves at once; shard 1 stays until it has been refused there. */
static int leave_early(void *arg)
{
    static struct torc_message message = {.run = let_a_guest_in_and_tell};

    (void)arg;
    if (torc_shard_index() == 0) {
        early_mailbox = torc_mailbox_acquire();
        atomic_store(&early_ended, true);
        return 0;
    }
    while (!atomic_load(&early_ended))
        EXPECT_INT(torc_yield(), ==, 0);
    while (torc_mailbox_post(early_mailbox, &message) == 0) {
        while (!atomic_exchange(&message_run, false)) /* It is, although this shard goes on. */
            EXPECT_INT(torc_yield(), ==, 0);
    }
    torc_mailbox_release(early_mailbox);
    return 0;
}

TEST(a_shard_that_has_ended_refuses_mail_while_others_still_run)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    NEEDS_THREADS();
    EXPECT_INT(torc_run(leave_early, NULL, &options), ==, 0);
}

/* ---- Feeds ---- */

struct feed {
    struct torc_op op;
    int fd;
    int last;
    unsigned told;
    bool lets_in;
};

static void feed_told(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct feed *feed = (struct feed *)(void *)op; /* Its first member. */

    (void)flags;
    feed->told += !more;
    feed->last = result;
    if (!more && feed->lets_in)
        EXPECT_INT(torc_spawn(be_a_guest, NULL), ==, 0);
}

static int leave_feeds_open(void *arg)
{
    struct feed *feeds = arg;

    for (int i = 0; i < 20; i++)
        io_uring_prep_poll_add(torc_op_prepare_feed(&feeds[i].op, feed_told), feeds[i].fd, POLLIN);
    return torc_yield();
}

TEST(feeds_left_open_are_cancelled_and_may_start_fibers_in_their_last_call)
{
    static struct feed feeds[20];
    int ends[2];

    harness_pipe(ends);
    guests = 0;
    memset(feeds, 0, sizeof(feeds));
    for (int i = 0; i < 20; i++) {
        feeds[i].fd = ends[0];
        feeds[i].lets_in = i % 2;
    }
    EXPECT_INT(harness_run_result(NULL, leave_feeds_open, feeds), ==, 0);
    for (int i = 0; i < 20; i++) {
        EXPECT_UINT(feeds[i].told, ==, 1);
        EXPECT_INT(feeds[i].last, ==, -ECANCELED);
    }
    EXPECT_UINT(guests, ==, 10);
    harness_close_pair(ends);
}

/* Data has come before the cancel: the feed takes it, and goes on as it is used to. */
static void take_byte_and_go_on(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct feed *feed = (struct feed *)(void *)op;
    char byte;

    feed_told(op, result, flags, more);
    if (result < 0)
        return;
    EXPECT_INT(read(feed->fd, &byte, 1), ==, 1);
    io_uring_prep_poll_add(torc_op_prepare_feed(op, take_byte_and_go_on), feed->fd, POLLIN);
}

static int leave_feed_with_data(void *arg)
{
    struct feed *feed = arg;

    io_uring_prep_poll_add(torc_op_prepare_feed(&feed->op, take_byte_and_go_on), feed->fd, POLLIN);
    return 0;
}

TEST(a_feed_that_begins_again_while_the_shard_ends_is_cancelled_again)
{
    struct feed feed = {.last = 1};
    int ends[2];

    harness_pipe(ends);
    feed.fd = ends[0];
    EXPECT_INT(write(ends[1], "ab", 2), ==, 2);
    EXPECT_INT(harness_run_result(NULL, leave_feed_with_data, &feed), ==, 0);
    EXPECT_INT(feed.last, ==, -ECANCELED);
    harness_close_pair(ends);
}

/* Which the header forbids: it was told that it has been cancelled. */
static void begin_again(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)result;
    (void)flags;
    if (!more)
        io_uring_prep_nop(torc_op_prepare_feed(op, begin_again));
}

static int leave_feed_that_begins_again(void *arg)
{
    io_uring_prep_nop(torc_op_prepare_feed(arg, begin_again));
    return 0;
}

static void end_with_a_feed_that_does_not(void)
{
    struct torc_op op;

    (void)torc_run(leave_feed_that_begins_again, &op, NULL);
}

TEST(a_feed_that_begins_again_for_ever_while_the_shard_ends_aborts)
{
    harness_expect_death(end_with_a_feed_that_does_not, SIGABRT,
                         "a feed begins again and again, though it is cancelled");
}

static struct feed late_feed;

static int leave_late_feed(void *arg)
{
    (void)arg;
    io_uring_prep_poll_add(torc_op_prepare_feed(&late_feed.op, feed_told), late_feed.fd, POLLIN);
    return 0;
}

static void start_late_feed(struct torc_message *message)
{
    (void)message;
    EXPECT_INT(torc_spawn(leave_late_feed, NULL), ==, 0);
}

static int post_late_feed(void *arg)
{
    return torc_shard_post(0, arg);
}

TEST(a_feed_that_one_of_the_last_fibers_has_begun_is_cancelled)
{
    struct torc_message message = {.run = start_late_feed};
    int ends[2];

    harness_pipe(ends);
    late_feed = (struct feed){.fd = ends[0]};
    EXPECT_INT(harness_run_result(NULL, post_late_feed, &message), ==, 0);
    EXPECT_UINT(late_feed.told, ==, 1);
    EXPECT_INT(late_feed.last, ==, -ECANCELED);
    harness_close_pair(ends);
}

/* ---- Results ---- */

static int fail_fast(void *arg)
{
    (void)arg;
    return -EIO;
}

/* A fiber of shard 0 fails first, main of shard 1 last. */
static int fail_in_order(void *arg)
{
    (void)arg;
    if (torc_shard_index() == 0)
        return torc_spawn(fail_fast, NULL);
    EXPECT_INT(torc_sleep(20 * TORC_MILLISECOND), ==, 0);
    return -EPROTO;
}

TEST(the_failure_of_a_main_is_told_before_that_of_a_fiber_which_came_first)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    NEEDS_THREADS();
    EXPECT_INT(torc_run(fail_in_order, NULL, &options), ==, -EPROTO);
}

/* ---- Stopping ---- */

static int stop_and_wait(void *arg)
{
    (void)arg;
    EXPECT_INT(torc_yield(), ==, 0);
    torc_stop();
    EXPECT_INT(torc_yield(), ==, -ECANCELED);
    return 0;
}

TEST(who_stops_the_runtime_sees_the_reason_at_its_next_wait)
{
    EXPECT_INT(harness_run_result(NULL, stop_and_wait, NULL), ==, 0);
}

/* ---- What does not end ---- */

static int stay(void *arg)
{
    struct torc_scope shield;

    (void)arg;
    torc_stop();
    torc_scope_open(&shield, TORC_SHIELD);
    EXPECT_INT(torc_sleep(200 * TORC_MILLISECOND), ==, 0);
    EXPECT_INT(torc_scope_close(&shield), ==, 0);
    abort(); /* The end of what is watched. */
}

static void stay_too_long(void)
{
    const struct torc_options options = {.shutdown_warn_ns = 50 * TORC_MILLISECOND};

    (void)torc_run(stay, NULL, &options);
}

TEST(a_main_that_does_not_end_when_it_is_stopped_is_named)
{
    harness_expect_death(stay_too_long, SIGABRT, "fiber 1 \"main\"");
}

/* Their names are looked for in what is told. */
#define NEVER_INLINED __attribute__((noinline))

/* Of what is on no fiber's stack. Each has an operation in flight when main ends. */
static struct torc_listener left_listener;
static struct torc_stream left_stream;
static struct torc_datagram_feed left_feed;

static NEVER_INLINED void leave_a_listener_open(const struct torc_address *address)
{
    EXPECT_INT(torc_listener_open(&left_listener, address, NULL), ==, 0);
    EXPECT_INT(torc_listener_accept(&left_listener, NULL), ==, -ETIME);
}

/* One whose peer does not take what it has written. */
static NEVER_INLINED void leave_a_stream_open(const struct torc_address *address)
{
    const int smallest = 1;
    static const char part[1024];
    int ends[2];

    (void)address;
    harness_unix_pair(ends);
    EXPECT_INT(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest)), ==, 0);
    torc_stream_open(&left_stream, ends[0]);
    for (unsigned i = 0; i < 60; i++)
        EXPECT_INT(torc_stream_write(&left_stream, part, sizeof(part), NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&left_stream), ==, -ETIME);
}

/* Where there is no multishot receive nothing of it is in flight. */
static NEVER_INLINED void leave_a_datagram_feed_open(const struct torc_address *address)
{
    const int fd = torc_udp_open(address, NULL);
    struct torc_datagram datagram;

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_datagram_feed_open(&left_feed, fd, NULL), ==, 0);
    EXPECT_INT(torc_datagram_feed_take(&left_feed, &datagram, 1), ==, -ETIME);
}

static void try_for_a_moment(void (*leave)(const struct torc_address *address))
{
    const struct torc_address address = harness_address("127.0.0.1:0");
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    leave(&address);
    (void)torc_scope_close(&scope);
}

static int leave_all_open(void *arg)
{
    (void)arg;
    try_for_a_moment(leave_a_listener_open);
    try_for_a_moment(leave_a_datagram_feed_open);
    try_for_a_moment(leave_a_stream_open);
    return 0;
}

/* Pass on what is said until the listener is named, which is last; that is the end. */
static void *pass_on(void *arg)
{
    const int *ends = arg; /* To read, and to write. */
    char text[4096] = "";
    size_t length = 0;

    while (strstr(text, "of the listener") == NULL || text[length - 1] != '\n') {
        const ssize_t count = read(ends[0], text + length, sizeof(text) - 1 - length);

        EXPECT_INT(count, >, 0);
        EXPECT_INT(write(ends[1], text + length, (size_t)count), ==, count);
        length += (size_t)count;
    }
    abort();
}

static void stay_for_what_is_open(void)
{
    const struct torc_options options = {.shutdown_warn_ns = TORC_MILLISECOND};
    int ends[2];
    int passed[2];

    if (!harness_is_simulated()) { /* Where it is seen, and ends, that nothing can happen. */
        harness_pipe(ends);
        passed[0] = ends[0];
        passed[1] = dup(2);
        EXPECT_INT(dup2(ends[1], 2), ==, 2);
        (void)harness_thread(pass_on, passed);
    }
    (void)torc_run(leave_all_open, NULL, &options);
}

TEST(what_was_not_closed_when_all_fibers_have_ended_is_named)
{
    const char *texts[] = {
        "all fibers have ended; operations in flight: ",
        "    accept on descriptor ",
        " (tcp 127.0.0.1:",
        ", of the listener at 0x",
        ", opened by leave_a_listener_open+0x",
        "    send on descriptor ",
        " (unix unnamed <-> unnamed), of the stream at 0x",
        ", opened by leave_a_stream_open+0x",
    };
    struct harness_death death;

    NEEDS_THREADS();
    harness_watch_death(stay_for_what_is_open, &death);
    EXPECT_INT(WTERMSIG(death.status), ==, SIGABRT);
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        EXPECT_MSG(strstr(death.text, texts[i]) != NULL, "\"%s\" is not in: %s", texts[i],
                   death.text);
}

/* ---- A deadline, seen without waiting ---- */

FIBER_TEST(a_fiber_that_computes_sees_that_its_deadline_has_passed)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 100 * TORC_SECOND);
    EXPECT_INT(torc_cancelled(), ==, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    harness_hog_until(torc_now() + 2 * TORC_MILLISECOND);
    EXPECT_INT(torc_cancelled(), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
}

static unsigned sleepers;
static uint64_t crowd_deadline_ns;

static int sleep_with_the_crowd(void *arg)
{
    (void)arg;
    sleepers++;
    return torc_sleep_until(crowd_deadline_ns);
}

FIBER_TEST(a_fiber_that_computes_sees_its_deadline_however_many_timers_are_due_before)
{
    const unsigned count = 3000;
    struct torc_scope crowd;
    struct torc_scope scope;

    sleepers = 0;
    crowd_deadline_ns = torc_deadline(50 * TORC_MILLISECOND);
    torc_scope_open(&crowd, 0);
    for (unsigned i = 0; i < count; i++)
        harness_spawn(&crowd, sleep_with_the_crowd, NULL);
    while (sleepers < count)
        EXPECT_INT(torc_yield(), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_deadline(&scope, crowd_deadline_ns + 1);
    harness_hog_until(crowd_deadline_ns + TORC_MILLISECOND);
    EXPECT_INT(torc_cancelled(), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&crowd), ==, 0);
}

/* ---- Ports ---- */

static struct torc_address port_address;

static void ignore_connection(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)op;
    (void)flags;
    (void)more;
    EXPECT_INT(result, <, 0);
}

static int accept_nothing(void *arg)
{
    EXPECT_INT(torc_accept(*(const int *)arg, NULL), ==, -ECANCELED);
    return 0;
}

static int poll_nothing(void *arg)
{
    EXPECT_INT(torc_poll(*(const int *)arg, POLLIN), ==, -ECANCELED);
    return 0;
}

static int listener_fd;
static struct torc_op port_feed;

/* Leave with every kind of wait for connections in the kernel, and the descriptor closed. */
static int listen_and_leave(void *arg)
{
    (void)arg;
    listener_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_INT(bind(listener_fd, &port_address.any, port_address.length), ==, 0);
    EXPECT_INT(listen(listener_fd, 10), ==, 0);
    EXPECT_INT(getsockname(listener_fd, &port_address.any, &port_address.length), ==, 0);
    harness_spawn(NULL, accept_nothing, &listener_fd);
    harness_spawn(NULL, poll_nothing, &listener_fd);
    io_uring_prep_multishot_accept(torc_op_prepare_feed(&port_feed, ignore_connection), listener_fd,
                                   NULL, NULL, SOCK_CLOEXEC);
    harness_pass_kernel();
    return torc_close(listener_fd);
}

/* The kernel ends a ring later than close() says, and with it what the ring still holds. */
TEST(a_port_is_free_as_soon_as_the_run_that_listened_there_has_ended)
{
    char text[64];

    /* An address of our own in 127.0.0.0/8, so that nobody else may take the port. */
    (void)snprintf(text, sizeof(text), "127.%d.%d.%d:0", 100 + getpid() / 65536 % 100,
                   getpid() / 256 % 256, 1 + getpid() % 254);
    port_address = harness_address(text);
    for (unsigned i = 0; i < 50; i++) /* From the second on, all bind the port of the first. */
        EXPECT_INT(torc_run(listen_and_leave, NULL, NULL), ==, 0);
}
