/* SPDX-License-Identifier: MIT */
/*
 * dumped.c - a program to be looked at by torc dump and by gdb. What it does is its argument:
 *
 *     waits       fibers in every kind of wait
 *     hangs       one fiber that spins, and others
 *     blocks      one fiber that makes a blocking system call on its shard
 *     many COUNT  so many fibers that wait alike
 *     busy COUNT  so many fibers that hardly wait
 *     holds       fibers that refuse to end
 *     names       fibers whose names are not fit for a terminal
 *     idle        nothing, and no shard
 *
 * Prints "ready" when all is as it should be, and goes on until it is killed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <torc/torc.h>
#include <unistd.h>

#define NEVER_INLINED __attribute__((noinline))

static int pair[2];
static struct torc_event never;
static struct torc_mutex taken;
static struct torc_semaphore units;
static struct torc_channel empty;
static struct torc_wait_group group;
static struct torc_shared_mutex shared;
static struct torc_stream stream;
static struct torc_listener listener;
static volatile bool ever;
static uint32_t amount;

static void say_ready(void)
{
    puts("ready");
    fflush(stdout);
}

/* ---- Every kind of wait ---- */

/* What is used after the call keeps its frame from being left by a tail call. */
NEVER_INLINED static int await_bytes(int fd)
{
    char byte = 0;
    ssize_t count = torc_recv(fd, &byte, 1, 0);

    return count < 0 ? (int)count : byte;
}

static int reader(void *arg)
{
    (void)arg;
    torc_fiber_set_name("reader");
    return await_bytes(pair[0]) != 0 ? -ECANCELED : 1;
}

static int sleeper(void *arg)
{
    (void)arg;
    torc_fiber_set_name("sleeper");
    return torc_sleep(3600 * TORC_SECOND) != 0 ? -ECANCELED : 1;
}

static int event_waiter(void *arg)
{
    (void)arg;
    torc_fiber_set_name("event");
    return torc_event_wait(&never) != 0 ? -ECANCELED : 1;
}

static int holder(void *arg)
{
    (void)arg;
    torc_fiber_set_name("holder");
    (void)torc_mutex_lock(&taken);
    (void)torc_event_wait(&never);
    torc_mutex_unlock(&taken);
    return 0;
}

static int locker(void *arg)
{
    (void)arg;
    torc_fiber_set_name("locker");
    return torc_mutex_lock(&taken) != 0 ? -ECANCELED : 1;
}

static int acquirer(void *arg)
{
    (void)arg;
    torc_fiber_set_name("acquirer");
    return torc_semaphore_acquire(&units, 1) != 0 ? -ECANCELED : 1;
}

static int receiver(void *arg)
{
    int value;

    (void)arg;
    torc_fiber_set_name("receiver");
    return torc_channel_receive(&empty, &value) != 0 ? -ECANCELED : 1;
}

static int grouper(void *arg)
{
    (void)arg;
    torc_fiber_set_name("grouper");
    return torc_wait_group_wait(&group) != 0 ? -ECANCELED : 1;
}

static int shared_locker(void *arg)
{
    (void)arg;
    torc_fiber_set_name("shared");
    (void)torc_shared_mutex_lock(&shared);
    if (torc_shard_index() == 0)
        return torc_event_wait(&never) != 0 ? -ECANCELED : 1;
    return 1;
}

static int selector(void *arg)
{
    int value;
    struct torc_case cases[] = {torc_case_event(&never), torc_case_receive(&empty, &value)};

    (void)arg;
    torc_fiber_set_name("selector");
    return torc_select(cases, 2) < 0 ? -ECANCELED : 1;
}

static int stream_reader(void *arg)
{
    char bytes[8];

    (void)arg;
    torc_fiber_set_name("streamer");
    return torc_stream_read(&stream, bytes, sizeof(bytes)) < 0 ? -ECANCELED : 1;
}

static int acceptor(void *arg)
{
    (void)arg;
    torc_fiber_set_name("acceptor");
    return torc_listener_accept(&listener, NULL) < 0 ? -ECANCELED : 1;
}

