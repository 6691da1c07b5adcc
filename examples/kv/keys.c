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
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TEND_INTERVAL  (100 * TORC_MILLISECOND)
#define BUCKETS        1024u /* at a time; then others run */
#define GONE_AGAIN     256u  /* so many that had expired: there are probably more */
#define NOT_AN_INTEGER "value is not an integer or out of range"

struct entry {
    struct entry *next;
    char *value;
    uint32_t value_length;
    int64_t expires_ms; /* of the clock of the world; 0: never */
    uint32_t hash;
    uint32_t length;
    char key[];
};

/* ---- The table ---- */

/* Nobody who does not know the seed can choose keys that collide. */
static uint32_t hash_of(const struct table *table, struct slice key)
{
    uint64_t hash = table->seed[0] ^ key.length;

    for (size_t count; key.length > 0; key.at += count, key.length -= count) {
        unsigned __int128 product;
        uint64_t word = 0;

        count = key.length < 8 ? key.length : 8;
        memcpy(&word, key.at, count);
        product = (unsigned __int128)(hash ^ word) * (table->seed[1] | 1);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return (uint32_t)(hash ^ hash >> 32);
}

/* 2^n, of a table that is not empty. */
static size_t whole_size(const struct table *table)
{
    return (size_t)1 << (63 - __builtin_clzll(table->size));
}

static struct entry **bucket_of(const struct table *table, uint32_t hash)
{
    const size_t size = whole_size(table);
    const size_t index = hash & (2 * size - 1);

    return &table->buckets[index < table->size ? index : index - size];
}

static struct entry *table_find(const struct table *table, struct slice key)
{
    const uint32_t hash = hash_of(table, key);
    struct entry *entry = table->size > 0 ? *bucket_of(table, hash) : NULL;

    while (entry != NULL && (entry->hash != hash || entry->length != key.length ||
                             memcmp(entry->key, key.at, key.length) != 0))
        entry = entry->next;
    return entry;
}

static void table_link(struct table *table, struct entry *entry)
{
    struct entry **bucket = bucket_of(table, entry->hash);

    entry->next = *bucket;
    *bucket = entry;
}

/* Have one bucket more. False without memory. */
static bool table_grow(struct table *table)
{
    const size_t room = table->size > 0 ? 2 * table->size : 1;
    struct entry **larger = table->buckets;
    struct entry *split = NULL;

    if ((table->size & (table->size - 1)) == 0) /* The kernel moves large arrays without copying. */
        larger = realloc(table->buckets, room * sizeof(struct entry *));
    if (larger == NULL)
        return false;
    table->buckets = larger;
    if (table->size > 0) {
        struct entry **bucket = &larger[table->size - whole_size(table)];

        split = *bucket;
        *bucket = NULL;
    }
    larger[table->size++] = NULL;
    while (split != NULL) {
        struct entry *entry = split;

        split = entry->next;
        table_link(table, entry);
    }
    return true;
}

/* Returns NULL without memory. */
static struct entry *table_add(struct table *table, struct slice key)
{
    struct entry *entry;

    if (table->count >= table->size && !table_grow(table))
        return NULL;
    entry = malloc(sizeof(*entry) + key.length);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.hash = hash_of(table, key), .length = (uint32_t)key.length};
    memcpy(entry->key, key.at, key.length);
    table_link(table, entry);
    table->count++;
    return entry;
}

static void table_take(struct table *table, struct entry *entry)
{
    struct entry **link = bucket_of(table, entry->hash);

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    table->count--;
    free(entry->value);
    free(entry);
}

/* ---- Keys ---- */

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void set_expiry(struct shard *shard, struct entry *entry, int64_t expires_ms)
{
    shard->mortal_count -= entry->expires_ms != 0;
    shard->mortal_count += expires_ms != 0;
    entry->expires_ms = expires_ms;
}

static void drop(struct shard *shard, struct entry *entry)
{
    set_expiry(shard, entry, 0);
    table_take(&shard->keys, entry);
}

/* The entry of the key that is asked for; NULL if there is none, or if it has expired. */
static struct entry *find(const struct call *call)
{
    struct entry *entry = table_find(&call->shard->keys, arg(call, 1));

    if (entry == NULL || entry->expires_ms == 0 || now_ms() <= entry->expires_ms)
        return entry;
    drop(call->shard, entry);
    call->shard->expired++;
    return NULL;
}

/* Give the key that is asked for, whose entry this is, a value. */
static void put(struct call *call, struct entry *entry, struct slice value, int64_t expires_ms)
{
    struct entry *to = entry != NULL ? entry : table_add(&call->shard->keys, arg(call, 1));
    char *bytes = to != NULL ? realloc(to->value, value.length + 1) : NULL;

    call->reply->failed |= bytes == NULL;
    if (bytes != NULL) {
        memcpy(bytes, value.at, value.length);
        to->value = bytes;
        to->value_length = (uint32_t)value.length;
        set_expiry(call->shard, to, expires_ms);
    } else if (to != entry) {
        drop(call->shard, to);
    }
}

