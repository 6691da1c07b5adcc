/* SPDX-License-Identifier: MIT */
/*
 * keys.c - commands on keys. A key that has expired goes when somebody asks for it, and if nobody
 * does, when the fiber that walks through all of them comes along.
 */
#include "kv.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEND_INTERVAL (100 * TORC_MILLISECOND)
#define BUCKETS       1024u /* at a time; then others run */
#define GONE_AGAIN    256u  /* so many that had expired: there are probably more */

int64_t now_ms(void)
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

/*
 * Write `tail` behind the first `keep` bytes of the value of `entry`, or of a new one if that is
 * NULL. Returns the entry; NULL without memory, and then nothing has changed.
 */
static struct entry *put(struct call *call, struct entry *entry, size_t keep, struct slice tail)
{
    const size_t length = keep + tail.length;
    const size_t room = keep > 0 ? 2 * length : length; /* What grows once does so again. */
    struct entry *to = entry != NULL ? entry : table_add(&call->shard->keys, arg(call, 1));

    if (to != NULL && (to->value == NULL || length > to->value_room ||
                       (keep == 0 && to->value_room > 2 * length + 64))) {
        char *value = realloc(to->value, room + 1);

        if (value != NULL) {
            to->value = value;
            to->value_room = (uint32_t)room;
        } else {
            if (entry == NULL)
                drop(call->shard, to);
            to = NULL;
        }
    }
    call->reply->failed |= to == NULL;
    if (to == NULL)
        return NULL;
    memcpy(to->value + keep, tail.at, tail.length);
    to->value_length = (uint32_t)length;
    return to;
}

static const char *answer(const struct call *call, int64_t number)
{
    reply_number(call->reply, ':', number);
    return NULL;
}

static const char *answer_value(const struct call *call, const struct entry *entry)
{
    if (entry == NULL) {
        reply_null(call->reply);
    } else {
        reply_bulk(call->reply, entry->value, entry->value_length);
    }
    return NULL;
}

const char *run_get(struct call *call)
{
    return answer_value(call, find(call));
}

