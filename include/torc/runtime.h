/* SPDX-License-Identifier: MIT */
/*
 * torc/runtime.h - run a program on one shard or on many.
 *
 * A shard is one thread with one ring, one loop and its fibers. torc_run() starts the shards, runs
 * the same main function as a fiber on each, and returns when all have ended. Nothing moves from
 * one shard to another by itself.
 */
#ifndef TORC_RUNTIME_H
#define TORC_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/fiber.h>
TORC_BEGIN_C

/* For torc_options.shards: one shard on each CPU the process may use, and `placement` allows. */
#define TORC_ALL_CPUS (-1)

/* Which driver carries the operations. */
enum torc_driver_choice {
    TORC_DRIVER_AUTO,  /* io_uring; where that is denied, epoll, of which a message tells */
    TORC_DRIVER_URING, /* io_uring, or fail */
    TORC_DRIVER_EPOLL, /* epoll, and threads for files */
    TORC_DRIVER_SIM,   /* a simulated host, see torc/sim.h */
};

/* Which of the CPUs that the process may use are for shards. */
enum torc_placement {
    TORC_PLACE_CPUS,  /* all */
    TORC_PLACE_CORES, /* one of each core, so that no two shards share one (hyper-threading) */
};

/* What a shard does before it sleeps. */
enum torc_busy_poll {
    TORC_BUSY_POLL_DEFAULT,  /* adaptive */
    TORC_BUSY_POLL_OFF,      /* sleep at once */
    TORC_BUSY_POLL_FIXED,    /* poll for busy_poll_ns, then sleep */
    TORC_BUSY_POLL_ADAPTIVE, /* poll while recent waits were short and the CPU is ours alone */
};

/*
 * Features of the kernel that a driver uses where they are there, newest last. Each can be
 * forbidden, in torc_options.forbid or by name in the environment variable TORC_FORBID
 * ("defer_taskrun,msg_ring", or "all"), which makes the driver take the older way.
 */
enum torc_feature {
    TORC_FEATURE_EXT_ARG = 1 << 0,        /* the wait's timeout as an argument (5.11) */
    TORC_FEATURE_CQE_SKIP = 1 << 1,       /* no completion for a cancel that worked (5.17) */
    TORC_FEATURE_SUBMIT_ALL = 1 << 2,     /* a bad SQE does not end the submission (5.18) */
    TORC_FEATURE_RING_FD = 1 << 3,        /* the ring's descriptor is registered (5.18) */
    TORC_FEATURE_MSG_RING = 1 << 4,       /* wake-up of another shard through the ring (5.18) */
    TORC_FEATURE_COOP_TASKRUN = 1 << 5,   /* no interrupt for a completion (5.19) */
    TORC_FEATURE_BUFFER_RING = 1 << 6,    /* the kernel chooses the memory to receive in (5.19) */
    TORC_FEATURE_SINGLE_ISSUER = 1 << 7,  /* one thread submits (6.0) */
    TORC_FEATURE_MULTISHOT = 1 << 8,      /* one accept or receive completes many times (6.0) */
    TORC_FEATURE_SEND_ZC = 1 << 9,        /* sending without a copy (6.0, 6.1 for vectors) */
    TORC_FEATURE_DEFER_TASKRUN = 1 << 10, /* completions are worked off when we ask (6.1) */
    TORC_FEATURE_NO_SQARRAY = 1 << 11,    /* the SQ without its index array (6.6) */
    TORC_FEATURE_BUFFER_INC = 1 << 12,    /* a buffer of the ring is used up bit by bit (6.12) */
    TORC_FEATURE_GUARD_REGIONS = 1 << 13, /* stack guards without mappings (6.13) */
    TORC_FEATURE_ALL = (1 << 14) - 1,
};

