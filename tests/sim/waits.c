/* SPDX-License-Identifier: MIT */
/*
 * waits.c - every wait ends when its scope does, and soon.
 *
 * Each kind of wait, for what never comes, in a scope that is cancelled or passes its deadline at
 * some instant, or has done so before. It has to end with the scope's reason, within a second; and
 * what was waited at can be used as before.
 */
#include "books.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>

#define ROUNDS   60u
#define LATE_NS  TORC_SECOND
#define BOUND_NS (600 * TORC_SECOND)

/* What nothing ever comes from. */
struct quiet {
    int pipe[2];
    int udp;
    int listening;
    int locked[2]; /* two openings of one file, the first of which has it locked */
    struct torc_watcher watcher;
    struct torc_fs_watch *fs_watch;
    struct torc_event event;
    struct torc_channel channel;
    struct torc_queue queue;
    struct torc_oneshot oneshot;
    struct torc_semaphore semaphore;
    struct torc_barrier barrier;
    struct torc_mutex mutex; /* held by main */
    struct torc_shared_channel *shared;
    struct torc_shared_event shared_event;
};

typedef int64_t wait_fn(struct quiet *quiet);

/* ---- The kernel ---- */

static int64_t read_pipe(struct quiet *quiet)
{
    char bytes[10];

    return torc_read(quiet->pipe[0], bytes, sizeof(bytes));
}

static int64_t poll_pipe(struct quiet *quiet)
{
    return torc_poll(quiet->pipe[0], POLLIN);
}

static int64_t receive_datagram(struct quiet *quiet)
{
    char bytes[10];
    struct torc_datagram datagram = {.data = bytes, .size = sizeof(bytes)};
    struct torc_address peer;

    switch (torc_sim_random_below(3)) {
    case 0:
        return torc_recvfrom(quiet->udp, bytes, sizeof(bytes), 0, &peer);
    case 1:
        return torc_datagram_recv_batch(quiet->udp, &datagram, 1);
    default:
        return torc_datagram_recv(quiet->udp, &datagram, 0);
    }
}

static int64_t accept_connection(struct quiet *quiet)
{
    return torc_accept(quiet->listening, NULL);
}

static int64_t lock_file(struct quiet *quiet)
{
    return one_in(2) ? torc_flock(quiet->locked[1], LOCK_EX)
                     : torc_lock(quiet->locked[1], F_WRLCK, 0, 0);
}

static int64_t watch_pipe(struct quiet *quiet)
{
    struct torc_watch_event event;

    return torc_watcher_wait(&quiet->watcher, &event, 1);
}

static int64_t watch_directory(struct quiet *quiet)
{
    struct torc_fs_watch_event event;

    return torc_fs_watch_next(quiet->fs_watch, &event);
}

static int64_t copy_pipe(struct quiet *quiet)
{
    return torc_copy_fd(quiet->pipe[0], quiet->udp, UINT64_MAX, NULL);
}

/* ---- Fibers and time ---- */

static int64_t sleep_for_ever(struct quiet *quiet)
{
    (void)quiet;
    return torc_sleep(TORC_FOREVER);
}

static int64_t wait_for_event(struct quiet *quiet)
{
    return one_in(2) ? torc_event_wait(&quiet->event)
                     : torc_shared_event_wait(&quiet->shared_event);
}

static int64_t receive_value(struct quiet *quiet)
{
    struct torc_queue_node *node;
    uint64_t value;
    struct torc_case cases[] = {
        torc_case_receive(&quiet->channel, &value),
        torc_case_shared_receive(quiet->shared, &value),
        torc_case_event(&quiet->event),
    };

    switch (torc_sim_random_below(5)) {
    case 0:
        return torc_channel_receive(&quiet->channel, &value);
    case 1:
        return torc_queue_pop(&quiet->queue, &node);
    case 2:
        return torc_oneshot_receive(&quiet->oneshot, &value);
    case 3:
        return torc_shared_channel_receive(quiet->shared, &value);
    default:
        return torc_select(cases, 3);
    }
}

static int64_t take_what_others_have(struct quiet *quiet)
{
    switch (torc_sim_random_below(3)) {
    case 0:
        return torc_semaphore_acquire(&quiet->semaphore, 1);
    case 1:
        return torc_barrier_wait(&quiet->barrier);
    default:
        return torc_mutex_lock(&quiet->mutex);
    }
}

static int wait_in_call(void *arg)
{
    (void)arg;
    return torc_sleep(TORC_FOREVER);
}

static int64_t call_shard(struct quiet *quiet)
{
    (void)quiet;
    return one_in(2) ? torc_shard_call(1, wait_in_call, NULL)
                     : torc_shard_call_all(wait_in_call, NULL);
}

/* ---- One wait ---- */

/* It may fail by chance before; but it never ends well. */
static void check_end(int64_t result, int reason, uint64_t late_ns)
{
    TORC_SIM_CHECK(result < 0);
    TORC_SIM_CHECK(result == reason || is_chance(result));
    TORC_SIM_CHECK(late_ns < LATE_NS);
}

