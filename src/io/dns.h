/* SPDX-License-Identifier: MIT */
/*
 * dns.h - what a resolver is made of: a cache, and a back end that it asks.
 */
#ifndef IO_DNS_H
#define IO_DNS_H

#include "io/dns_cache.h"
#include <torc/dns.h>

/* What a back end has found. */
struct torc__names_answer {
    unsigned count;
    uint64_t ttl_ns; /* how long it is good for; UINT64_MAX where the back end does not know */
    struct torc_address addresses[NAMES_ADDRESSES_MAX];
};

/*
 * Who knows. Its functions are called on a fiber, and suspend; they return how many were found, or
 * one of the errors of torc/dns.h, or the scope's reason.
 */
struct torc__names_backend {
    bool has_queue; /* Lookups wait for their turn, and those that nobody needs may leave it. */
    int (*open)(struct torc_resolver *resolver, const struct torc_resolver_options *options);
    void (*close)(struct torc_resolver *resolver);
    int (*addresses)(struct torc_resolver *resolver, const char *host,
                     struct torc__names_answer *ret_answer);
    int (*places)(struct torc_resolver *resolver, const char *name, struct torc_service *ret_places,
                  unsigned capacity);
};

struct torc_resolver {
    const struct torc__names_backend *backend;
    void *state; /* the back end's own */
    struct torc__names_cache cache;
    uint64_t ttl_ns;
    uint64_t negative_ttl_ns;
    uint32_t lookups_max;
    uint32_t lookups;    /* in flight */
    uint32_t references; /* one of the owner's, one for each lookup */
};

/* getaddrinfo() on the blocking pool. */
extern const struct torc__names_backend torc__names_system;

/* c-ares; with TORC_WITH_CARES only. */
extern const struct torc__names_backend torc__names_cares;

/* torc_resolver_create(), with a back end of one's choice. */
int torc__resolver_create(const struct torc_resolver_options *options,
                          const struct torc__names_backend *backend,
                          struct torc_resolver **ret_resolver);

/* The negative errno for what getaddrinfo() and getnameinfo() return. */
int torc__names_error(int eai, int error);

/* Whether a name can be one: 0, -EINVAL or -ENAMETOOLONG. */
int torc__names_check(const char *name);

/* Put places into the order of RFC 2782; `below` gives a random number below its argument. */
void torc__places_sort(struct torc_service *places, unsigned count,
                       uint32_t (*below)(uint32_t limit));

/* A random number below `limit`, from the kernel. */
uint32_t torc__random_below(uint32_t limit);

#endif