/* How to run. All zero is a good default. */
struct torc_options {
    int shards;                     /* 0 = 1; TORC_ALL_CPUS; at most 1024 */
    enum torc_driver_choice driver; /* TORC_DRIVER in the environment overrides AUTO */
    unsigned forbid;                /* of torc_feature */
    uint32_t entries;               /* of the submission queue, 256 to 32,768; 0 = 1,024 */
    uint32_t completion_entries;    /* 8,192 to 65,536, and no fewer than `entries`;
                                       0 = 8,192 or twice `entries` */
    enum torc_busy_poll busy_poll;
    uint64_t busy_poll_ns;        /* at most this long; 0 = 50 us; at most 1 s */
    uint64_t timer_slack_ns;      /* how late a timer may be to share a wake-up with others, where
                                  they are so dense that each wake-up serves several;
                                  0 = 230 us, 1 = none; at most 1 s */
    size_t stack_size;            /* bytes a fiber may use, less up to 1 KiB by which stacks
                                  are shifted; 16 KiB to 64 MiB; 0 = 116 KiB */
    uint32_t fibers_max;          /* per shard; 0 = 4,194,304 */
    bool no_pin;                  /* do not pin the shards (one alone is never pinned) */
    bool no_fault_handler;        /* leave SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE alone */
    const int *cpus;              /* where to pin the shards, in order; NULL = all allowed */
    unsigned cpu_count;           /* of `cpus` */
    uint32_t receive_buffer_size; /* bytes of one buffer that streams receive in, a power of two,
                                     4 KiB to 1 MiB; 0 = 64 KiB, or 16 KiB where a ring
                                     cannot share one among streams (before 6.12) */
    uint32_t receive_buffers;     /* per shard, at first; 0 = 8, or 64 of 16 KiB */
    uint32_t receive_buffers_max; /* when slow readers keep some; up to 32,768;
                                     0 = 256, or 1,024 of 16 KiB */
    uint64_t shutdown_warn_ns;    /* name what did not end after so long: fibers, or, for
                                     example, a listener that was not closed; 0 = 5 s */
    uint64_t stall_ns;            /* report a fiber that keeps its shard for so long, 1 ms to
                                     1 h, see torc/metrics.h; 0 = TORC_STALL_MS in the
                                     environment, or 25 ms; TORC_FOREVER = never */
    bool no_observer;             /* no thread that looks for stalls, and nothing for `torc top`
                                     and `torc trace` to look at; TORC_OBSERVER=0 in the
                                     environment is the same */
    /* For special machines, all off by default: see docs/guide/tuning.md before. */
    uint32_t sqpoll_idle_ms; /* a thread of the kernel takes what is submitted, and sleeps
                                when there was nothing for so long; at most 10,000;
                                0 = TORC_SQPOLL in the environment, or none */
    uint32_t napi_poll_us;   /* waits poll the network devices for so long (6.9); at most
                                1,000,000; 0 = TORC_NAPI in the environment, or not */
    uint32_t min_wait_us;    /* waits collect completions for so long (6.12); at most
                                1,000,000; 0 = TORC_MIN_WAIT in the environment, or not */

    /* Threads for what has to block, see torc/blocking.h; of the whole runtime. */
    unsigned blocking_threads_max; /* 3 to 4,096; 0 = 64 */
    uint64_t blocking_idle_ns;     /* how long one stays without work; at most 1 h; 0 = 10 s */

    /* Where `cpus` says nothing: which CPUs; and only those of these NUMA nodes, a bit for each,
     * 0 = all. One shard alone is pinned as well if nodes are given. */
    enum torc_placement placement;
    uint64_t numa_nodes;

    /* SIGQUIT prints every fiber with its stack on stderr, and the program goes on; unless it has a
     * handler of its own. Shards stand still meanwhile, which `torc dump` avoids. */
    bool dump_on_quit;

    /* Look for mistakes that take time to find, and report them on stderr; TORC_CHECK=1 in the
     * environment does the same. See docs/guide/debugging.md. */
    bool check_misuse;
};

/*
 * Run `main(arg)` as a fiber on every shard and return when all shards have ended. Any thread that
 * is not a shard; with several shards, the calling thread becomes the first of them for the time.
 * `options` may be NULL. Allocates.
 *
 * When main returns, the root scope of its shard is cancelled, and the shard ends when all its
 * fibers have. If main fails, all shards are stopped. Returns the first failure of a main, else the
 * first failure of a fiber in a root scope, else 0; the cancellation itself is no failure.
 *
 * The child of a fork() has no shards: it may exec, _exit, or call torc_run() itself; any other
 * call of torc's aborts there. The parent goes on undisturbed.
 *
 * -EINVAL     an option is out of its range, or a CPU or a NUMA node does not exist, or none of the
 *             node's CPUs may be used.
 * -EBUSY      called from a shard.
 * -ENOMEM     no memory for the shards; often RLIMIT_MEMLOCK, before Linux 5.12 and from 6.14 on.
 * -ENOSYS, -EPERM     the kernel has no io_uring, or denies it, and only that was asked for (a
 *             message tells which).
 */
TORC_CHECK int torc_run(torc_fiber_fn *main, void *arg, const struct torc_options *options);

/*
 * Ask every shard of this runtime to stop: their root scopes are cancelled, soon. From a fiber.
 * The caller goes on, and sees the reason at its next wait. Idempotent.
 */
TORC_API void torc_stop(void);

/* The number of this shard, from 0, and how many there are. From a fiber or a loop callback. */
TORC_API unsigned torc_shard_index(void);

