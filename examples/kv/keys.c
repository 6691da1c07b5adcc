/* SPDX-License-Identifier: MIT */
/*
 * keys.c - the keys of a shard, and what is done to them. They are in a tree: at each entry, two
 * more bits of the key's hash tell which of four branches to take. So a new key needs no room but
 * its own, and no call ever takes long.
 *
 * A key that has expired goes when somebody asks for it, or when the fiber comes along that walks
 * through the tree.
 */
#include "kv.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/random.h>

#define TEND_INTERVAL  (100 * TORC_MILLISECOND)
#define WALKS          1024u /* at a time; then others run */
#define GONE_AGAIN     256u  /* so many that had expired: there are probably more */
#define NOT_AN_INTEGER "value is not an integer or out of range"
#define BRANCHES       4 /* for two bits */

struct entry {
    struct entry *branches[BRANCHES];
    uint64_t expires_ms; /* 0: never */
    uint64_t hash;
    uint32_t key_length;
    uint32_t value_length;
    char bytes[]; /* the key, then the value */
};

/* There is no end: keys go with the process. To free each of them would only make that slow. */
int keys_init(struct shard *shard)
{
    return getrandom(shard->seed, sizeof(shard->seed), 0) < 0 ? -errno : 0;
}

/* Nobody who does not know the seed can choose keys that collide. */
static uint64_t hash_of(const struct shard *shard, struct slice key)
{
    uint64_t hash = shard->seed[0] ^ key.length;

    for (size_t at = 0; at < key.length; at += 8) {
        unsigned __int128 product;
        uint64_t word = 0;

        memcpy(&word, key.at + at, MIN(key.length - at, 8));
        product = (unsigned __int128)(hash ^ word) * (shard->seed[1] | 1);
        hash = (uint64_t)(product ^ product >> 64);
    }
    return hash;
}

static struct slice value_of(const struct entry *entry)
{
    return (struct slice){entry->bytes + entry->key_length, entry->value_length};
}

static void set_expiry(struct shard *shard, struct entry *entry, uint64_t expires_ms)
{
    shard->mortal_count += (expires_ms != 0) - (entry->expires_ms != 0);
    entry->expires_ms = expires_ms;
}

static uint64_t now_ms(void)
{
    return torc_round_time() / TORC_MILLISECOND;
}

static bool has_expired(const struct entry *entry)
{
    return entry->expires_ms != 0 && entry->expires_ms <= now_ms();
}

/* Take an entry out. Any of those behind it that has no branches itself may take its place. */
static void drop(struct shard *shard, struct entry **link)
{
    struct entry *dropped = *link;
    struct entry **last = link;
    struct entry *heir;

    for (unsigned i = 0; i < BRANCHES; i++) {
        for (; (*last)->branches[i] != NULL; i = 0)
            last = &(*last)->branches[i];
    }
    heir = *last;
    *last = NULL;
    if (heir != dropped) {
        memcpy(heir->branches, dropped->branches, sizeof(heir->branches));
        *link = heir;
    }
    set_expiry(shard, dropped, 0);
    shard->key_count--;
    free(dropped);
}

/* What points to the key's entry; to NULL, where it belongs, if there is none. */
static struct entry **find(struct shard *shard, struct slice key)
{
    const uint64_t hash = hash_of(shard, key);
    struct entry **link = &shard->keys;

    for (uint64_t bits = hash; *link != NULL; bits /= BRANCHES) {
        if ((*link)->hash == hash && (*link)->key_length == key.length &&
            memcmp((*link)->bytes, key.at, key.length) == 0)
            break;
        link = &(*link)->branches[bits % BRANCHES];
    }
    if (*link == NULL || !has_expired(*link))
        return link;
    drop(shard, link);
    return find(shard, key); /* Now there is none. */
}

/* Give the key that is asked for, whose place this is, a value. */
static void put(struct call *call, struct entry **link, struct slice value, uint64_t expires_ms)
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
        shard->key_count++;
    }
    *link = entry;
    entry->value_length = (uint32_t)value.length;
    memcpy(entry->bytes + key.length, value.at, value.length);
    set_expiry(shard, entry, expires_ms);
}

/* Go to an end of the tree, each time to another, and take out what has expired on the way. */
static void walk(struct shard *shard)
{
    struct entry **link = &shard->keys;

    for (uint64_t path = shard->walks++; *link != NULL;) {
        if (has_expired(*link)) {
            drop(shard, link);
        } else {
            link = &(*link)->branches[path % BRANCHES];
            path /= BRANCHES;
        }
    }
}

