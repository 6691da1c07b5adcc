/* SPDX-License-Identifier: MIT */
/*
 * fork.c - a process made by fork() has no shards.
 *
 * It has copies of the fibers' memory, but neither the rings, which serve the parent's threads
 * alone, nor the other shards' threads. So its one thread is no shard: it may exec, _exit, or run a
 * runtime of its own; any other call aborts, and says why.
 */
#include "shard/diagnose.h"
#include "shard/observer.h"
#include "shard/runtime.h"
#include <pthread.h>
#include <stdio.h>

static void describe_child(char *text, int size)
{
    (void)snprintf(text, (size_t)size,
                   "a child made by fork(), which has no shards (exec, _exit or torc_run there)");
}

static void forget_shard(void)
{
    if (torc__shard == NULL)
        return;
    torc__runtime_restore_signals(torc__shard);
    torc__shard = NULL;
    torc__describe_current = describe_child;
}

static void begin_child(void)
{
    forget_shard();
    torc__inspect_after_fork();
    torc__fault_after_fork();
    torc__dump_after_fork();
    torc__stall_after_fork();
    torc__driver_after_fork();
}

static void watch(void)
{
    (void)pthread_atfork(NULL, NULL, begin_child);
}

void torc__fork_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, watch);
}
