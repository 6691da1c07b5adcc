/* SPDX-License-Identifier: MIT */
/*
 * torc/sim.h - a simulation: several hosts with their network, disks and clocks in one process, in
 * which any failure comes again from the same seed.
 *
 *     static int server(void *arg)            // a program: it calls torc_run() as any other
 *     ...
 *     static int scenario(void *arg)          // a fiber on a host of its own, called "control"
 *     {
 *         struct torc_sim_host *host;
 *         int result = torc_sim_host_start("server", NULL, server, NULL, &host);
 *         ...
 *         torc_sim_host_crash(host);
 *         result = torc_sim_host_restart(host);
 *         ...
 *         TORC_SIM_CHECK(found == expected);
 *     }
 *
 *     result = torc_sim_run(seed, NULL, scenario, NULL);
 *
 * All hosts run on the calling thread: one shard, or one thread of a blocking pool, at a time.
 * Which one follows from the seed, and so does all that the network, the disks and the clocks do.
 * The clock jumps to the next event when nobody has anything to do. The same program with the same
 * seed does the same, step by step: torc_sim_report.hash is then the same. That is so as long as
 * programs learn of nothing that is not simulated: no clock but torc_now() and that of
 * torc_sim_realtime(), no random numbers but those of torc_sim_random(), no addresses of objects as
 * keys, no other threads, no system calls of their own but by torc_sim_syscall().
 *
 * A simulated program shares memory with all others. What it keeps in static variables survives its
 * crash, which no real machine does: let it keep its state on its stack, or in `arg`. A program
 * that is killed is not unwound: what it has allocated is lost.
 *
 * Without a scenario: TORC_DRIVER=sim in the environment, or torc_options.driver, makes any
 * torc_run() use a simulated host that the process has; its threads are there one at a time.
 * TORC_SIM_SEED, TORC_SIM_CHAOS ("calm", as without it, "default" or "wild") and TORC_SIM_TRACE=1
 * shape it.
 *
 * All functions here but torc_sim_run() are for what runs in a simulation; elsewhere they abort.
 */
#ifndef TORC_SIM_H
#define TORC_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/fiber.h>
#include <torc/runtime.h>
#include <torc/sim_chaos.h>
TORC_BEGIN_C

struct torc_sim_host;

/* What has come of a simulation. */
struct torc_sim_report {
    uint64_t seed;    /* the one that was used */
    uint64_t hash;    /* of all that has happened: equal for equal runs */
    uint64_t time_ns; /* how long it has taken on its own clock */
    uint64_t events;
    uint64_t ops;
    uint64_t faults; /* that chaos has done */
    unsigned hosts;
};

/* All zero is a good default. */
struct torc_sim_options {
    const struct torc_sim_chaos *chaos; /* NULL: TORC_SIM_CHAOS, or TORC_SIM_DEFAULT */
    uint64_t time_max_ns;               /* on the simulated clock; 0 = 1 h */
    uint64_t events_max;                /* 0 = 100,000,000 */
    bool trace;                         /* tell on stderr what happens; or TORC_SIM_TRACE=1 */
    bool quiet;                         /* say nothing of a failure */
    const struct torc_options *control; /* for the scenario's torc_run(); NULL: defaults */
    struct torc_sim_report *report;     /* filled if not NULL */
};

/*
 * Run `scenario(arg)` as the main fiber of a host called "control", and all that it starts, until
 * it returns; what then still runs is dropped. A thread that is no shard, and in no simulation.
 * TORC_SIM_SEED in the environment takes the place of `seed`. Returns the scenario's result; one
 * below 0 is a failure, of which stderr tells, with the command that repeats it; and, if it has not
 * come to an end, with all fibers and what they wait for. Allocates.
 *
 * -EDEADLK    all wait, and nothing is going to happen any more
 * -ETIME      it has not ended in `time_max_ns` or `events_max`
 * -EBADMSG    a TORC_SIM_CHECK() has failed
 * -EBUSY      the calling thread is a shard, or in a simulation
 */
TORC_CHECK int torc_sim_run(uint64_t seed, const struct torc_sim_options *options,
                            torc_fiber_fn *scenario, void *arg);

/* ---- Hosts: for the scenario's fibers, and those of all programs ---- */

/* What runs on a host: any function that could be a main function. */
typedef int torc_sim_program(void *arg);

/*
 * Start a host with a program on it. `address` is one of IPv4 or IPv6, the other one, or both if it
 * is NULL, are chosen: 10.0.0.2 and fd00::2 for the first host after the control host, and so on.
 * Other hosts resolve `name` to these. Hosts are there until the simulation ends.
 *
 * -EINVAL      a name that is empty or longer than 63, or no address
 * -EADDRINUSE  another host has the name or the address
 */
TORC_CHECK int torc_sim_host_start(const char *name, const char *address, torc_sim_program *program,
                                   void *arg, struct torc_sim_host **ret_host);

/* The host with that name; NULL if there is none. */
TORC_API struct torc_sim_host *torc_sim_host_find(const char *name);

/* The host that the caller runs on. */
TORC_API struct torc_sim_host *torc_sim_host_self(void);

/* Its name. */
TORC_API const char *torc_sim_host_name(const struct torc_sim_host *host);

