/* SPDX-License-Identifier: MIT */
/*
 * dns_cache.c - names that are being looked up, and those whose addresses are known for a while.
 */
#include "io/dns_cache.h"
#include "base/log.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- The table ---- */

/* FNV-1a, over what strcasecmp() compares. */
static struct torc__name **bucket_of(const struct torc__names_cache *cache, const char *host)
{
    uint32_t hash = UINT32_C(2166136261);

    for (; *host != '\0'; host++)
        hash = (hash ^ (uint32_t)tolower((unsigned char)*host)) * UINT32_C(16777619);
    return &cache->buckets[hash & (cache->bucket_count - 1)];
}

static void unlink_age(struct torc__names_cache *cache, struct torc__name *name)
{
    if (name->older != NULL) {
        name->older->newer = name->newer;
    } else {
        cache->oldest = name->newer;
    }
    if (name->newer != NULL) {
        name->newer->older = name->older;
    } else {
        cache->newest = name->older;
    }
    cache->ready--;
}

static void link_newest(struct torc__names_cache *cache, struct torc__name *name)
{
    name->newer = NULL;
    name->older = cache->newest;
    if (cache->newest != NULL) {
        cache->newest->newer = name;
    } else {
        cache->oldest = name;
    }
    cache->newest = name;
    cache->ready++;
}

static void free_if_unused(struct torc__name *name)
{
    if (name->in_table || name->holders > 0)
        return;
    free(name->addresses);
    free(name);
}

static void take_out(struct torc__names_cache *cache, struct torc__name *name)
{
    struct torc__name **link = bucket_of(cache, name->host);

    while (*link != name)
        link = &(*link)->next;
    *link = name->next;
    name->in_table = false;
    if (name->state == NAME_READY)
        unlink_age(cache, name);
    free_if_unused(name);
}

int torc__names_init(struct torc__names_cache *cache, uint32_t limit)
{
    uint32_t bucket_count = 16;

    while (bucket_count < limit)
        bucket_count *= 2;
    *cache = (struct torc__names_cache){.bucket_count = bucket_count, .limit = limit};
    cache->buckets = calloc(bucket_count, sizeof(struct torc__name *));
    return cache->buckets != NULL ? 0 : -ENOMEM;
}

void torc__names_finish(struct torc__names_cache *cache)
{
    torc__names_flush(cache);
    free(cache->buckets);
}

void torc__names_flush(struct torc__names_cache *cache)
{
    for (uint32_t i = 0; i < cache->bucket_count; i++) {
        while (cache->buckets[i] != NULL)
            take_out(cache, cache->buckets[i]);
    }
    TORC_ASSERT(cache->ready == 0);
}

/* ---- Names ---- */

struct torc__name *torc__names_find(struct torc__names_cache *cache, const char *host,
                                    uint64_t now_ns)
{
    struct torc__name *name = *bucket_of(cache, host);

    while (name != NULL && strcasecmp(name->host, host) != 0)
        name = name->next;
    if (name == NULL)
        return NULL;
    if (name->state == NAME_READY) {
        if (name->expires_ns <= now_ns) {
            take_out(cache, name);
            return NULL;
        }
        unlink_age(cache, name);
        link_newest(cache, name);
    }
    name->holders++;
    return name;
}

struct torc__name *torc__names_add(struct torc__names_cache *cache, const char *host)
{
    struct torc__name **bucket = bucket_of(cache, host);
    const size_t size = strlen(host) + 1;
    struct torc__name *name = calloc(1, sizeof(*name) + size);

    if (name == NULL)
        return NULL;
    memcpy(name->host, host, size);
    name->holders = 1;
    name->in_table = true;
    name->next = *bucket;
    *bucket = name;
    return name;
}

void torc__name_hold(struct torc__name *name)
{
    name->holders++;
}

void torc__name_release(struct torc__name *name)
{
    TORC_ASSERT(name->holders > 0);
    name->holders--;
    free_if_unused(name);
}

static int copy_addresses(struct torc__name *name, int count, const struct torc_address *addresses)
{
    name->addresses = malloc((size_t)count * sizeof(*addresses));
    if (name->addresses == NULL)
        return -ENOMEM;
    memcpy(name->addresses, addresses, (size_t)count * sizeof(*addresses));
    return count;
}

void torc__names_complete(struct torc__names_cache *cache, struct torc__name *name, int result,
                          const struct torc_address *addresses, uint64_t expires_ns)
{
    TORC_ASSERT(name->state == NAME_PENDING);
    TORC_ASSERT(name->holders > 0);
    name->result = result > 0 ? copy_addresses(name, result, addresses) : result;
    name->expires_ns = expires_ns;
    name->state = NAME_READY;
    if (name->in_table) { /* It has not been flushed meanwhile. */
        link_newest(cache, name);
        if (expires_ns == 0) {
            take_out(cache, name);
        } else if (cache->ready > cache->limit) {
            take_out(cache, cache->oldest);
        }
    }
    torc_event_set(&name->ready);
}
