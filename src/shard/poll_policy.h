/* SPDX-License-Identifier: MIT */
/*
 * poll_policy.h - whether to poll for a while before a shard sleeps.
 *
 * A sleeping core takes tens of microseconds to wake, and the one that wakes it pays too; so where
 * the next event is that near, polling is several times faster. It is wasted where it is not, and
 * harmful where another thread could use the CPU. The adaptive policy learns from the waits: it
 * polls after waits that polling would have covered, backs off exponentially when polls are in
 * vain, and rests for longer and longer while the kernel keeps taking the CPU away from it.
 */
#ifndef SHARD_POLL_POLICY_H
#define SHARD_POLL_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include <torc/runtime.h>

struct torc__poll_policy {
    enum torc_busy_poll mode;
    uint64_t limit_ns;
    unsigned credit;        /* short waits of late */
    unsigned failures;      /* polls in vain, in a row */
    unsigned skip;          /* waits still to be slept through, after those */
    uint64_t rest_until_ns; /* The CPU is somebody else's as well. */
    uint64_t rest_ns;       /* the next rest's length */
    uint64_t looked_ns;     /* when it was last found out; the two below count from there */
    long preemptions;       /* what the kernel had counted then */
    uint64_t taken_ns;      /* while polling */
    uint64_t polls;
    uint64_t polls_won;
};

/* -EINVAL if the options are out of their range. */
int torc__poll_policy_init(struct torc__poll_policy *policy, const struct torc_options *options);

/* How long to poll in the wait that begins now; 0: not at all. */
uint64_t torc__poll_policy_begin(struct torc__poll_policy *policy, uint64_t now_ns);

/* What ended a wait. */
enum wait_end {
    WAIT_POLLED,    /* an event, seen while polling */
    WAIT_POLL_LOST, /* an event, after polling in vain */
    WAIT_SLEPT,     /* an event, without polling */
    WAIT_TIMER,     /* the time of a timer */
};

/* A wait has ended after `waited_ns`. */
void torc__poll_policy_end(struct torc__poll_policy *policy, enum wait_end end, uint64_t waited_ns,
                           uint64_t now_ns);

#endif
