/* SPDX-License-Identifier: MIT */
/*
 * torc/sim_chaos.h - what goes wrong in a simulation, how often, and how long things take.
 *
 * Every number is exact: a rate of 0 is never, 1,000,000 is always. Begin with a preset of
 * torc_sim_chaos_init() and change what the test is about.
 */
#ifndef TORC_SIM_CHAOS_H
#define TORC_SIM_CHAOS_H

#include <stdbool.h>
#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

/* A duration is near the lower end nine times of ten, else anywhere up to the upper one. */
struct torc_sim_range {
    uint64_t min_ns;
    uint64_t max_ns;
};

enum torc_sim_preset {
    TORC_SIM_DEFAULT, /* what a bad week brings */
    TORC_SIM_CALM,    /* nothing fails, nothing is lost; only order and durations vary */
    TORC_SIM_WILD,    /* everything, often */
};

/* Rates are per million of the occasions named; times in nanoseconds. */
struct torc_sim_chaos {
    /* ---- Operations ---- */
    struct torc_sim_range op_latency;   /* from submission to completion, of what is ready */
    struct torc_sim_range turn_latency; /* what a turn of a shard's loop takes */
    uint32_t short_transfer_rate;       /* a read or write of bytes moves less than it could */
    uint32_t op_error_rate;             /* EINTR, ENOMEM; of sockets also ENOBUFS */
    uint32_t descriptor_error_rate;     /* EMFILE or ENFILE of what opens something */
    uint32_t multishot_end_rate;        /* a multishot operation ends although it could go on */
    uint32_t cancel_late_rate;          /* a cancel comes when the operation is done already */
    uint32_t cancel_partial_rate;       /* what is cancelled has moved some of its bytes */
    uint32_t overflow_rate;             /* completions are delayed as by a full queue */
    uint32_t late_start_rate;           /* an operation begins some time after it was submitted */
    uint32_t spurious_wake_rate;        /* a wait ends although nothing has happened */

    /* ---- Network, between hosts; on one host only what says so ---- */
    struct torc_sim_range net_latency;      /* of one segment or datagram, one way */
    struct torc_sim_range loopback_latency; /* on one host */
    uint64_t net_bytes_per_second;          /* between two hosts, each way; 0: as fast as can be */
    uint32_t datagram_loss_rate;            /* loopback loses none */
    uint32_t datagram_duplicate_rate;
    uint32_t datagram_reorder_rate; /* it takes another latency on top */
    uint32_t segment_loss_rate;     /* of TCP, which sends it again: it comes later */
    uint32_t reset_rate;            /* per segment: the connection is reset, by neither end */
    uint32_t connect_refuse_rate;   /* ECONNREFUSED although somebody listens */
    uint32_t connect_lose_rate;     /* ETIMEDOUT */
    uint32_t send_error_rate;       /* ENOBUFS of datagrams */

    /* ---- Disks ---- */
    struct torc_sim_range disk_latency;       /* of reads and writes past the cache, and names */
    struct torc_sim_range disk_flush_latency; /* of fsync and its like */
    uint32_t disk_stall_rate;                 /* it takes up to a second */
    uint32_t disk_error_rate;                 /* EIO */
    uint32_t disk_full_rate;                  /* ENOSPC */
    uint32_t disk_quota_rate;                 /* EDQUOT */
    uint32_t disk_rot_rate;                   /* per read: a bit of the data is another one */
    uint32_t crash_tear_rate;                 /* of a block not synced: part of it is written */
    uint32_t crash_lose_rate;                 /* of a block or name not synced: it is lost */
    uint64_t disk_bytes;                      /* the size of a host's disk; 0: no bound */
    uint64_t disk_write_back_ns; /* after so long all is durable; 0: only what is synchronised */
    uint32_t disk_any_order;     /* not 0: changes of names are lost in any subset */
    uint32_t disk_sync_names;    /* not 0: fsync() of a file makes its names durable, too */

    /* ---- Bounds ---- */
    uint64_t faults_max;    /* After so many faults nothing fails any more. */
    uint64_t quiet_from_ns; /* Nor after so long, counted from the beginning; 0: it never ends. */
};

/* Fill `chaos` by a preset. */
TORC_API void torc_sim_chaos_init(struct torc_sim_chaos *chaos, enum torc_sim_preset preset);

/*
 * Read a chaos from text: a preset ("calm", "default", "wild"), then what differs from it, by the
 * names above, as in "calm,reset_rate=20,net_latency=1000-50000". Returns 0, or -EINVAL.
 */
TORC_CHECK int torc_sim_chaos_parse(const char *text, struct torc_sim_chaos *ret_chaos);

/* The longest text of a chaos, with its end. */
#define TORC_SIM_CHAOS_TEXT_SIZE 2048

/* The shortest text that torc_sim_chaos_parse() makes the same chaos of. */
TORC_API void torc_sim_chaos_format(const struct torc_sim_chaos *chaos,
                                    char text[TORC_SIM_CHAOS_TEXT_SIZE]);

/* How many settings a chaos has, for torc_sim_chaos_take(). */
TORC_API unsigned torc_sim_chaos_settings(void);

/* Set the setting with this number to what it is in `from`. Whether that changes anything. */
TORC_API bool torc_sim_chaos_take(struct torc_sim_chaos *chaos, unsigned setting,
                                  const struct torc_sim_chaos *from);

TORC_END_C
#endif