static int block(void *arg)
{
    (void)arg;
    while (!ever)
        pause();
    return 0;
}

static int blocker(void *arg)
{
    (void)arg;
    torc_fiber_set_name("blocker");
    return torc_blocking(block, NULL) != 0 ? -ECANCELED : 1;
}

static int asked(void *arg)
{
    (void)arg;
    torc_fiber_set_name("asked");
    return torc_sleep(TORC_FOREVER - 1) != 0 ? -ECANCELED : 1;
}

static int asker(void *arg)
{
    (void)arg;
    torc_fiber_set_name("asker");
    return torc_shard_call(1, asked, NULL) != 0 ? -ECANCELED : 1;
}

static int nested(void *arg)
{
    struct torc_scope scope;
    int result;

    (void)arg;
    torc_fiber_set_name("nested");
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 7200 * TORC_SECOND);
    result = torc_event_wait(&never);
    (void)torc_scope_close(&scope);
    return result;
}

static int closer(void *arg)
{
    struct torc_scope scope;
    int result;

    (void)arg;
    torc_fiber_set_name("closer");
    torc_scope_open(&scope, 0);
    result = torc_scope_spawn(&scope, nested, NULL);
    return torc_scope_close(&scope) != 0 ? -ECANCELED : result;
}

static int make_waits(void)
{
    static torc_fiber_fn *const bodies[] = {
        reader,   sleeper,       event_waiter,  holder,   locker,  acquirer, receiver, grouper,
        selector, shared_locker, stream_reader, acceptor, blocker, asker,    closer};
    struct torc_address address;
    int other[2];

    if (torc_unix_pair(SOCK_STREAM, pair) < 0 || torc_unix_pair(SOCK_STREAM, other) < 0 ||
        torc_address_parse("127.0.0.1:0", &address) < 0 ||
        torc_listener_open(&listener, &address, NULL) < 0)
        return -EIO;
    torc_stream_open(&stream, other[0]);
    torc_semaphore_init(&units, 0);
    torc_channel_init(&empty, NULL, sizeof(int), 0);
    torc_wait_group_add(&group, 1);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        if (torc_spawn(bodies[i], NULL) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int waits(void *arg)
{
    int result = torc_shard_index() == 0 ? make_waits() : 0;

    (void)arg;
    if (result < 0)
        return result;
    /* All have parked, and other shards and threads have what they were given, in a moment. */
    (void)torc_yield();
    (void)torc_sleep(100 * TORC_MILLISECOND);
    if (torc_shard_index() == 0)
        say_ready();
    else
        (void)shared_locker(NULL);
    return torc_sleep(TORC_FOREVER - 1);
}

/* ---- One that keeps its shard ---- */

NEVER_INLINED static uint64_t spin(uint64_t count)
{
    while (!ever)
        count++;
    return count;
}

static int spinner(void *arg)
{
    (void)arg;
    torc_fiber_set_name("spinner");
    say_ready();
    return spin(0) != 0 ? 1 : 0;
}

static int dozer(void *arg)
{
    const struct timespec long_time = {.tv_sec = 3600};

    (void)arg;
    torc_fiber_set_name("dozer");
    say_ready();
    return nanosleep(&long_time, NULL) == 0 ? 1 : 0;
}

static int keep(torc_fiber_fn *body)
{
    int result = 0;

    if (torc_unix_pair(SOCK_STREAM, pair) < 0)
        return -EIO;
    if (torc_spawn(reader, NULL) < 0)
        return -ENOMEM;
    (void)torc_yield();
    result = torc_spawn(body, NULL);
    return result < 0 ? result : torc_sleep(TORC_FOREVER - 1);
}

static int hangs(void *arg)
{
    (void)arg;
    return keep(spinner);
}

static int blocks(void *arg)
{
    (void)arg;
    return keep(dozer);
}

/* ---- Many ---- */

static int one_of_many(void *arg)
{
    (void)arg;
    torc_fiber_set_name("many");
    return await_bytes(pair[0]) != 0 ? -ECANCELED : 1;
}

static int restless(void *arg)
{
    (void)arg;
    torc_fiber_set_name("restless");
    while (torc_sleep(TORC_MILLISECOND) == 0)
        continue;
    return 0;
}

static int spawn_all(torc_fiber_fn *body)
{
    if (torc_shard_index() == 0 && torc_unix_pair(SOCK_STREAM, pair) < 0)
        return -EIO;
    for (uint32_t i = 0; i < amount && torc_shard_index() == 0; i++) {
        if (torc_spawn(body, NULL) < 0)
            return -ENOMEM;
    }
    (void)torc_sleep(50 * TORC_MILLISECOND);
    if (torc_shard_index() == 0)
        say_ready();
    return torc_sleep(TORC_FOREVER - 1);
}

static int odd(void *arg)
{
    torc_fiber_set_name(arg);
    return await_bytes(pair[0]) != 0 ? -ECANCELED : 1;
}

#define E_ACUTE_2 "\303\251\303\251"
#define E_ACUTE_8 E_ACUTE_2 E_ACUTE_2 E_ACUTE_2 E_ACUTE_2

static int names(void *arg)
{
    static char given[][96] = {"\033[2Jred",
                               "caf\303\251",
                               "caf\303",
                               "two\nlines",
                               "\302\233H",
                               "-" E_ACUTE_8 E_ACUTE_8 E_ACUTE_8 E_ACUTE_8,
                               "--" E_ACUTE_8 E_ACUTE_8 E_ACUTE_8 E_ACUTE_8};
    int result = torc_unix_pair(SOCK_STREAM, pair);

    (void)arg;
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]) && result == 0; i++)
        result = torc_spawn(odd, given[i]);
    if (result < 0)
        return result;
    (void)torc_yield();
    say_ready();
    return torc_sleep(TORC_FOREVER - 1);
}

