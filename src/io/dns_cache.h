/* SPDX-License-Identifier: MIT */
/*
 * dns_cache.h - names that are being looked up, and those whose addresses are known for a while.
 *
 *     add --> PENDING --complete--> READY --expires, or has to make room--> gone
 *                                     '----------not to be remembered-------^
 *
 * An entry is in the table while it can be found. It lives as long as it is, and then until the
 * last one who holds it lets go: those who wait for it, and who looks it up.
 */
#ifndef IO_DNS_CACHE_H
#define IO_DNS_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/net.h>
#include <torc/sync.h>

#define NAMES_ADDRESSES_MAX 32u

enum name_state {
    NAME_PENDING,
    NAME_READY
};

struct torc__name {
    struct torc__name *next;  /* in its bucket */
    struct torc__name *older; /* of those that are ready; by last use */
    struct torc__name *newer;
    enum name_state state;
    bool in_table;
    unsigned holders;
    struct torc_event ready;
    uint64_t expires_ns;
    int result; /* how many addresses, or a negative errno */
    struct torc_address *addresses;
    void *owner;               /* the resolver's business */
    struct torc_scope *asking; /* of the lookup, where it can be taken back */
    char host[];               /* as it was asked for first */
};

struct torc__names_cache {
    struct torc__name **buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t limit;        /* of ready names */
    uint32_t ready;
    struct torc__name *oldest;
    struct torc__name *newest;
};

/* Room for `limit` names, at least 1. Allocates. 0 or -ENOMEM. */
int torc__names_init(struct torc__names_cache *cache, uint32_t limit);

/* Forget all; no name may be pending. */
void torc__names_finish(struct torc__names_cache *cache);

/* The name, held by the caller; NULL if it is not there, or was no longer good at `now_ns`. */
struct torc__name *torc__names_find(struct torc__names_cache *cache, const char *host,
                                    uint64_t now_ns);

/* A pending name, which was not there; held by the caller. Allocates. NULL without memory. */
struct torc__name *torc__names_add(struct torc__names_cache *cache, const char *host);

/* Hold a name once more. */
void torc__name_hold(struct torc__name *name);

/* Let go of a name. */
void torc__name_release(struct torc__name *name);

/*
 * A pending name is ready: `result` addresses or a negative errno, good until `expires_ns`; 0 if it
 * is not to be remembered. Wakes who waits for it. The caller holds it. Allocates; without memory
 * that is its result.
 */
void torc__names_complete(struct torc__names_cache *cache, struct torc__name *name, int result,
                          const struct torc_address *addresses, uint64_t expires_ns);

/* Take all ready names out of the table; pending ones will not be remembered. */
void torc__names_flush(struct torc__names_cache *cache);

#endif