int keys_tend(void *arg)
{
    struct shard *shard = arg;
    int result = 0;

    torc_fiber_set_name("chores");
    while (result == 0) {
        const size_t before = shard->key_count;

        for (unsigned i = 0; i < WALKS && shard->mortal_count > 0; i++)
            walk(shard);
        result = before - shard->key_count > GONE_AGAIN ? torc_yield() : torc_sleep(TEND_INTERVAL);
    }
    return result;
}

/* ---- Commands ---- */

const char *run_get(struct call *call)
{
    const struct entry *entry = *find(call->shard, call->args[1]);

    return entry != NULL ? reply_bulk(call->reply, value_of(entry)) : reply_null(call->client);
}

const char *run_exists(struct call *call)
{
    call->number = *find(call->shard, call->args[1]) != NULL;
    return NULL;
}

const char *run_delete(struct call *call)
{
    struct entry **link = find(call->shard, call->args[1]);

    call->number = *link != NULL;
    if (*link != NULL)
        drop(call->shard, link);
    return NULL;
}

/* When a key expires that is to live so long. Returns NULL, or what is wrong with that. */
static const char *read_expiry(struct slice text, int64_t unit_ms, int64_t least, uint64_t *ret_ms)
{
    int64_t number;

    if (torc_integer_parse(text.at, text.length, &number) < 0)
        return NOT_AN_INTEGER;
    if (number < least || __builtin_mul_overflow(number, unit_ms, &number) ||
        __builtin_add_overflow(number, (int64_t)now_ms(), &number))
        return "invalid expire time in '%s' command";
    *ret_ms = (uint64_t)MAX(number, (int64_t)now_ms());
    return NULL;
}

/* SET, and one of MSET. */
const char *run_set(struct call *call)
{
    const struct slice *life = NULL;
    int64_t unit_ms = 0; /* of the life */
    bool only_new = false;
    bool only_old = false;
    uint64_t expires_ms = 0;
    struct entry **link;

    for (unsigned i = 3; i < call->count; i++) {
        const struct slice option = call->args[i];
        const int64_t unit = slice_is(option, "EX") ? 1000 : slice_is(option, "PX") ? 1 : 0;

        if (slice_is(option, "NX") && !only_old) {
            only_new = true;
        } else if (slice_is(option, "XX") && !only_new) {
            only_old = true;
        } else if (unit != 0 && (unit_ms == 0 || unit_ms == unit) && i + 1 < call->count) {
            unit_ms = unit;
            life = &call->args[++i];
        } else {
            return "syntax error";
        }
    }
    if (life != NULL) {
        const char *error = read_expiry(*life, unit_ms, 1, &expires_ms);

        if (error != NULL)
            return error;
    }
    link = find(call->shard, call->args[1]);
    if (*link != NULL ? only_new : only_old)
        return reply_null(call->client);
    put(call, link, call->args[2], expires_ms);
    return "+OK";
}

const char *run_increment(struct call *call)
{
    struct entry **link = find(call->shard, call->args[1]);
    const struct slice value = *link != NULL ? value_of(*link) : slice_of("0");
    char digits[TORC_INTEGER_TEXT_SIZE];
    int64_t number;

    if (torc_integer_parse(value.at, value.length, &number) < 0)
        return NOT_AN_INTEGER;
    if (__builtin_add_overflow(number, 1, &number))
        return "increment or decrement would overflow";
    put(call, link, (struct slice){digits, torc_integer_format(number, digits)},
        *link != NULL ? (*link)->expires_ms : 0);
    return reply_number(call->reply, ':', number);
}

const char *run_expire(struct call *call)
{
    struct entry *entry = *find(call->shard, call->args[1]);
    uint64_t expires_ms;
    const char *error = read_expiry(call->args[2], 1000, INT64_MIN, &expires_ms);

    if (error == NULL && entry != NULL)
        set_expiry(call->shard, entry, expires_ms); /* Which may be over already. */
    return error != NULL ? error : reply_number(call->reply, ':', entry != NULL);
}

const char *run_ttl(struct call *call)
{
    const struct entry *entry = *find(call->shard, call->args[1]);
    int64_t seconds = entry == NULL ? -2 : -1;

    if (entry != NULL && entry->expires_ms != 0)
        seconds = (int64_t)((entry->expires_ms - now_ms() + 500) / 1000);
    return reply_number(call->reply, ':', seconds);
}
