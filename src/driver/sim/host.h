/* SPDX-License-Identifier: MIT */
/*
 * host.h - a simulated machine, with the one process that runs on it.
 */
#ifndef DRIVER_SIM_HOST_H
#define DRIVER_SIM_HOST_H

#include "driver/sim/world.h"
#include <netinet/in.h>

struct sim_file;
struct sim_disk;
struct sim_net_host;
struct sim_plan;

/*
 * Simulated descriptors have numbers from here on, so that none is taken for one of the real ones
 * of the process around, nor the other way round. Below are only 0, 1 and 2.
 */
#define SIM_FD_BASE (1 << 20)
/* How many a host may have open, if nothing else is said. */
#define SIM_FILES_MAX   4096u
#define SIM_FILES_LIMIT ((1u << 20) - 1)

#define SIM_CONSOLES 3

#define SIM_NAME_MAX 63

struct sim_host {
    struct sim_world *world;
    struct sim_host *next;
    unsigned index; /* from 1 on, in the order of creation */
    bool is_up;
    unsigned boots;
    char name[SIM_NAME_MAX + 1];
    struct in_addr ipv4; /* in network order, as all addresses; 127.0.0.0/8 and ::1 are its too */
    struct in6_addr ipv6;
    int64_t clock_skew_ns; /* what CLOCK_REALTIME shows too much */

    struct sim_file *console[SIM_CONSOLES]; /* descriptors 0, 1 and 2 */
    struct sim_file **files;                /* by descriptor, less SIM_FD_BASE */
    unsigned file_room;
    unsigned file_count;
    unsigned file_lowest; /* below it none is free */
    unsigned files_max;   /* RLIMIT_NOFILE, 0 to 2 included */
    uint64_t files_made;  /* so far */

    struct sim_net_host *net; /* sim_net.h: ports, bound names */
    struct sim_disk *disk;    /* sim_disk.h */
    struct sim_plan *plans;   /* plan.h */
    void *owner;              /* of those who made it */
    struct sim_context *contexts;
    struct torc__sim *drivers; /* of its shards */
};

/*
 * Add a host. Without an address (NULL or "") it gets 10.0.0.<index> and fd00::<index>. Both
 * families may be told: "10.1.1.1" or "fd00::9". 0; -EINVAL: no address; -EADDRINUSE: another host
 * has the name or the address; -ENOMEM.
 */
int torc__sim_host_add(struct sim_world *world, const char *name, const char *address,
                       struct sim_host **ret_host);

/* Close all its files and free it. Called by the world. */
void torc__sim_host_destroy(struct sim_host *host);

/* NULL if there is none. */
struct sim_host *torc__sim_host_by_name(const struct sim_world *world, const char *name);

/* Which host has the address, not looking at loopback ones. NULL: none. */
struct sim_host *torc__sim_host_by_ipv4(const struct sim_world *world, struct in_addr address);
struct sim_host *torc__sim_host_by_ipv6(const struct sim_world *world,
                                        const struct in6_addr *address);

/* What CLOCK_REALTIME shows there. */
static inline uint64_t torc__sim_host_realtime(const struct sim_host *host)
{
    return host->world->now_ns - SIM_EPOCH_NS + SIM_REALTIME_NS + (uint64_t)host->clock_skew_ns;
}

/* ---- Descriptors ---- */

/* Give the host's process what every process begins with. 0 or -ENOMEM. */
int torc__sim_fd_begin(struct sim_host *host);

/* Whether another descriptor could be given out; ask before you make what would get it. */
bool torc__sim_fd_is_free(const struct sim_host *host);

/* The lowest free number. It takes the caller's reference. -EMFILE, -ENOMEM: it takes nothing. */
int torc__sim_fd_open(struct sim_host *host, struct sim_file *file);

/* The file of a descriptor; the reference stays the table's. NULL: there is none. */
struct sim_file *torc__sim_fd_file(const struct sim_host *host, int fd);

/*
 * Let `fd` name a file, whatever it named before, as dup2(2) does. It takes the reference whatever
 * comes of it. `fd`, -EBADF or -ENOMEM.
 */
int torc__sim_fd_replace(struct sim_host *host, int fd, struct sim_file *file);

/* 0 or -EBADF. The file goes with its last reference, of which ops in flight have some. */
int torc__sim_fd_close(struct sim_host *host, int fd);

/* Close all. `crashed` as in sim_file_ops.release. */
void torc__sim_fd_close_all(struct sim_host *host, bool crashed);

#endif
