/* SPDX-License-Identifier: MIT */
/*
 * shutdown.c - shutting down always ends, and leaves nothing.
 *
 * A program of one to three shards is full of fibers in nested scopes, some of them shields or with
 * deadlines, which wait for all that there is to wait for. Its main functions return, fail or stop
 * it at some instant. It has to end soon after, each fiber that was started has to have run to its
 * end, and no descriptor may be left. Some are killed, and start again.
 */
#include "books.h"
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#define PORT       7000
#define SHARDS_MAX 3u
#define FIBERS_MAX 60u
#define DEPTH_MAX  3u
#define BOUND_NS   (600 * TORC_SECOND) /* Lost segments are sent again after minutes at last. */

/* What the fibers of one shard have in common. */
struct place {
    struct torc_mutex mutex;
    struct torc_rwlock rwlock;
    struct torc_condition condition;
    struct torc_semaphore semaphore;
    struct torc_event event;
    struct torc_channel channel;
    uint64_t slots[2];
};

struct plan {
    unsigned shards;
    unsigned spawned;
    unsigned ended;
    struct torc_shared_mutex shared_mutex;
    struct torc_shared_semaphore shared_semaphore;
    struct place places[SHARDS_MAX];
};

static int live(void *arg);
static int do_something(struct plan *plan, unsigned depth);

static struct place *here(struct plan *plan)
{
    return &plan->places[torc_shard_index()];
}

/* ---- Waiting for other fibers ---- */

static int lock_mutex(struct plan *plan)
{
    struct place *place = here(plan);
    int result = torc_mutex_lock(&place->mutex);

    if (result < 0)
        return result;
    result = one_in(2) ? torc_condition_wait(&place->condition, &place->mutex)
                       : torc_sleep(some_time(TORC_MILLISECOND));
    torc_condition_signal(&place->condition);
    torc_mutex_unlock(&place->mutex);
    return result;
}

static int lock_rwlock(struct plan *plan)
{
    struct place *place = here(plan);
    const bool writes = one_in(2);
    int result =
        writes ? torc_rwlock_write_lock(&place->rwlock) : torc_rwlock_read_lock(&place->rwlock);

    if (result < 0)
        return result;
    result = torc_sleep(some_time(TORC_MILLISECOND));
    if (writes)
        torc_rwlock_write_unlock(&place->rwlock);
    else
        torc_rwlock_read_unlock(&place->rwlock);
    return result;
}

static int take_units(struct plan *plan)
{
    struct place *place = here(plan);
    const uint32_t units = (uint32_t)torc_sim_random_below(3) + 1;
    int result = torc_semaphore_acquire(&place->semaphore, units);

    if (result < 0)
        return result;
    result = torc_sleep(some_time(TORC_MILLISECOND));
    torc_semaphore_release(&place->semaphore, units);
    return result;
}

static int pass_values(struct plan *plan)
{
    struct place *place = here(plan);
    uint64_t value = 0;
    struct torc_case cases[] = {
        torc_case_send(&place->channel, &value),
        torc_case_event(&place->event),
        torc_case_deadline(torc_deadline(some_time(20 * TORC_MILLISECOND))),
    };

    switch (torc_sim_random_below(3)) {
    case 0:
        return torc_channel_send(&place->channel, &value);
    case 1:
        return torc_channel_receive(&place->channel, &value);
    default:
        return torc_select(cases, 3) < 0 ? -ECANCELED : 0;
    }
}

static int lock_shared(struct plan *plan)
{
    int result;

    if (one_in(2)) {
        result = torc_shared_mutex_lock(&plan->shared_mutex);
        if (result < 0)
            return result;
        result = torc_sleep(some_time(TORC_MILLISECOND));
        torc_shared_mutex_unlock(&plan->shared_mutex);
        return result;
    }
    result = torc_shared_semaphore_acquire(&plan->shared_semaphore, 2);
    if (result < 0)
        return result;
    result = torc_sleep(some_time(TORC_MILLISECOND));
    torc_shared_semaphore_release(&plan->shared_semaphore, 2);
    return result;
}

/* ---- Waiting for the kernel, and for threads ---- */

