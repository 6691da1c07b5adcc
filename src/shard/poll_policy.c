/* SPDX-License-Identifier: MIT */
/*
 * poll_policy.c - whether to poll for a while before a shard sleeps.
 */
#include "shard/poll_policy.h"
#include "base/compiler.h"
#include "driver/thread.h"
#include <errno.h>
#include <string.h>

#define LIMIT_DEFAULT_NS UINT64_C(50000)
#define LIMIT_MAX_NS     UINT64_C(1000000000)
#define CREDIT_MAX       8
#define FAILURES_MAX     10
#define REST_NS_MIN      UINT64_C(50000000)
#define REST_NS_MAX      UINT64_C(1600000000)
/* Between two looks at whether the CPU is shared. */
#define LOOK_NS UINT64_C(50000000)
/* More often than this, a CPU is taken by more than what a process and the kernel do beside. */
#define PREEMPTED_NS UINT64_C(5000000)
/* And for more than this share of the time, by one that computes. */
#define TAKEN_SHARE 8
/* A poll that won so long after its limit did not run for that time. */
#define TAKEN_NS_MIN UINT64_C(500000)
/* A wait that was slept through lasts longer by the two sleeps, ours and perhaps the peer's. */
#define SLEPT_FACTOR 3

int torc__poll_policy_init(struct torc__poll_policy *policy, const struct torc_options *options)
{
    if (options->busy_poll > TORC_BUSY_POLL_ADAPTIVE || options->busy_poll_ns > LIMIT_MAX_NS)
        return -EINVAL;
    memset(policy, 0, sizeof(*policy));
    policy->mode =
        options->busy_poll == TORC_BUSY_POLL_DEFAULT ? TORC_BUSY_POLL_ADAPTIVE : options->busy_poll;
    policy->limit_ns = options->busy_poll_ns != 0 ? options->busy_poll_ns : LIMIT_DEFAULT_NS;
    policy->preemptions = torc__thread_preemptions();
    policy->rest_ns = REST_NS_MIN;
    return 0;
}

uint64_t torc__poll_policy_begin(struct torc__poll_policy *policy, uint64_t now_ns)
{
    if (policy->mode == TORC_BUSY_POLL_OFF)
        return 0;
    if (policy->mode == TORC_BUSY_POLL_ADAPTIVE) {
        if (policy->credit == 0 || now_ns < policy->rest_until_ns)
            return 0;
        if (policy->skip > 0) {
            policy->skip--;
            return 0;
        }
    }
    policy->polls++;
    return policy->limit_ns;
}

/*
 * Involuntary switches mean that somebody else wanted this CPU while we polled. Some are always:
 * threads of the kernel, and the observer of this process, who looks about every 12 ms.
 */
static bool has_company(const struct torc__poll_policy *policy, long preemptions,
                        uint64_t passed_ns)
{
    return (uint64_t)(preemptions - policy->preemptions) > passed_ns / PREEMPTED_NS ||
           policy->taken_ns > passed_ns / TAKEN_SHARE;
}

static void look_for_company(struct torc__poll_policy *policy, uint64_t now_ns)
{
    const uint64_t passed_ns = now_ns - policy->looked_ns;
    const bool rested = policy->looked_ns < policy->rest_until_ns; /* That time says nothing. */
    long preemptions;

    if (passed_ns < LOOK_NS)
        return;
    preemptions = torc__thread_preemptions();
    if (!rested && has_company(policy, preemptions, passed_ns)) {
        policy->rest_until_ns = now_ns + policy->rest_ns;
        policy->rest_ns *= policy->rest_ns < REST_NS_MAX ? 2 : 1;
    } else if (!rested) {
        policy->rest_ns = REST_NS_MIN;
    }
    policy->preemptions = preemptions;
    policy->taken_ns = 0;
    policy->looked_ns = now_ns;
}

static void poll_was_won(struct torc__poll_policy *policy, uint64_t waited_ns, uint64_t now_ns)
{
    policy->polls_won++;
    policy->failures = 0;
    policy->credit = CREDIT_MAX;
    if (unlikely(waited_ns > policy->limit_ns + TAKEN_NS_MIN))
        policy->taken_ns += waited_ns - policy->limit_ns;
    look_for_company(policy, now_ns);
}

static void poll_was_lost(struct torc__poll_policy *policy, uint64_t now_ns)
{
    if (policy->failures < FAILURES_MAX)
        policy->failures++;
    policy->skip = (1U << policy->failures) - 1;
    look_for_company(policy, now_ns);
}

void torc__poll_policy_end(struct torc__poll_policy *policy, enum wait_end end, uint64_t waited_ns,
                           uint64_t now_ns)
{
    const bool was_short = waited_ns <= SLEPT_FACTOR * policy->limit_ns;

    if (end == WAIT_POLLED) {
        poll_was_won(policy, waited_ns, now_ns);
        return;
    }
    if (end == WAIT_POLL_LOST)
        poll_was_lost(policy, now_ns);
    /* A shard that only timers wake has nothing to poll for. */
    if (end != WAIT_TIMER && was_short)
        policy->credit += policy->credit < CREDIT_MAX;
    else
        policy->credit -= policy->credit > 0;
}