static void wait_once(struct quiet *quiet, wait_fn *wait)
{
    const uint64_t after_ns = some_time(200 * TORC_MILLISECOND);
    struct torc_scope scope;
    struct peril cancels = {.after_ns = after_ns};
    const uint64_t begun_ns = torc_now();
    uint64_t took_ns;
    int64_t result;
    int reason;

    torc_scope_open(&cancels.scope, 0);
    if (one_in(2))
        torc_scope_set_timeout(&cancels.scope, after_ns);
    else
        TORC_SIM_CHECK(torc_scope_spawn(&cancels.scope, peril__cancel, &cancels) == 0);
    torc_scope_open(&scope, 0); /* The reason comes from outside as well as not. */
    do
        result = wait(quiet);
    while (result < 0 && torc_cancelled() == 0);
    reason = torc_cancelled();
    took_ns = torc_now() - begun_ns;
    check_end(result, reason, took_ns > after_ns ? took_ns - after_ns : 0);
    (void)torc_scope_close(&scope);
    torc_scope_cancel(&cancels.scope);
    (void)torc_scope_close(&cancels.scope);
}

static int wait_often(void *arg)
{
    static wait_fn *const waits[] = {
        read_pipe,       poll_pipe,  receive_datagram,      accept_connection, lock_file,
        watch_pipe,      copy_pipe,  sleep_for_ever,        wait_for_event,    receive_value,
        watch_directory, call_shard, take_what_others_have,
    };

    for (unsigned i = 0; i < ROUNDS; i++)
        wait_once(arg, waits[torc_sim_random_below(sizeof(waits) / sizeof(waits[0]))]);
    return 0;
}

/* ---- The program ---- */

static int insist(int result)
{
    TORC_SIM_CHECK(result >= 0 || is_chance(result));
    return result;
}

static void open_files(struct quiet *quiet)
{
    struct torc_address any;

    TORC_SIM_CHECK(torc_address_parse("127.0.0.1:7000", &any) == 0);
    while (insist(torc_pipe(quiet->pipe, 0)) < 0)
        continue;
    while ((quiet->udp = insist(torc_udp_open(&any, NULL))) < 0)
        continue;
    while ((quiet->listening = insist(torc_tcp_listen(&any, NULL))) < 0)
        continue;
    for (unsigned i = 0; i < 2; i++)
        while ((quiet->locked[i] = insist(torc_open("/tmp/l", O_RDWR | O_CREAT, 0600))) < 0)
            continue;
    while (insist(torc_flock(quiet->locked[0], LOCK_EX)) < 0)
        continue;
    while (insist(torc_lock(quiet->locked[0], F_WRLCK, 0, 0)) < 0)
        continue;
    while (insist(torc_watcher_open(&quiet->watcher)) < 0)
        continue;
    while (insist(torc_watcher_set(&quiet->watcher, quiet->pipe[0], POLLIN, 1)) < 0)
        continue;
    while (insist(torc_fs_watch_open("/tmp", IN_CREATE, &quiet->fs_watch)) < 0)
        continue;
}

static void close_files(struct quiet *quiet)
{
    torc_watcher_close(&quiet->watcher);
    torc_fs_watch_close(quiet->fs_watch);
    (void)torc_close(quiet->pipe[0]);
    (void)torc_close(quiet->pipe[1]);
    (void)torc_close(quiet->udp);
    (void)torc_close(quiet->listening);
    (void)torc_close(quiet->locked[0]);
    (void)torc_close(quiet->locked[1]);
}

/* That they are not used any more is what these say themselves. */
static void finish(struct quiet *quiet)
{
    torc_mutex_unlock(&quiet->mutex);
    torc_mutex_finish(&quiet->mutex);
    torc_event_finish(&quiet->event);
    torc_channel_finish(&quiet->channel);
    torc_queue_finish(&quiet->queue);
    torc_oneshot_finish(&quiet->oneshot);
    torc_semaphore_finish(&quiet->semaphore);
    torc_barrier_finish(&quiet->barrier);
    torc_shared_event_finish(&quiet->shared_event);
    torc_shared_channel_release(quiet->shared);
}

static int program_main(void *arg)
{
    struct quiet quiet = {.udp = -1};
    struct torc_scope scope;

    (void)arg;
    if (torc_shard_index() == 1)
        return torc_sleep(TORC_FOREVER);
    torc_channel_init(&quiet.channel, NULL, 8, 0);
    torc_oneshot_init(&quiet.oneshot, &quiet.pipe, 8);
    torc_barrier_init(&quiet.barrier, 100);
    TORC_SIM_CHECK(torc_shared_channel_create(1, 8, &quiet.shared) == 0);
    TORC_SIM_CHECK(torc_mutex_lock(&quiet.mutex) == 0);
    open_files(&quiet);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 3; i++)
        TORC_SIM_CHECK(torc_scope_spawn(&scope, wait_often, &quiet) == 0);
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    close_files(&quiet);
    finish(&quiet);
    check_alone();
    torc_stop();
    return 0;
}

static int program(void *arg)
{
    const struct torc_options options = {.shards = 2};

    return run_and_check(program_main, arg, &options);
}

static int scenario(void *arg)
{
    struct torc_sim_host *host;

    TORC_SIM_CHECK(torc_sim_host_start("machine", NULL, program, arg, &host) == 0);
    TORC_SIM_CHECK(wait_for_end(host, BOUND_NS) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}
