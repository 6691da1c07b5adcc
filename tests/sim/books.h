/* SPDX-License-Identifier: MIT */
/*
 * books.h - what has to add up when a program ends: nothing of it is left.
 */
#ifndef SIM_BOOKS_H
#define SIM_BOOKS_H

#include "perils.h"

/* A time that is often none, mostly short, and never above `most_ns`. */
static inline uint64_t some_time(uint64_t most_ns)
{
    return torc_sim_random_below((most_ns >> torc_sim_random_below(12)) + 1);
}

static inline bool one_in(uint64_t count)
{
    return torc_sim_random_below(count) == 0;
}

/* Whether a result says that chance has let a call fail that would go well otherwise. */
static inline bool is_chance(int64_t result)
{
    return is_passing(result) || result == -EINTR || result == -EIO || result == -ENOSPC ||
           result == -EDQUOT;
}

/* For a main fiber that has closed all its scopes: it is alone, and nothing is under way. */
static inline void check_alone(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    TORC_SIM_CHECK(stats.fibers == 1);
    TORC_SIM_CHECK(stats.ops_in_flight == 0);
}

/* torc_run(), after which the host has no descriptor but those that it had before. */
static inline int run_and_check(torc_fiber_fn *main, void *arg, const struct torc_options *options)
{
    const unsigned files = torc_sim_host_files(torc_sim_host_self());
    const int result = torc_run(main, arg, options);

    TORC_SIM_CHECK(torc_sim_host_files(torc_sim_host_self()) == files);
    return result;
}

/* Wait for a host's program, which has to end within `bound_ns`. Returns its result. */
static inline int wait_for_end(struct torc_sim_host *host, uint64_t bound_ns)
{
    struct torc_scope scope;
    int result = 0;
    int waited;

    torc_scope_open(&scope, TORC_SHIELD);
    torc_scope_set_timeout(&scope, bound_ns);
    waited = torc_sim_host_wait(host, &result);
    TORC_SIM_CHECK(waited == 0); /* -ETIME: it does not end. */
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    return result;
}

#endif
