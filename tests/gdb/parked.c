/* SPDX-License-Identifier: MIT */
/*
 * parked.c - fibers parked in known functions, to be looked at by gdb.
 *
 * Two shards; prints "parked" when all fibers of the first stand where they should, and waits.
 */
#include <stdio.h>
#include <sys/prctl.h>
#include <torc/torc.h>

#define NEVER_INLINED __attribute__((noinline))

static int pair[2];
static struct torc_event never;

/* The results are used after the call, so that none of these frames is left by a tail call. */
NEVER_INLINED static int await_bytes(void)
{
    char byte = 0;
    ssize_t count = torc_recv(pair[0], &byte, 1, 0);

    return count < 0 ? (int)count : byte;
}

NEVER_INLINED static int doze(void)
{
    return torc_sleep(TORC_FOREVER / 2) != 0 ? -ECANCELED : 1;
}

NEVER_INLINED static int await_godot(void)
{
    return torc_event_wait(&never) != 0 ? -ECANCELED : 1;
}

static int reader_body(void *arg)
{
    (void)arg;
    torc_fiber_set_name("reader");
    return await_bytes() != 0 ? -ECANCELED : 1;
}

static int sleeper_body(void *arg)
{
    (void)arg;
    torc_fiber_set_name("sleeper");
    return doze() != 0 ? -ECANCELED : 1;
}

static int waiter_body(void *arg)
{
    (void)arg;
    torc_fiber_set_name("waiter");
    return await_godot() != 0 ? -ECANCELED : 1;
}

static int brief_body(void *arg)
{
    (void)arg;
    return 0;
}

static int run(void *arg)
{
    (void)arg;
    if (torc_shard_index() != 0)
        return doze();
    if (torc_spawn(reader_body, NULL) < 0 || torc_spawn(sleeper_body, NULL) < 0 ||
        torc_spawn(waiter_body, NULL) < 0 || torc_spawn(brief_body, NULL) < 0)
        return -ENOMEM;
    (void)torc_yield();
    puts("parked");
    fflush(stdout);
    return await_bytes();
}

int main(void)
{
    const struct torc_options options = {.shards = 2};

    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* Where Yama wants to be asked. */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return 1;
    return torc_run(run, NULL, &options) < 0;
}