static int many(void *arg)
{
    (void)arg;
    return spawn_all(one_of_many);
}

static int busy(void *arg)
{
    (void)arg;
    return spawn_all(restless);
}

/* ---- What does not end ---- */

NEVER_INLINED static int refuse_to_end(void)
{
    struct torc_scope shield;
    int result;

    torc_scope_open(&shield, TORC_SHIELD);
    result = torc_event_wait(&never);
    (void)torc_scope_close(&shield);
    return result;
}

static int stubborn(void *arg)
{
    (void)arg;
    torc_fiber_set_name("stubborn");
    return refuse_to_end() != 0 ? -ECANCELED : 1;
}

static int holds(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        if (torc_spawn(stubborn, NULL) < 0)
            return -ENOMEM;
    }
    (void)torc_yield();
    say_ready();
    return 0;
}

NEVER_INLINED static int open_listener(struct torc_listener *left)
{
    struct torc_address address;

    if (torc_address_parse("127.0.0.1:0", &address) < 0)
        return -EINVAL;
    return torc_listener_open(left, &address, NULL);
}

/* Nobody closes it. */
static int leaves(void *arg)
{
    static struct torc_listener left;
    struct torc_scope scope;
    int result = open_listener(&left);

    (void)arg;
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    if (result == 0)
        result = torc_listener_accept(&left, NULL);
    (void)torc_scope_close(&scope);
    say_ready();
    return result == -ETIME ? 0 : -EIO;
}

static const struct {
    const char *name;
    torc_fiber_fn *main;
    int shards;
} modes[] = {
    {"waits", waits, 2}, {"hangs", hangs, 1}, {"blocks", blocks, 1}, {"many", many, 1},
    {"busy", busy, 1},   {"holds", holds, 1}, {"names", names, 1},   {"leaves", leaves, 1},
};

int main(int argc, char **argv)
{
    struct torc_options options = {.shutdown_warn_ns = 100 * TORC_MILLISECOND,
                                   .dump_on_quit = true};

    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* Where Yama wants to be asked. */
    if (argc > 1 && strcmp(argv[1], "idle") == 0) {
        say_ready();
        return pause();
    }
    amount = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
        options.shards = modes[i].shards;
        if (strcmp(argv[1], modes[i].name) == 0)
            return torc_run(modes[i].main, NULL, &options) < 0;
    }
    return 2;
}