static void echo(int fd)
{
    struct torc_stream stream;
    const void *data;
    ssize_t count;

    torc_stream_open(&stream, fd);
    while ((count = torc_stream_peek(&stream, &data)) > 0) {
        if (torc_stream_write(&stream, data, (size_t)count, NULL) < 0)
            break;
        torc_stream_consume(&stream, (size_t)count);
    }
    (void)torc_stream_close(&stream);
}

static int serve(struct plan *plan)
{
    struct torc_address address;
    struct torc_listener listener;
    int result = torc_address_parse("127.0.0.1:7000", &address);

    (void)plan;
    if (result < 0 || torc_listener_open(&listener, &address, NULL) < 0)
        return torc_cancelled();
    for (unsigned count = 0; count < 5; count++) {
        result = torc_listener_accept(&listener, NULL);
        if (result < 0)
            break;
        echo(result);
    }
    (void)torc_listener_close(&listener);
    return torc_cancelled();
}

static int be_served(struct plan *plan)
{
    struct torc_stream stream;
    const void *data;
    static const char text[3000];
    const int fd = torc_tcp_connect_name("localhost", PORT, NULL);

    (void)plan;
    if (fd < 0)
        return torc_cancelled();
    torc_stream_open(&stream, fd);
    if (torc_stream_write(&stream, text, torc_sim_random_below(sizeof(text)) + 1, NULL) == 0)
        (void)torc_stream_peek(&stream, &data);
    (void)torc_stream_close(&stream);
    return torc_cancelled();
}

static int copy_pipe(struct plan *plan)
{
    char bytes[100];
    int fds[2];
    int result = torc_pipe(fds, 0);

    (void)plan;
    if (result < 0)
        return torc_cancelled();
    if (one_in(2))
        (void)torc_write(fds[1], "x", 1);
    if (one_in(2))
        (void)torc_read(fds[0], bytes, sizeof(bytes));
    else
        (void)torc_poll(fds[0], POLLIN);
    (void)torc_close(fds[0]);
    (void)torc_close(fds[1]);
    return torc_cancelled();
}

static int write_file(struct plan *plan)
{
    char name[] = "/tmp/a";

    (void)plan;
    name[5] = (char)('a' + torc_sim_random_below(5));
    if (one_in(2)) {
        (void)torc_save_file(name, "some text", 9, 0600);
    } else {
        const int fd = torc_open(name, O_RDWR | O_CREAT, 0600);

        if (fd < 0)
            return torc_cancelled();
        if (torc_lock(fd, F_WRLCK, 0, 0) == 0)
            (void)torc_pwrite_all(fd, "others", 6, 3, NULL);
        (void)torc_close(fd);
    }
    return torc_cancelled();
}

static int compute(void *arg)
{
    (void)arg;
    return 0;
}

static int call_blocking(struct plan *plan)
{
    (void)plan;
    return torc_blocking(compute, NULL) == -ECANCELED ? -ECANCELED : torc_cancelled();
}

/* ---- Other shards ---- */

/* The new fiber counts as started before it is known to be, since it may have ended by then. */
static int call_shard(struct plan *plan)
{
    const unsigned shard = (unsigned)torc_sim_random_below(plan->shards);
    int result = 0;

    switch (torc_sim_random_below(3)) {
    case 0:
        return torc_shard_ask(shard, compute, NULL);
    case 1:
        plan->spawned++;
        result = torc_shard_spawn(shard, live, plan);
        if (result < 0)
            plan->spawned--;
        return result;
    default:
        return torc_shard_call_all(compute, NULL);
    }
}

/* ---- Scopes ---- */

static void spawn_some(struct plan *plan, struct torc_scope *scope)
{
    for (uint64_t count = torc_sim_random_below(4); count > 0; count--) {
        if (plan->spawned >= FIBERS_MAX)
            return;
        TORC_SIM_CHECK(torc_scope_spawn(scope, live, plan) == 0);
        plan->spawned++;
    }
}

/* A shield has a deadline, without which nothing would end it. */
static int open_scope(struct plan *plan, unsigned depth)
{
    const unsigned flags = (unsigned)torc_sim_random_below(4);
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, flags);
    if ((flags & TORC_SHIELD) != 0 || one_in(2))
        torc_scope_set_timeout(&scope, some_time(50 * TORC_MILLISECOND));
    spawn_some(plan, &scope);
    result = do_something(plan, depth + 1);
    if (one_in(2))
        torc_scope_cancel(&scope);
    result = one_in(4) ? torc_scope_linger(&scope, some_time(10 * TORC_MILLISECOND))
                       : torc_scope_close(&scope);
    TORC_SIM_CHECK(result <= 0);
    return torc_cancelled();
}

