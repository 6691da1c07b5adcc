/* SPDX-License-Identifier: MIT */
/*
 * dns.c - look names up, once for all who ask at the same time, and remember the answers.
 *
 * A lookup is a fiber of the shard's root scope, so it goes on whatever happens to those who wait
 * for it. They hold the name, and wait for its event; the fiber holds it too, and the resolver.
 */
#include "io/dns.h"
#include "driver/thread.h"
#include "shard/shard.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CACHE_ENTRIES_DEFAULT 512u
#define CACHE_ENTRIES_MAX     (1u << 20)
#define LOOKUPS_MAX_DEFAULT   1024u
#define TTL_DEFAULT_NS        (30 * TORC_SECOND)
#define NEGATIVE_TTL_NS       TORC_SECOND
#define NAME_LENGTH_MAX       253u
#define LABEL_LENGTH_MAX      63u

/* ---- Resolvers ---- */

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

int torc__resolver_create(const struct torc_resolver_options *options,
                          const struct torc__names_backend *backend,
                          struct torc_resolver **ret_resolver)
{
    const uint64_t entries = or_default(options->cache_entries, CACHE_ENTRIES_DEFAULT);
    struct torc_resolver *resolver;
    int result;

    if (entries > CACHE_ENTRIES_MAX)
        return -EINVAL;
    resolver = calloc(1, sizeof(*resolver));
    if (resolver == NULL)
        return -ENOMEM;
    resolver->backend = backend;
    resolver->ttl_ns = or_default(options->ttl_ns, TTL_DEFAULT_NS);
    resolver->negative_ttl_ns = or_default(options->negative_ttl_ns, NEGATIVE_TTL_NS);
    resolver->lookups_max = (uint32_t)or_default(options->lookups_max, LOOKUPS_MAX_DEFAULT);
    resolver->references = 1;
    result = torc__names_init(&resolver->cache, (uint32_t)entries);
    if (result < 0)
        goto free_resolver;
    result = backend->open(resolver, options);
    if (result < 0)
        goto finish_cache;
    *ret_resolver = resolver;
    return 0;

finish_cache:
    torc__names_finish(&resolver->cache);
free_resolver:
    free(resolver);
    return result;
}

static void release(struct torc_resolver *resolver)
{
    if (--resolver->references > 0)
        return;
    resolver->backend->close(resolver);
    torc__names_finish(&resolver->cache);
    free(resolver);
}

int torc_resolver_create(const struct torc_resolver_options *options,
                         struct torc_resolver **ret_resolver)
{
    static const struct torc_resolver_options defaults;

    if (options == NULL)
        options = &defaults;
    switch (options->kind) {
    case TORC_RESOLVER_SYSTEM:
        return torc__resolver_create(options, &torc__names_system, ret_resolver);
    case TORC_RESOLVER_DNS:
        if (torc__thread_is_simulated())
            return -EOPNOTSUPP; /* c-ares makes system calls of its own. */
#ifdef TORC_WITH_CARES
        return torc__resolver_create(options, &torc__names_cares, ret_resolver);
#else
        return -EOPNOTSUPP;
#endif
    default:
        return -EINVAL;
    }
}

void torc_resolver_destroy(struct torc_resolver *resolver)
{
    if (resolver != NULL)
        release(resolver);
}

/* The one that is meant: the shard's own, made when it is first needed, if it is NULL. */
static int choose_resolver(struct torc_resolver *resolver, struct torc_resolver **ret_resolver)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int result = 0;

    if (resolver == NULL && shard->resolver == NULL) {
        result = torc_resolver_create(NULL, &shard->resolver);
        shard->destroy_resolver = torc_resolver_destroy;
    }
    if (result == 0)
        *ret_resolver = resolver != NULL ? resolver : shard->resolver;
    return result;
}

void torc_resolver_flush(struct torc_resolver *resolver)
{
    if (resolver == NULL)
        resolver = torc__shard_of_fiber()->resolver;
    if (resolver != NULL)
        torc__names_flush(&resolver->cache);
}

/* ---- Names ---- */

int torc__names_check(const char *name)
{
    size_t length = strnlen(name, NAME_LENGTH_MAX + 2);
    size_t label = 0;

    if (length > 1 && name[length - 1] == '.')
        length--; /* The root's label, which is empty by right. */
    if (length > NAME_LENGTH_MAX)
        return -ENAMETOOLONG;
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)name[i];

        if (c <= ' ' || c == 0x7f || (c == '.' && label == 0))
            return -EINVAL;
        label = c == '.' ? 0 : label + 1;
        if (label > LABEL_LENGTH_MAX)
            return -ENAMETOOLONG;
    }
    return label > 0 ? 0 : -EINVAL;
}

/* "localhost", and all names in that domain, are this machine (RFC 6761). */
static bool is_localhost(const char *host)
{
    static const char localhost[] = "localhost";
    size_t length = strlen(host);
    size_t start;

    if (length > 0 && host[length - 1] == '.')
        length--;
    if (length < sizeof(localhost) - 1)
        return false;
    start = length - (sizeof(localhost) - 1);
    return strncasecmp(host + start, localhost, sizeof(localhost) - 1) == 0 &&
           (start == 0 || host[start - 1] == '.');
}

/* ---- Lookups ---- */

