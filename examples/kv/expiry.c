/* SPDX-License-Identifier: MIT */
/*
 * expiry.c - commands about how long keys live.
 */
#include "kv.h"
#include <stdio.h>

struct conditions {
    bool none;    /* NX: only if it does not expire yet */
    bool some;    /* XX: only if it does */
    bool later;   /* GT: only if it will do so later than now */
    bool earlier; /* LT */
};

static bool read_conditions(struct conditions *conditions, const struct args *args,
                            struct reply *reply)
{
    for (unsigned i = 3; i < args->count; i++) {
        if (argument_is(args, i, "NX")) {
            conditions->none = true;
        } else if (argument_is(args, i, "XX")) {
            conditions->some = true;
        } else if (argument_is(args, i, "GT")) {
            conditions->later = true;
        } else if (argument_is(args, i, "LT")) {
            conditions->earlier = true;
        } else {
            const struct slice word = arg(args, i);

            reply_error(reply, "Unsupported option %.*s", (int)word.length, word.at);
            return false;
        }
    }
    if (conditions->none && (conditions->some || conditions->later || conditions->earlier)) {
        reply_error(reply, "NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (conditions->later && conditions->earlier) {
        reply_error(reply, "GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* Never is later than any time. */
static bool holds(const struct conditions *conditions, int64_t before_ms, int64_t after_ms)
{
    if (conditions->none && before_ms != 0)
        return false;
    if (conditions->some && before_ms == 0)
        return false;
    if (conditions->later && (before_ms == 0 || after_ms <= before_ms))
        return false;
    return !(conditions->earlier && before_ms != 0 && after_ms >= before_ms);
}

static void expire(struct store *store, const struct args *args, struct reply *reply,
                   int64_t unit_ms)
{
    struct conditions conditions = {0};
    struct entry *entry;
    int64_t when;

    if (!read_conditions(&conditions, args, reply) || !argument_integer(args, 2, reply, &when))
        return;
    if (__builtin_mul_overflow(when, unit_ms, &when) ||
        __builtin_add_overflow(when, now_ms(), &when)) {
        reply_error(reply, "invalid expire time in '%s' command",
                    unit_ms == 1 ? "pexpire" : "expire");
        return;
    }
    entry = store_find(store, arg(args, 1));
    if (entry == NULL || !holds(&conditions, entry->expires_ms, when)) {
        reply_integer(reply, 0);
        return;
    }
    if (when <= now_ms()) {
        (void)store_delete(store, arg(args, 1));
    } else {
        store_set_expiry(store, entry, when);
    }
    reply_integer(reply, 1);
}

void run_expire(struct shard *shard, const struct args *args, struct reply *reply)
{
    expire(&shard->store, args, reply, 1000);
}

void run_expire_ms(struct shard *shard, const struct args *args, struct reply *reply)
{
    expire(&shard->store, args, reply, 1);
}

static void reply_ttl(struct store *store, struct slice key, struct reply *reply, int64_t unit_ms)
{
    const struct entry *entry = store_find(store, key);
    int64_t rest;

    if (entry == NULL || entry->expires_ms == 0) {
        reply_integer(reply, entry == NULL ? -2 : -1);
        return;
    }
    rest = entry->expires_ms - now_ms();
    reply_integer(reply, rest > 0 ? (rest + unit_ms / 2) / unit_ms : 0);
}

void run_ttl(struct shard *shard, const struct args *args, struct reply *reply)
{
    reply_ttl(&shard->store, arg(args, 1), reply, 1000);
}

void run_ttl_ms(struct shard *shard, const struct args *args, struct reply *reply)
{
    reply_ttl(&shard->store, arg(args, 1), reply, 1);
}

void run_persist(struct shard *shard, const struct args *args, struct reply *reply)
{
    struct entry *entry = store_find(&shard->store, arg(args, 1));
    const bool was_mortal = entry != NULL && entry->expires_ms != 0;

    if (was_mortal)
        store_set_expiry(&shard->store, entry, 0);
    reply_integer(reply, was_mortal);
}
