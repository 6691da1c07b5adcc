/* SPDX-License-Identifier: MIT */
/*
 * torc/dns.h - names of hosts and services, and connecting to a name.
 *
 *     fd = torc_tcp_connect_name("example.org", 443, NULL);
 *
 * A resolver answers, and remembers for a while. Every shard has one of its own, made when it is
 * first needed; it is meant where NULL is passed. It asks the system (getaddrinfo(3): /etc/hosts,
 * DNS, whatever nsswitch.conf says) on the blocking pool, in a lane of its own, so that slow names
 * keep nothing else waiting. Resolvers with other settings are made by torc_resolver_create().
 *
 * Fibers that ask for the same name at the same time share one lookup. Each may be interrupted, at
 * any time; the lookup goes on, for the others and for the next one who asks. One that nobody waits
 * for any more, and that no thread has begun, is not made. The same goes for services and for names
 * of addresses.
 *
 * Names are at most 253 bytes, in labels of 1 to 63. What is in them is the resolver's matter; IDN
 * names have to be given in their ASCII form. Addresses in place of names, "localhost" and names
 * that end in ".localhost" are never looked up.
 *
 * Errors of all lookups:
 * -ENXIO          there is no such name, or it has no address (of the family asked for).
 * -EAGAIN         no answer for now: servers that cannot be reached, or do not answer.
 * -EREMOTEIO      an answer that says that something is wrong.
 * -EINVAL         a name that cannot be one: it, or a label of it, is empty, or has blanks.
 * -ENAMETOOLONG   likewise, too long.
 * -EBUSY          the resolver has as many lookups in flight as it may.
 * -ENOMEM, and what else the system says (-EMFILE and the like).
 */
#ifndef TORC_DNS_H
#define TORC_DNS_H

#include <stdbool.h>
#include <stdint.h>
#include <torc/net.h>
TORC_BEGIN_C

struct torc_resolver;

/* Whom a resolver asks. */
enum torc_resolver_kind {
    TORC_RESOLVER_SYSTEM, /* getaddrinfo(3), on the blocking pool */
    TORC_RESOLVER_DNS,    /* DNS servers and /etc/hosts, on the shard itself; needs c-ares,
                             and fibers with at least 64 KiB of stack, on which it runs */
};

/* How to resolve. All zero is a good default. */
struct torc_resolver_options {
    enum torc_resolver_kind kind;
    uint32_t cache_entries;   /* names remembered, at most 1,048,576; 0 = 512 */
    uint32_t lookups_max;     /* names looked up at once; 0 = 1,024 */
    uint64_t ttl_ns;          /* how long an answer is good, or shorter if DNS says so (with
                                 TORC_RESOLVER_DNS); 0 = 30 s, 1 = it is not remembered */
    uint64_t negative_ttl_ns; /* how long "no such name" is; 0 = 1 s, 1 = not remembered */
    /* For TORC_RESOLVER_DNS. */
    const char *servers;     /* "192.0.2.1,[2001:db8::1]:5353"; NULL = those of resolv.conf */
    uint64_t try_timeout_ns; /* for a server to answer; 0 = 2 s */
    unsigned tries;          /* of each server; 0 = 3 */
};

/*
 * A resolver, which belongs to this shard. `options` may be NULL. Allocates.
 *
 * -EOPNOTSUPP    TORC_RESOLVER_DNS, and torc was built without c-ares.
 * -EINVAL        an option is out of its range.
 */
TORC_CHECK int torc_resolver_create(const struct torc_resolver_options *options,
                                    struct torc_resolver **ret_resolver);

/* Give up a resolver; nobody may be waiting for an answer of it. NULL is ignored. */
TORC_API void torc_resolver_destroy(struct torc_resolver *resolver);

/* Forget all answers. */
TORC_API void torc_resolver_flush(struct torc_resolver *resolver);

/*
 * The addresses of a host, with `port` put into them, in the order in which to try them. `family`
 * is AF_INET, AF_INET6 or 0 for both. At most `capacity` are stored, and never more than 32.
 * Suspends, unless the answer is remembered. Returns how many, at least 1.
 */
TORC_CHECK int torc_lookup(struct torc_resolver *resolver, const char *host, uint16_t port,
                           int family, struct torc_address *ret_addresses, unsigned capacity);

/*
 * The port of a service, by its name in /etc/services or by its number. `protocol` is "tcp" or
 * "udp". Suspends, and allocates, unless it is a number.
 */
TORC_CHECK int torc_lookup_service(const char *service, const char *protocol);

/* Bytes, with the final NUL, of the longest name. */
#define TORC_HOST_NAME_SIZE 256

/*
 * The name of a host by its address, without the port. Suspends. Allocates. Not remembered.
 *
 * -ENOBUFS        it does not fit into `size`.
 * -EAFNOSUPPORT   the address is neither IPv4 nor IPv6.
 */
TORC_CHECK int torc_lookup_name(const struct torc_address *address, char *ret_host, size_t size);

/* Where a service is, by a SRV record of DNS. */
struct torc_service {
    uint16_t priority;
    uint16_t weight;
    uint16_t port;
    char host[TORC_HOST_NAME_SIZE];
};

/*
 * Where a service like "_imaps._tcp.example.org" is, in the order in which to try the places
 * (RFC 2782: by priority, and at random by weight among equals). At most `capacity` are stored.
 * Suspends. Not remembered. Returns how many, at least 1.
 *
 * -EOPNOTSUPP     the resolver is not one of TORC_RESOLVER_DNS.
 */
TORC_CHECK int torc_lookup_places(struct torc_resolver *resolver, const char *name,
                                  struct torc_service *ret_places, unsigned capacity);

/* ---- Connecting ---- */

/* How to connect to a name. All zero is a good default. */
struct torc_connect_name_options {
    struct torc_connect_options socket; /* of each attempt */
    struct torc_resolver *resolver;     /* NULL = the shard's own */
    int family;                         /* AF_INET, AF_INET6; 0 = both */
    uint64_t attempt_delay_ns;          /* before the next address is tried too; 0 = 250 ms */
};

/*
 * Connect to the first of `addresses` that answers, of two families in turn: each attempt has a
 * start of `attempt_delay_ns` (or until it fails) before the next one races it (RFC 8305). The
 * losers are closed. Suspends. `options` may be NULL. Returns the descriptor, which the caller
 * owns; else the error of the attempt that failed last, or the scope's reason.
 *
 * -EINVAL     count is 0 or above 64.
 */
TORC_CHECK int torc_tcp_race(const struct torc_address *addresses, unsigned count,
                             const struct torc_connect_name_options *options);

/* torc_tcp_race() over what torc_lookup() finds; the errors of both. Suspends. */
TORC_CHECK int torc_tcp_connect_name(const char *host, uint16_t port,
                                     const struct torc_connect_name_options *options);

TORC_END_C
#endif
