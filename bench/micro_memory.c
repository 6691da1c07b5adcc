/* SPDX-License-Identifier: MIT */
/*
 * micro_memory.c - what a parked fiber keeps in memory.
 *
 * Counted is what the process has more of, resident pages and page tables, once all fibers are
 * parked. What the kernel allocates for operations in flight is not in it.
 */
#include "micro.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct parking {
    uint32_t fiber_count;
    bool in_recv; /* else in torc_event_wait() */
    int fds[2];   /* a pair: all receive from the first, and nothing is sent to it */
    uint32_t parked;
    struct torc_event end;
    uint64_t before_kib;
    uint64_t after_kib;
};

/* The fields of /proc/self/status that count, in KiB. */
static uint64_t resident_kib(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    uint64_t total = 0;
    unsigned long long value;

    if (file == NULL)
        micro_require(-errno, "/proc/self/status");
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "VmRSS: %llu", &value) == 1 || sscanf(line, "VmPTE: %llu", &value) == 1)
            total += value;
    }
    fclose(file);
    return total;
}

static int park(void *arg)
{
    static char buffer[4096]; /* One for all: what is on the stack is measured, not what is read. */
    struct parking *all = arg;

    all->parked++;
    if (all->in_recv)
        return (int)torc_recv(all->fds[0], buffer, sizeof(buffer), 0);
    return torc_event_wait(&all->end);
}

static int park_main(void *arg)
{
    struct parking *all = arg;
    struct torc_scope scope;

    all->before_kib = resident_kib();
    torc_scope_open(&scope, 0);
    for (uint32_t i = 0; i < all->fiber_count; i++)
        micro_require(torc_scope_spawn(&scope, park, all), "spawn");
    while (all->parked < all->fiber_count)
        (void)torc_yield();
    micro_require(torc_sleep(TORC_MILLISECOND), "sleep"); /* Everything is with the kernel now. */
    all->after_kib = resident_kib();
    /*
     * An end of input wakes them all at once. Cancelling a million operations would take the kernel
     * minutes: it finds each by a hash of at most 256 chains.
     */
    if (all->in_recv && shutdown(all->fds[1], SHUT_WR) < 0)
        micro_require(-errno, "shutdown");
    torc_event_set(&all->end);
    return torc_scope_close(&scope);
}

static void park_many(uint32_t fiber_count, bool in_recv)
{
    struct parking all = {.fiber_count = fiber_count, .in_recv = in_recv};
    char name[64];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, all.fds) < 0)
        micro_require(-errno, "socketpair");
    micro_run(park_main, &all, NULL);
    close(all.fds[0]);
    close(all.fds[1]);
    snprintf(name, sizeof(name), "parked in %s, %u fibers, each", in_recv ? "recv" : "event_wait",
             fiber_count);
    micro_report_value(name, "KiB", (double)(all.after_kib - all.before_kib) / fiber_count, 4.5);
    if (fiber_count >= 1000000)
        micro_report_value("the whole process with a million fibers", "GiB",
                           (double)all.after_kib / 1024 / 1024, 5);
}

void micro_memory(void)
{
    park_many(10000, true);
    park_many(100000, true);
    park_many(100000, false);
    if (micro_wants_million())
        park_many(1000000, true);
}