/*
 * End the program as SIGKILL does: nothing is unwound, its descriptors are closed by the kernel of
 * its host. Not the caller's own host, nor that of the scenario. Nothing if it has ended.
 */
TORC_API void torc_sim_host_kill(struct torc_sim_host *host);

/*
 * Send a signal to the program. One that nobody watches (torc/signal.h) kills it, unless it is
 * SIGCHLD; SIGKILL always does. Not to the caller's own host or that of the scenario, unless it
 * watches the signal.
 */
TORC_API void torc_sim_host_signal(struct torc_sim_host *host, int number);

/*
 * The host loses its power. Peers learn of that by silence, until it is up again; of files that is
 * left which was synchronised, and of the rest what chance leaves. Not the caller's own host, nor
 * that of the scenario.
 */
TORC_API void torc_sim_host_crash(struct torc_sim_host *host);

/*
 * Run the program again, on a host whose program has ended, was killed, or which has crashed.
 * -EBUSY: it still runs.
 */
TORC_CHECK int torc_sim_host_restart(struct torc_sim_host *host);

/*
 * Wait until the program of a host has ended. Suspends. 0, and what the program has returned, or
 * -EOWNERDEAD if it was killed or the host has crashed, in *ret_result.
 */
TORC_CHECK int torc_sim_host_wait(struct torc_sim_host *host, int *ret_result);

/* Whether its program runs. */
TORC_API bool torc_sim_host_runs(const struct torc_sim_host *host);

/* How many descriptors its process has open, but for 0, 1 and 2. */
TORC_API unsigned torc_sim_host_files(const struct torc_sim_host *host);

/*
 * How many the process that calls has, of a host or of what TORC_DRIVER=sim gives to its thread.
 * Anywhere.
 */
TORC_API unsigned torc_sim_files(void);

/* Set a host's CLOCK_REALTIME forward, or back. torc_now() is not touched. */
TORC_API void torc_sim_host_shift_clock(struct torc_sim_host *host, int64_t by_ns);

/* ---- The network ---- */

/* Nothing passes any more between two hosts; nobody is told. */
TORC_API void torc_sim_partition(struct torc_sim_host *a, struct torc_sim_host *b);

/* Nothing passes from one host to another, but the other way. */
TORC_API void torc_sim_cut(struct torc_sim_host *from, struct torc_sim_host *to);

/* Everything passes between them again. */
TORC_API void torc_sim_heal(struct torc_sim_host *a, struct torc_sim_host *b);

/* Everything passes between all hosts again. */
TORC_API void torc_sim_heal_all(void);

/* ---- Faults by a plan ---- */

#define TORC_SIM_ANY (-1)

/* Which operations fail, and how. */
struct torc_sim_failure {
    int opcode;     /* of io_uring, IORING_OP_WRITE for one; TORC_SIM_ANY */
    int fd;         /* of the host's process; TORC_SIM_ANY */
    int error;      /* what comes of them: a negative errno */
    uint64_t after; /* so many of them go well before */
    uint64_t count; /* so many fail; 0 = 1 */
};

/*
 * Have operations of a host's programs fail from now on. -ENOMEM, or -EINVAL for an error that is
 * not negative.
 */
TORC_CHECK int torc_sim_fail(struct torc_sim_host *host, const struct torc_sim_failure *failure);

/* Forget what torc_sim_fail() has planned for a host. */
TORC_API void torc_sim_fail_none(struct torc_sim_host *host);

/* Change what chance does from now on; as torc_sim_options.chaos. */
TORC_API void torc_sim_set_chaos(const struct torc_sim_chaos *chaos);
/* What chance does at present. */
TORC_API void torc_sim_get_chaos(struct torc_sim_chaos *ret_chaos);

/* ---- The world ---- */

/* Whether the caller runs in a simulation. Anywhere. */
TORC_API bool torc_sim_is_on(void);

/* How long the simulation has been going on. */
TORC_API uint64_t torc_sim_time(void);

/* What CLOCK_REALTIME shows on the caller's host. */
TORC_API uint64_t torc_sim_realtime(void);

/* A random number that follows from the seed. */
TORC_API uint64_t torc_sim_random(void);

/* One below `limit`, which is not 0. */
TORC_API uint64_t torc_sim_random_below(uint64_t limit);

/* A line in the trace, "what a b", which counts for the hash as well; `what` is constant. */
TORC_API void torc_sim_trace(const char *what, int64_t a, int64_t b);

/* End the simulation as a failed one if the condition does not hold. On any host. */
#define TORC_SIM_CHECK(condition) \
    ((condition) ? (void)0 : torc_sim_check_failed(__FILE__, __LINE__, #condition))

/* What TORC_SIM_CHECK() does if its condition does not hold. */
TORC_API void torc_sim_check_failed(const char *file, int line, const char *condition)
    __attribute__((noreturn));

/*
 * A system call of the caller's simulated process, for code that makes some itself: `number` is a
 * SYS_ constant. Where a real one would block it does, and the whole shard with it; other shards
 * and hosts may run meanwhile in any case. The result, or a negative errno: -ENOSYS for what is not
 * simulated. On a thread that is in no simulation it is one of the host that TORC_DRIVER=sim gives
 * to it.
 */
TORC_API int64_t torc_sim_syscall(long number, ...);

TORC_END_C
#endif