/* How many shards the runtime has. From a fiber or a loop callback. */
TORC_API unsigned torc_shard_count(void);

/*
 * The CPU that this shard is pinned to, or -1 if it is not pinned: for what has to be near it, as
 * memory, threads, interrupts. From a fiber or a loop callback.
 */
TORC_API int torc_shard_cpu(void);

/* Whether the caller is on a shard's thread, so that torc's functions may be called. Any thread. */
TORC_API bool torc_on_shard(void);

/* ---- What happens inside: counters of this shard, since it started. ---- */

#define TORC_RUN_DELAYS 32

struct torc_stats {
    uint64_t rounds;   /* turns of the loop */
    uint64_t switches; /* from fiber to fiber or to the loop */
    uint64_t spawns;
    uint64_t ops; /* prepared */
    uint64_t completions;
    uint64_t enters;          /* system calls of the driver */
    uint64_t waits;           /* of these, those that could sleep */
    uint64_t polls;           /* busy-poll phases */
    uint64_t polls_won;       /* of these, those that something ended */
    uint64_t submits_retried; /* EAGAIN, EBUSY, EINTR */
    uint64_t overflows;       /* times the completion queue had overflowed */
    uint64_t timers_fired;
    uint64_t wakeups_sent; /* to other shards */
    uint64_t wakeups_received;
    uint64_t messages;      /* taken out of the mailbox */
    uint64_t ops_in_flight; /* prepared and not completed */
    uint64_t ready;         /* fibers in the run queue now, without the caller */
    uint64_t round_ns_max;  /* the longest that fibers have run between two turns of the driver */
    uint64_t fibers;        /* alive now */
    uint64_t fibers_peak;
    uint64_t stacks;                  /* in use or pooled */
    uint64_t stacks_used;             /* in use now */
    uint64_t receive_buffers;         /* that streams have for receiving */
    uint64_t receive_buffers_free;    /* of these, those that are free to be filled */
    uint64_t receive_buffers_starved; /* times none was free (ENOBUFS) */
    uint64_t timers;                  /* running now */
    uint64_t idle_ns;                 /* spent in waits, with the kernel's work in the same calls */
    uint64_t polled_ns;               /* of these, about so much was polling */
    uint64_t cpu_ns;                  /* CPU time of the shard's thread */
    uint64_t stalls;                  /* times a fiber kept the shard too long (stall_ns) */
    uint64_t stall_ns_max;            /* the longest of these, to a few milliseconds */

    /* How long what a round found ready had to wait until all of it had begun to run: of so many
     * rounds at least 2^i and less than 2^(i+1) ns; the last also has what was longer. */
    uint64_t run_delays[TORC_RUN_DELAYS];
    uint64_t run_delay_ns; /* the sum of all */

    /* Of the whole runtime: threads for what has to block. */
    uint64_t blocking_threads; /* alive now */
    uint64_t blocking_runs;    /* how often one has done something */
};

/* The counters of this shard. From a fiber or a loop callback. */
TORC_API void torc_stats(struct torc_stats *ret_stats);

/* ---- What was chosen, and why. ---- */

/* One feature, as a driver found it. */
struct torc_feature_report {
    const char *name;  /* as in TORC_FORBID */
    const char *since; /* the kernel version it came with */
    const char *gives; /* what it is good for, one line */
    bool available;    /* the kernel has it */
    bool used;
    bool unknown;       /* it could not be asked, as no ring is to be had, or no memory for one */
    const char *reason; /* why not, if not used; else "" */
};

#define TORC_FEATURE_COUNT 14

/* The driver a shard with these options would use. */
struct torc_driver_report {
    const char *driver; /* "uring", "epoll", or "none" */
    int error;          /* 0, or why there is none */
    const char *reason; /* a line about the choice */
    uint32_t entries;   /* of the rings; 0 without */
    uint32_t completion_entries;
    uint32_t sqpoll_idle_ms; /* as in use: 0 also where it was asked for and is not to be had */
    uint32_t napi_poll_us;
    uint32_t min_wait_us;
    const char *self_test; /* how the self-test of the kernel ended, one line */
    struct torc_feature_report features[TORC_FEATURE_COUNT];
};

/*
 * Find out which driver and features torc_run() would choose, by trying. Any thread, on a shard or
 * not. `options` may be NULL. Returns 0 also when no driver works: `error` tells.
 *
 * -EINVAL     an option is out of its range.
 */
TORC_CHECK int torc_driver_report(const struct torc_options *options,
                                  struct torc_driver_report *ret_report);

TORC_END_C
#endif