/* Until when a result is good; 0 for what is not to be remembered. */
static uint64_t expiry(const struct torc_resolver *resolver, int result, uint64_t ttl_ns)
{
    uint64_t limit = 0;

    if (result >= 0) {
        limit = resolver->ttl_ns;
    } else if (result == -ENXIO) {
        limit = resolver->negative_ttl_ns;
    }
    if (limit <= 1)
        return 0;
    return torc_deadline(ttl_ns < limit ? ttl_ns : limit);
}

/* Ask the back end. -ECANCELED if it was taken back: see await_name(). */
static int ask_backend(struct torc__name *name, struct torc__names_answer *ret_answer)
{
    struct torc_resolver *resolver = name->owner;
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    name->asking = resolver->backend->has_queue ? &scope : NULL;
    result = resolver->backend->addresses(resolver, name->host, ret_answer);
    name->asking = NULL;
    (void)torc_scope_close(&scope);
    return result;
}

static int look_up(void *arg)
{
    struct torc__name *name = arg;
    struct torc_resolver *resolver = name->owner;
    struct torc__names_answer answer = {.ttl_ns = UINT64_MAX};
    int result;

    torc_fiber_set_name("lookup");
    do
        result = ask_backend(name, &answer);
    while (result == -ECANCELED && torc_cancelled() == 0 && name->holders > 1); /* Again wanted. */
    if (result == -ECANCELED)
        result = -EAGAIN; /* Our reason, and not that of those who wait. */
    torc__names_complete(&resolver->cache, name, result, answer.addresses,
                         expiry(resolver, result, answer.ttl_ns));
    torc__name_release(name);
    resolver->lookups--;
    release(resolver);
    return 0;
}

/* Begin to look a name up. It is held, once for the caller. */
static int begin_lookup(struct torc_resolver *resolver, const char *host,
                        struct torc__name **ret_name)
{
    struct torc__name *name;
    int result;

    if (resolver->lookups >= resolver->lookups_max)
        return -EBUSY;
    name = torc__names_add(&resolver->cache, host);
    if (name == NULL)
        return -ENOMEM;
    name->owner = resolver;
    result = torc_spawn(look_up, name);
    if (result < 0) {
        torc__names_complete(&resolver->cache, name, result, NULL, 0);
        torc__name_release(name);
        return result;
    }
    torc__name_hold(name);
    resolver->lookups++;
    resolver->references++;
    *ret_name = name;
    return 0;
}

/* Those of `from` that are of the family, with the port. Returns how many, or -ENXIO. */
static int choose_addresses(const struct torc_address *from, unsigned count, int family,
                            uint16_t port, struct torc_address *to, unsigned capacity)
{
    unsigned chosen = 0;

    for (unsigned i = 0; i < count && chosen < capacity; i++) {
        if (family != 0 && from[i].any.sa_family != family)
            continue;
        to[chosen] = from[i];
        if (from[i].any.sa_family == AF_INET6) {
            to[chosen].v6.sin6_port = htons(port);
        } else {
            to[chosen].v4.sin_port = htons(port);
        }
        chosen++;
    }
    return chosen > 0 ? (int)chosen : -ENXIO;
}

/*
 * Wait for a name that we hold. The last one who leaves takes the lookup back, unless it is in the
 * hands of the system: then it goes on, for the next one who asks.
 */
static int await_name(struct torc__name *name)
{
    const int result = name->state == NAME_READY ? 0 : torc_event_wait(&name->ready);

    if (result < 0 && name->asking != NULL && name->holders == 2)
        torc_scope_cancel(name->asking);
    return result < 0 ? result : name->result;
}

/* What a resolver has remembered, or finds out. */
static int ask(struct torc_resolver *resolver, const char *host, struct torc__name **ret_name)
{
    struct torc__name *name;
    int result = choose_resolver(resolver, &resolver);

    if (result < 0)
        return result;
    name = torc__names_find(&resolver->cache, host, torc_now());
    if (name == NULL)
        result = begin_lookup(resolver, host, &name);
    if (result < 0)
        return result;
    result = await_name(name);
    if (result < 0) {
        torc__name_release(name);
    } else {
        *ret_name = name;
    }
    return result;
}

int torc_lookup(struct torc_resolver *resolver, const char *host, uint16_t port, int family,
                struct torc_address *ret_addresses, unsigned capacity)
{
    struct torc_address local[2];
    struct torc__name *name;
    int result = torc__names_check(host);

    if (result < 0)
        return result;
    if (capacity == 0 || strcmp(host, "*") == 0 ||
        (family != 0 && family != AF_INET && family != AF_INET6))
        return -EINVAL;
    if (torc__reason(torc__shard_of_fiber()) != 0)
        return torc_yield(); /* Which refuses. */
    result = torc_resolve(is_localhost(host) ? "localhost" : host, port, local, 2);
    if (result > 0)
        return choose_addresses(local, (unsigned)result, family, port, ret_addresses, capacity);
    result = ask(resolver, host, &name);
    if (result < 0)
        return result;
    result =
        choose_addresses(name->addresses, (unsigned)result, family, port, ret_addresses, capacity);
    torc__name_release(name);
    return result;
}

int torc_lookup_places(struct torc_resolver *resolver, const char *name,
                       struct torc_service *ret_places, unsigned capacity)
{
    int result = torc__names_check(name);

    if (result == 0 && capacity == 0)
        result = -EINVAL;
    if (result == 0)
        result = choose_resolver(resolver, &resolver);
    if (result < 0)
        return result;
    return resolver->backend->places(resolver, name, ret_places, capacity);
}
