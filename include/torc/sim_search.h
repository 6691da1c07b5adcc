/* SPDX-License-Identifier: MIT */
/*
 * torc/sim_search.h - search the seeds of a simulation for one that fails, and make that failure
 * small.
 *
 *     int main(int argc, char **argv)
 *     {
 *         return torc_sim_main(argc, argv, scenario, NULL, NULL);
 *     }
 *
 * is a program that runs a thousand seeds on all CPUs; its options (--help) choose others, run one
 * of them, and trace it. Part of the library torc_search (torc::search), since it makes
 * processes, and prints.
 */
#ifndef TORC_SIM_SEARCH_H
#define TORC_SIM_SEARCH_H

#include <torc/sim.h>
TORC_BEGIN_C

/* What to search. All zero is a good default. */
struct torc_sim_search {
    uint64_t first;     /* seed; 0 = 1 */
    uint64_t count;     /* of seeds; 0 = 1,000, or with a budget as many as it allows */
    uint64_t budget_ns; /* of real time, after which no seed is begun; 0 = without end */
    uint64_t hang_ns;   /* of real time, after which a run is killed as hanging; 0 = 60 s */
    uint64_t shrink_ns; /* of real time, after which shrinking takes what it has; 0 = 60 s */
    unsigned jobs;      /* processes at a time, at most 256; 0 = one on each CPU we may use */
    bool twice;         /* run each seed twice: what happens has to be the same */
    bool no_shrink;     /* take the failure as it was found */
    const struct torc_sim_options *options; /* of the runs, but for `report`; NULL = defaults */
};

/* How one seed has failed. */
enum torc_sim_outcome {
    TORC_SIM_PASSED,
    TORC_SIM_RESULT,  /* torc_sim_run() has returned an error */
    TORC_SIM_DIED,    /* of a signal, as an assertion sends it */
    TORC_SIM_EXITED,  /* the process has ended, as by exit(), or by a sanitizer */
    TORC_SIM_HUNG,    /* it went on for longer than `hang_ns` */
    TORC_SIM_DIFFERS, /* the second run was another one: something is not simulated */
};

/* What was found. */
struct torc_sim_finding {
    uint64_t seeds;   /* that were run */
    uint64_t real_ns; /* how long that took */
    uint64_t time_ns; /* how much was simulated, and what has happened there, all seeds together */
    uint64_t events;
    uint64_t ops;
    uint64_t faults;
    enum torc_sim_outcome outcome; /* of the lowest seed that has failed; or that none has */
    int code;                      /* the error, the signal or the exit status */
    uint64_t found_seed;           /* which one that was */
    uint64_t seed;                 /* what fails when shrunk: a seed, and its chaos */
    struct torc_sim_chaos chaos;
    unsigned trials; /* runs that shrinking took */
};

/*
 * Run `scenario(arg)` with one seed after the other, in processes of their own, until one fails or
 * all is done; then shrink: find out which kinds of chaos the failure needs, and how few faults. It
 * counts as the same failure if it ends with the same error, signal or status. What the runs print
 * is dropped. `arg`, and all other memory, is as it was at the call in every process, for its first
 * seed: a scenario is not to leave traces in it. Any thread that is no shard; the process should
 * have no other one. Blocks. 0, whatever was found.
 *
 * -EINVAL      more than 256 jobs, or a chaos that TORC_SIM_CHAOS does not name
 * -EBUSY       the calling thread is a shard
 * -ENOMEM, -EAGAIN  a process could not be made
 */
TORC_CHECK int torc_sim_search(const struct torc_sim_search *search, torc_fiber_fn *scenario,
                               void *arg, struct torc_sim_finding *ret_finding);

/*
 * The main function of a program that searches, as its arguments say: --help tells of them. With
 * --seed, or TORC_SIM_SEED in the environment, it runs that seed alone, in this process. `options`
 * are those of the runs, or NULL. Returns an exit status: 0, 1 if something failed, 2 for arguments
 * that make no sense.
 */
TORC_API int torc_sim_main(int argc, char **argv, torc_fiber_fn *scenario, void *arg,
                           const struct torc_sim_options *options);

TORC_END_C
#endif
