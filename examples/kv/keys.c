/* SPDX-License-Identifier: MIT */
/*
 * keys.c - the keys of a shard: a hash table, and what is done to it. A key that has expired goes
 * when somebody asks for it, and if nobody does, when the fiber that walks through all of them
 * comes along.
 *
 * The table grows by one bucket at a time, so that no call takes long: linear hashing. With 2^n
 * buckets or more, but fewer than 2^(n+1), an entry is where n+1 bits of its hash say, or n bits if
 * there is no such bucket yet. To grow is to split the first that is not split.
 */
#include "kv.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define TEND_INTERVAL  (100 * TORC_MILLISECOND)
#define BUCKETS        1024u /* at a time; then others run */
#define GONE_AGAIN     256u  /* so many that had expired: there are probably more */
#define NOT_AN_INTEGER "value is not an integer or out of range"

struct entry {
    struct entry *next;
    int64_t expires_ms; /* of the clock of the world; 0: never */
    uint32_t hash;
    uint32_t key_length;
    uint32_t value_length;
    char bytes[]; /* the key, then the value */
};

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- The table ---- */

/* Nobody who does not know the seed can choose keys that collide. */
static uint32_t hash_of(const struct shard *shard, struct slice key)
{
    uint64_t hash = shard->seed[0] ^ key.length;

    for (size_t count; key.length > 0; key.at += count, key.length -= count) {
        unsigned __int128 product;
        uint64_t word = 0;

        count = key.length < 8 ? key.length : 8;
        memcpy(&word, key.at, count);
        product = (unsigned __int128)(hash ^ word) * (shard->seed[1] | 1);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return (uint32_t)(hash ^ hash >> 32);
}

static struct entry **bucket_of(const struct shard *shard, uint32_t hash)
{
    const size_t index = hash & shard->mask;

    return &shard->buckets[index < shard->bucket_count ? index : index & shard->mask >> 1];
}

/* Have one bucket more. Without memory the table only gets slower. */
static void grow(struct shard *shard)
{
    struct entry **buckets = shard->buckets;
    struct entry **first; /* that is not split */
    struct entry *entry;
    struct entry *next;

    if (shard->bucket_count > shard->mask) { /* The kernel moves large arrays without a copy. */
        buckets = realloc(buckets, 2 * shard->bucket_count * sizeof(struct entry *));
        if (buckets == NULL)
            return;
        shard->buckets = buckets;
        shard->mask = 2 * shard->mask + 1;
    }
    first = &buckets[shard->bucket_count & shard->mask >> 1];
    entry = *first;
    *first = buckets[shard->bucket_count++] = NULL;
    for (; entry != NULL; entry = next) {
        struct entry **bucket = bucket_of(shard, entry->hash);

        next = entry->next;
        entry->next = *bucket;
        *bucket = entry;
    }
}

static void set_expiry(struct shard *shard, struct entry *entry, int64_t expires_ms)
{
    shard->mortal_count -= entry->expires_ms != 0;
    shard->mortal_count += expires_ms != 0;
    entry->expires_ms = expires_ms;
}

static void drop(struct shard *shard, struct entry **link)
{
    struct entry *entry = *link;

    set_expiry(shard, entry, 0);
    shard->key_count--;
    *link = entry->next;
    free(entry);
}

/* What points to the entry of the key that is asked for; to NULL if there is none. */
static struct entry **find(const struct call *call)
{
    const struct slice key = call->args[1];
    const uint32_t hash = hash_of(call->shard, key);
    struct entry **link = bucket_of(call->shard, hash);

    while (*link != NULL && ((*link)->hash != hash || (*link)->key_length != key.length ||
                             memcmp((*link)->bytes, key.at, key.length) != 0))
        link = &(*link)->next;
    if (*link == NULL || (*link)->expires_ms == 0 || now_ms() <= (*link)->expires_ms)
        return link;
    drop(call->shard, link);
    call->shard->expired++;
    return find(call); /* Now there is none. */
}

/* Give the key that is asked for, whose place this is, a value. */
static void put(struct call *call, struct entry **link, struct slice value, int64_t expires_ms)
{
    struct shard *shard = call->shard;
    const struct slice key = call->args[1];
    const bool is_new = *link == NULL;
    struct entry *entry = realloc(*link, sizeof(*entry) + key.length + value.length);

    if (entry == NULL) {
        call->reply->failed = true;
        return;
    }
    if (is_new) {
        *entry = (struct entry){.hash = hash_of(shard, key), .key_length = (uint32_t)key.length};
        memcpy(entry->bytes, key.at, key.length);
    }
    *link = entry;
    entry->value_length = (uint32_t)value.length;
    memcpy(entry->bytes + key.length, value.at, value.length);
    set_expiry(shard, entry, expires_ms);
    shard->key_count += is_new;
    if (shard->key_count > shard->bucket_count)
        grow(shard);
}

static struct slice value_of(const struct entry *entry)
{
    return (struct slice){entry->bytes + entry->key_length, entry->value_length};
}

/* There is no end: keys go with the process. To free each of them would only make that slow. */
int keys_init(struct shard *shard)
{
    if (getrandom(shard->seed, sizeof(shard->seed), 0) < 0)
        return -errno;
    shard->buckets = calloc(1, sizeof(struct entry *));
    shard->bucket_count = shard->buckets != NULL;
    return shard->buckets != NULL ? 0 : -ENOMEM;
}

/* Look at the keys of some buckets. Returns how many had expired. */
static unsigned sweep(struct shard *shard)
{
    const int64_t now = now_ms();
    unsigned gone = 0;

    for (unsigned i = 0; i < BUCKETS && shard->mortal_count > 0; i++) {
        struct entry **link = &shard->buckets[shard->cursor++ % shard->bucket_count];

        while (*link != NULL) {
            if ((*link)->expires_ms == 0 || now <= (*link)->expires_ms) {
                link = &(*link)->next;
            } else {
                drop(shard, link);
                gone++;
            }
        }
    }
    shard->expired += gone;
    return gone;
}

int keys_tend(void *arg)
{
    int result = 0;

    torc_fiber_set_name("chores");
    while (result == 0)
        result = sweep(arg) >= GONE_AGAIN ? torc_yield() : torc_sleep(TEND_INTERVAL);
    return result;
}

/* ---- Commands ---- */

const char *run_get(struct call *call)
{
    const struct entry *entry = *find(call);

    return entry != NULL ? reply_bulk(call->reply, value_of(entry)) : reply_null(call->client);
}

const char *run_exists(struct call *call)
{
    call->number = *find(call) != NULL;
    return NULL;
}

const char *run_delete(struct call *call)
{
    struct entry **link = find(call);

    call->number = *link != NULL;
    if (*link != NULL)
        drop(call->shard, link);
    return NULL;
}

/* The time in `number` units from now, by the clock of the world. False if it is out of range. */
static bool time_after(int64_t number, int64_t unit_ms, int64_t *ret_ms)
{
    return !__builtin_mul_overflow(number, unit_ms, &number) &&
           !__builtin_add_overflow(number, now_ms(), ret_ms);
}

/* SET, and one of MSET. */
const char *run_set(struct call *call)
{
    bool only_new = false;
    bool only_old = false;
    int64_t unit_ms = 0; /* of the time that it lives; 0: for ever */
    unsigned unit_at = 0;
    int64_t number = 0;
    int64_t expires_ms = 0;
    struct entry **link;

    for (unsigned i = 3; i < call->count; i++) {
        const int64_t unit = slice_is(call->args[i], "EX") ? 1000 : slice_is(call->args[i], "PX");

        if (slice_is(call->args[i], "NX") && !only_old) {
            only_new = true;
        } else if (slice_is(call->args[i], "XX") && !only_new) {
            only_old = true;
        } else if (unit > 0 && (unit_ms == 0 || unit_ms == unit) && i + 1 < call->count) {
            unit_ms = unit;
            unit_at = ++i;
        } else {
            return "syntax error";
        }
    }
    if (unit_ms > 0 && !slice_is_number(call->args[unit_at], &number))
        return NOT_AN_INTEGER;
    if (unit_ms > 0 && (number <= 0 || !time_after(number, unit_ms, &expires_ms)))
        return "invalid expire time in 'set' command";
    link = find(call);
    if (*link != NULL ? only_new : only_old)
        return reply_null(call->client);
    put(call, link, call->args[2], expires_ms);
    return "+OK";
}

const char *run_increment(struct call *call)
{
    struct entry **link = find(call);
    char digits[TORC_INTEGER_TEXT_SIZE];
    int64_t number = 0;

    if (*link != NULL && !slice_is_number(value_of(*link), &number))
        return NOT_AN_INTEGER;
    if (__builtin_add_overflow(number, 1, &number))
        return "increment or decrement would overflow";
    put(call, link, (struct slice){digits, torc_integer_format(number, digits)},
        *link != NULL ? (*link)->expires_ms : 0);
    return reply_number(call->reply, ':', number);
}

const char *run_expire(struct call *call)
{
    struct entry **link;
    int64_t seconds;
    int64_t expires_ms;

    if (!slice_is_number(call->args[2], &seconds))
        return NOT_AN_INTEGER;
    if (!time_after(seconds, 1000, &expires_ms))
        return "invalid expire time in 'expire' command";
    link = find(call);
    if (*link == NULL)
        return reply_number(call->reply, ':', 0);
    set_expiry(call->shard, *link, expires_ms);
    if (seconds <= 0)
        drop(call->shard, link);
    return reply_number(call->reply, ':', 1);
}

const char *run_ttl(struct call *call)
{
    const struct entry *entry = *find(call);

    if (entry == NULL || entry->expires_ms == 0)
        return reply_number(call->reply, ':', entry == NULL ? -2 : -1);
    return reply_number(call->reply, ':', (entry->expires_ms - now_ms() + 500) / 1000);
}