static const char *answer(const struct call *call, int64_t number)
{
    reply_number(call->reply, ':', number);
    return NULL;
}

const char *run_get(struct call *call)
{
    const struct entry *entry = find(call);

    if (entry == NULL) {
        reply_null(call->reply);
    } else {
        reply_bulk(call->reply, (struct slice){entry->value, entry->value_length});
    }
    return NULL;
}

const char *run_exists(struct call *call)
{
    call->number += find(call) != NULL;
    return NULL;
}

const char *run_delete(struct call *call)
{
    struct entry *entry = find(call);

    call->number += entry != NULL;
    if (entry != NULL)
        drop(call->shard, entry);
    return NULL;
}

/* The time in `number` units from now, by the clock of the world. False if it is out of range. */
static bool time_after(int64_t number, int64_t unit_ms, int64_t *ret_ms)
{
    return !__builtin_mul_overflow(number, unit_ms, &number) &&
           !__builtin_add_overflow(number, now_ms(), ret_ms);
}

const char *run_set(struct call *call)
{
    bool only_new = false;
    bool only_old = false;
    int64_t unit_ms = 0; /* of the time that it lives; 0: for ever */
    unsigned unit_at = 0;
    int64_t number = 0;
    int64_t expires_ms = 0;
    struct entry *entry;

    for (unsigned i = 3; i < call->count; i++) {
        const int64_t unit = arg_is(call, i, "EX") ? 1000 : arg_is(call, i, "PX");

        if (arg_is(call, i, "NX") && !only_old) {
            only_new = true;
        } else if (arg_is(call, i, "XX") && !only_new) {
            only_old = true;
        } else if (unit > 0 && (unit_ms == 0 || unit_ms == unit) && i + 1 < call->count) {
            unit_ms = unit;
            unit_at = ++i;
        } else {
            return "syntax error";
        }
    }
    if (unit_ms > 0 && !parse_integer(arg(call, unit_at), &number))
        return NOT_AN_INTEGER;
    if (unit_ms > 0 && (number <= 0 || !time_after(number, unit_ms, &expires_ms)))
        return "invalid expire time in 'set' command";
    entry = find(call);
    if (entry != NULL ? only_new : only_old) {
        reply_null(call->reply);
        return NULL;
    }
    put(call, entry, arg(call, 2), expires_ms);
    return "+OK";
}

/* One of MSET. */
const char *run_set_one(struct call *call)
{
    put(call, find(call), arg(call, 2), 0);
    return NULL;
}

const char *run_increment(struct call *call)
{
    struct entry *entry = find(call);
    char digits[24];
    int64_t number = 0;

    if (entry != NULL && !parse_integer((struct slice){entry->value, entry->value_length}, &number))
        return NOT_AN_INTEGER;
    if (__builtin_add_overflow(number, 1, &number))
        return "increment or decrement would overflow";
    (void)snprintf(digits, sizeof(digits), "%" PRId64, number);
    put(call, entry, slice_of(digits), entry != NULL ? entry->expires_ms : 0);
    return answer(call, number);
}

const char *run_expire(struct call *call)
{
    struct entry *entry;
    int64_t seconds;
    int64_t expires_ms;

    if (!parse_integer(arg(call, 2), &seconds))
        return NOT_AN_INTEGER;
    if (!time_after(seconds, 1000, &expires_ms))
        return "invalid expire time in 'expire' command";
    entry = find(call);
    if (entry != NULL && seconds > 0) {
        set_expiry(call->shard, entry, expires_ms);
    } else if (entry != NULL) {
        drop(call->shard, entry);
    }
    return answer(call, entry != NULL);
}

const char *run_ttl(struct call *call)
{
    const struct entry *entry = find(call);

    if (entry == NULL || entry->expires_ms == 0)
        return answer(call, entry == NULL ? -2 : -1);
    return answer(call, (entry->expires_ms - now_ms() + 500) / 1000);
}

/* Look at the keys of some buckets. Returns how many had expired. */
static unsigned sweep(struct shard *shard)
{
    const int64_t now = now_ms();
    unsigned gone = 0;

    for (unsigned i = 0; i < BUCKETS && shard->mortal_count > 0; i++) {
        struct entry *next;

        shard->cursor = shard->cursor < shard->keys.size ? shard->cursor : 0;
        for (struct entry *entry = shard->keys.buckets[shard->cursor++]; entry; entry = next) {
            next = entry->next;
            if (entry->expires_ms != 0 && now > entry->expires_ms) {
                drop(shard, entry);
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

void keys_finish(struct shard *shard)
{
    for (size_t i = 0; i < shard->keys.size; i++) {
        while (shard->keys.buckets[i] != NULL)
            drop(shard, shard->keys.buckets[i]);
    }
    free(shard->keys.buckets);
}