typedef int deed_fn(struct plan *plan);

static int do_something(struct plan *plan, unsigned depth)
{
    static deed_fn *const deeds[] = {
        lock_mutex, lock_rwlock, take_units, pass_values, lock_shared,   serve,
        be_served,  be_served,   copy_pipe,  write_file,  call_blocking, call_shard,
    };

    if (depth < DEPTH_MAX && one_in(3))
        return open_scope(plan, depth);
    if (one_in(8))
        return torc_sleep(some_time(TORC_SECOND));
    return deeds[torc_sim_random_below(sizeof(deeds) / sizeof(deeds[0]))](plan);
}

/* The body of every fiber. */
static int live(void *arg)
{
    struct plan *plan = arg;
    int result = 0;

    for (uint64_t deeds = torc_sim_random_below(6); deeds > 0 && result >= 0; deeds--)
        result = do_something(plan, 0);
    if (one_in(10))
        torc_event_set(&here(plan)->event);
    plan->ended++;
    return one_in(10) ? -EIO : result;
}

/* ---- The program ---- */

/* What others do is cut off by the end of main, and what main does by a deadline. */
static int do_something_for_a_while(struct plan *plan)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, some_time(100 * TORC_MILLISECOND));
    (void)do_something(plan, 0);
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    return torc_cancelled();
}

static int program_main(void *arg)
{
    struct plan *plan = arg;
    int result = 0;

    for (uint64_t count = torc_sim_random_below(8) + 1; count > 0; count--) {
        TORC_SIM_CHECK(torc_spawn(live, plan) == 0);
        plan->spawned++;
    }
    result = one_in(2) ? do_something_for_a_while(plan) : 0;
    if (result == 0)
        result = torc_sleep(some_time(100 * TORC_MILLISECOND));
    switch (torc_sim_random_below(4)) {
    case 0:
        return -EIO;
    case 1:
        torc_stop();
        TORC_SIM_CHECK(torc_sleep(TORC_FOREVER) == -ECANCELED);
        return 0;
    case 2:
        torc_stop();
        return 0;
    default:
        return result;
    }
}

static void check_unused(struct plan *plan)
{
    TORC_SIM_CHECK(plan->spawned == plan->ended);
    torc_shared_mutex_finish(&plan->shared_mutex);
    torc_shared_semaphore_finish(&plan->shared_semaphore);
    for (unsigned i = 0; i < plan->shards; i++) {
        torc_mutex_finish(&plan->places[i].mutex);
        torc_rwlock_finish(&plan->places[i].rwlock);
        torc_condition_finish(&plan->places[i].condition);
        torc_semaphore_finish(&plan->places[i].semaphore);
        torc_event_finish(&plan->places[i].event);
        torc_channel_finish(&plan->places[i].channel);
    }
}

static int program(void *arg)
{
    const unsigned shards = (unsigned)torc_sim_random_below(SHARDS_MAX) + 1;
    const struct torc_options options = {.shards = (int)shards, .shutdown_warn_ns = TORC_FOREVER};
    struct plan plan = {.shards = shards};
    int result;

    (void)arg;
    torc_shared_semaphore_init(&plan.shared_semaphore, 3);
    for (unsigned i = 0; i < shards; i++) {
        struct place *place = &plan.places[i];

        torc_semaphore_init(&place->semaphore, 3);
        torc_channel_init(&place->channel, place->slots, sizeof(place->slots[0]), 2);
    }
    result = run_and_check(program_main, &plan, &options);
    check_unused(&plan);
    return result;
}

static int scenario(void *arg)
{
    struct torc_sim_host *host;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("machine", NULL, program, NULL, &host) == 0);
    if (one_in(4)) {
        (void)torc_sleep(some_time(50 * TORC_MILLISECOND));
        if (one_in(2))
            torc_sim_host_crash(host);
        else
            torc_sim_host_kill(host);
        TORC_SIM_CHECK(torc_sim_host_restart(host) == 0);
    }
    (void)wait_for_end(host, BOUND_NS);
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}