const char *run_length(struct call *call)
{
    const struct entry *entry = find(call);

    return answer(call, entry != NULL ? entry->value_length : 0);
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

const char *run_count(struct call *call)
{
    call->number += (int64_t)call->shard->keys.count;
    return NULL;
}

/* ---- Values ---- */

/* Which of the words the argument is, as a bit; 0 if it is none. */
static unsigned word_at(const struct call *call, unsigned index, const char *const words[])
{
    for (unsigned bit = 1; *words != NULL; words++, bit *= 2) {
        if (arg_is(call, index, *words))
            return bit;
    }
    return 0;
}

const char *run_set(struct call *call)
{
    static const char *const words[] = {"NX", "XX",   "GET",  "KEEPTTL", "EX",
                                        "PX", "EXAT", "PXAT", NULL};
    enum {
        NX = 1,
        XX = 2,
        GET = 4,
        KEEPTTL = 8,
        EX = 16,
        PX = 32,
        EXAT = 64,
        PXAT = 128
    };
    const unsigned units = EX | PX | EXAT | PXAT;
    unsigned options = 0;
    unsigned unit_at = 0;
    int64_t expires_ms = 0;
    struct entry *entry;

    for (unsigned i = 3; i < call->count; i++) {
        const unsigned option = word_at(call, i, words);

        options |= option;
        if (option & units)
            unit_at = ++i;
        if (option == 0 || i == call->count)
            return "syntax error";
    }
    if ((options & NX && options & XX) || __builtin_popcount(options & (units | KEEPTTL)) > 1)
        return "syntax error";
    if (unit_at > 0 && !parse_integer(arg(call, unit_at), &expires_ms))
        return NOT_AN_INTEGER;
    if (unit_at > 0 &&
        (expires_ms <= 0 ||
         (options & (EX | EXAT) && __builtin_mul_overflow(expires_ms, 1000, &expires_ms)) ||
         (options & (EX | PX) && __builtin_add_overflow(expires_ms, now_ms(), &expires_ms))))
        return "invalid expire time in 'set' command";
    entry = find(call);
    if (options & GET)
        (void)answer_value(call, entry);
    if ((options & NX && entry != NULL) || (options & XX && entry == NULL))
        return options & GET ? NULL : answer_value(call, NULL);
    entry = put(call, entry, 0, arg(call, 2));
    if (entry != NULL && !(options & KEEPTTL))
        set_expiry(call->shard, entry, expires_ms);
    return options & GET ? NULL : "+OK";
}

/* One of MSET. */
const char *run_set_one(struct call *call)
{
    struct entry *entry = put(call, find(call), 0, arg(call, 2));

    if (entry != NULL)
        set_expiry(call->shard, entry, 0);
    return "+OK";
}

/* INCR, DECR, INCRBY, DECRBY. */
const char *run_add(struct call *call)
{
    struct entry *entry = find(call);
    char digits[24];
    int64_t number = 0;
    int64_t by = 1;
    int length;

    if (call->count > 2 && !parse_integer(arg(call, 2), &by))
        return NOT_AN_INTEGER;
    if (by == INT64_MIN && call->command->number < 0)
        return "decrement would overflow";
    if (entry != NULL && !parse_integer((struct slice){entry->value, entry->value_length}, &number))
        return NOT_AN_INTEGER;
    if (__builtin_add_overflow(number, by * call->command->number, &number))
        return "increment or decrement would overflow";
    length = snprintf(digits, sizeof(digits), "%" PRId64, number);
    (void)put(call, entry, 0, (struct slice){digits, (size_t)length});
    return answer(call, number);
}

const char *run_append(struct call *call)
{
    struct entry *entry = find(call);
    const size_t before = entry != NULL ? entry->value_length : 0;
    const size_t length = before + arg(call, 2).length;

    if (length > (size_t)call->shard->server->value_max)
        return "string exceeds maximum allowed size (proto-max-bulk-len)";
    (void)put(call, entry, before, arg(call, 2));
    return answer(call, (int64_t)length);
}

/* ---- How long keys live ---- */

/* EXPIRE, PEXPIRE. For its conditions, never is later than any time. */
const char *run_expire(struct call *call)
{
    static const char *const words[] = {"NX", "XX", "GT", "LT", NULL};
    enum {
        NX = 1,
        XX = 2,
        GT = 4,
        LT = 8
    };
    unsigned conditions = 0;
    struct entry *entry;
    int64_t before;
    int64_t when;

    for (unsigned i = 3; i < call->count; i++) {
        const unsigned condition = word_at(call, i, words);

        if (condition == 0)
            return reply_error(call->reply, "Unsupported option %.*s", (int)arg(call, i).length,
                               arg(call, i).at);
        conditions |= condition;
    }
    if (conditions & NX && conditions != NX)
        return "NX and XX, GT or LT options at the same time are not compatible";
    if (conditions & GT && conditions & LT)
        return "GT and LT options at the same time are not compatible";
    if (!parse_integer(arg(call, 2), &when))
        return NOT_AN_INTEGER;
    if (__builtin_mul_overflow(when, call->command->number, &when) ||
        __builtin_add_overflow(when, now_ms(), &when))
        return reply_error(call->reply, "invalid expire time in '%s' command", call->command->name);
    entry = find(call);
    before = entry != NULL ? entry->expires_ms : 0;
    if (entry == NULL || (conditions & NX && before != 0) || (conditions & XX && before == 0) ||
        (conditions & GT && (before == 0 || when <= before)) ||
        (conditions & LT && before != 0 && when >= before))
        return answer(call, 0);
    set_expiry(call->shard, entry, when);
    if (when <= now_ms())
        drop(call->shard, entry);
    return answer(call, 1);
}

const char *run_ttl(struct call *call)
{
    const struct entry *entry = find(call);
    const int unit_ms = call->command->number;

    if (entry == NULL || entry->expires_ms == 0)
        return answer(call, entry == NULL ? -2 : -1);
    return answer(call, (entry->expires_ms - now_ms() + unit_ms / 2) / unit_ms);
}

const char *run_persist(struct call *call)
{
    struct entry *entry = find(call);
    const bool was_mortal = entry != NULL && entry->expires_ms != 0;

    if (was_mortal)
        set_expiry(call->shard, entry, 0);
    return answer(call, was_mortal);
}

/* Look at some keys. Whether so many had expired that it should go on. */
static bool sweep(struct shard *shard)
{
    const int64_t now = now_ms();
    const uint64_t before = shard->expired;

    for (unsigned i = 0; i < BUCKETS && shard->mortal_count > 0; i++) {
        struct entry *next;

        shard->cursor = shard->cursor < shard->keys.size ? shard->cursor : 0;
        for (struct entry *entry = shard->keys.buckets[shard->cursor++]; entry; entry = next) {
            next = entry->next;
            if (entry->expires_ms == 0 || now <= entry->expires_ms)
                continue;
            drop(shard, entry);
            shard->expired++;
        }
    }
    return shard->expired - before >= GONE_AGAIN;
}

int keys_tend(void *arg)
{
    int result = 0;

    torc_fiber_set_name("chores");
    while (result == 0)
        result = sweep(arg) ? torc_yield() : torc_sleep(TEND_INTERVAL);
    return result;
}

const char *run_flush(struct call *call)
{
    if (call->count > 2 ||
        (call->count == 2 && !arg_is(call, 1, "ASYNC") && !arg_is(call, 1, "SYNC")))
        return "syntax error";
    table_clear(&call->shard->keys);
    call->shard->mortal_count = 0;
    return "+OK";
}
