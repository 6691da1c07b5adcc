/* SPDX-License-Identifier: MIT */
/*
 * strings.c - commands on keys and their values.
 */
#include "kv.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct text *value_of(struct store *store, struct slice key)
{
    const struct entry *entry = store_find(store, key);

    return entry != NULL ? entry->value : NULL;
}

void run_get(struct shard *shard, const struct args *args, struct reply *reply)
{
    reply_text(reply, value_of(&shard->store, arg(args, 1)));
}

void run_length(struct shard *shard, const struct args *args, struct reply *reply)
{
    const struct text *text = value_of(&shard->store, arg(args, 1));

    reply_integer(reply, text != NULL ? text->length : 0);
}

void run_delete(struct shard *shard, const struct args *args, struct reply *reply)
{
    reply->number += store_delete(&shard->store, arg(args, 1));
}

void run_exists(struct shard *shard, const struct args *args, struct reply *reply)
{
    reply->number += store_find(&shard->store, arg(args, 1)) != NULL;
}

void run_count(struct shard *shard, const struct args *args, struct reply *reply)
{
    (void)args;
    reply->number += (int64_t)shard->store.keys.count;
}

/* ---- SET ---- */

struct set_options {
    bool only_new;
    bool only_old;
    bool get;
    bool keep_ttl;
    const char *unit;   /* EX, PX, EXAT or PXAT; NULL: none */
    unsigned unit_at;   /* the argument with the number */
    int64_t expires_ms; /* 0: never */
};

/* One option at args[*index], which moves on to the last argument of it. False: nonsense. */
static bool read_set_option(struct set_options *options, const struct args *args, unsigned *index)
{
    static const char *const units[] = {"EX", "PX", "EXAT", "PXAT"};

    if (argument_is(args, *index, "NX") && !options->only_old)
        return options->only_new = true;
    if (argument_is(args, *index, "XX") && !options->only_new)
        return options->only_old = true;
    if (argument_is(args, *index, "GET"))
        return options->get = true;
    if (argument_is(args, *index, "KEEPTTL") && options->unit == NULL)
        return options->keep_ttl = true;
    for (unsigned i = 0; i < 4; i++) {
        if (!argument_is(args, *index, units[i]))
            continue;
        if (options->keep_ttl || (options->unit != NULL && options->unit != units[i]) ||
            *index + 1 == args->count)
            return false;
        options->unit = units[i];
        options->unit_at = ++*index;
        return true;
    }
    return false;
}

/* When it shall expire. False if that makes no sense, which is said. */
static bool read_set_expiry(struct set_options *options, const struct args *args,
                            struct reply *reply)
{
    const bool in_seconds = options->unit[0] == 'E';
    const bool is_relative = options->unit[2] == '\0';
    int64_t number;

    if (!argument_integer(args, options->unit_at, reply, &number))
        return false;
    if (number <= 0 || (in_seconds && __builtin_mul_overflow(number, 1000, &number)) ||
        (is_relative && __builtin_add_overflow(number, now_ms(), &number))) {
        reply_error(reply, "invalid expire time in 'set' command");
        return false;
    }
    options->expires_ms = number;
    return true;
}

static bool read_set_options(struct set_options *options, const struct args *args,
                             struct reply *reply)
{
    for (unsigned i = 3; i < args->count; i++) {
        if (!read_set_option(options, args, &i)) {
            reply_error(reply, "syntax error");
            return false;
        }
    }
    return options->unit == NULL || read_set_expiry(options, args, reply);
}

void run_set(struct shard *shard, const struct args *args, struct reply *reply)
{
    struct store *store = &shard->store;
    struct set_options options = {0};
    struct entry *entry;

    if (args->count > 3 && !read_set_options(&options, args, reply))
        return;
    if (options.get || options.only_new || options.only_old) {
        entry = store_find(store, arg(args, 1));
        if (options.get)
            reply_text(reply, entry != NULL ? entry->value : NULL);
        if ((options.only_new && entry != NULL) || (options.only_old && entry == NULL)) {
            if (!options.get)
                reply_null(reply);
            return;
        }
    }
    entry = store_set(store, arg(args, 1), arg(args, 2));
    if (entry == NULL) {
        reply->failed = true;
        return;
    }
    if (!options.keep_ttl)
        store_set_expiry(store, entry, options.expires_ms);
    if (!options.get)
        reply_ok(reply);
}

void run_set_one(struct shard *shard, const struct args *args, struct reply *reply)
{
    struct entry *entry = store_set(&shard->store, arg(args, 1), arg(args, 2));

    if (entry != NULL) {
        store_set_expiry(&shard->store, entry, 0);
    } else {
        reply->failed = true;
    }
}

/* ---- Numbers ---- */

static void add(struct store *store, struct slice key, int64_t by, struct reply *reply)
{
    const struct text *text = value_of(store, key);
    char digits[24];
    int64_t number = 0;
    int length;

    if (text != NULL && !parse_integer((struct slice){text->bytes, text->length}, &number)) {
        reply_error(reply, "value is not an integer or out of range");
        return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        reply_error(reply, "increment or decrement would overflow");
        return;
    }
    length = snprintf(digits, sizeof(digits), "%" PRId64, number);
    if (store_set(store, key, (struct slice){digits, (size_t)length}) == NULL) {
        reply->failed = true;
        return;
    }
    reply_integer(reply, number);
}

void run_increment(struct shard *shard, const struct args *args, struct reply *reply)
{
    add(&shard->store, arg(args, 1), 1, reply);
}

void run_decrement(struct shard *shard, const struct args *args, struct reply *reply)
{
    add(&shard->store, arg(args, 1), -1, reply);
}

void run_increment_by(struct shard *shard, const struct args *args, struct reply *reply)
{
    int64_t by;

    if (argument_integer(args, 2, reply, &by))
        add(&shard->store, arg(args, 1), by, reply);
}

void run_decrement_by(struct shard *shard, const struct args *args, struct reply *reply)
{
    int64_t by;

    if (!argument_integer(args, 2, reply, &by))
        return;
    if (by == INT64_MIN) {
        reply_error(reply, "decrement would overflow");
    } else {
        add(&shard->store, arg(args, 1), -by, reply);
    }
}

/* ---- APPEND ---- */

/* The text of an entry with room for `length` bytes, which twice as long to come; or NULL. */
static struct text *enlarge(struct entry *entry, size_t length)
{
    struct text *text = entry->value;
    struct text *larger;

    if (length <= text->room && atomic_load_explicit(&text->references, memory_order_acquire) == 1)
        return text;
    larger = text_create(2 * length);
    if (larger == NULL)
        return NULL;
    text_set(larger, (struct slice){text->bytes, text->length});
    text_release(text);
    entry->value = larger;
    return larger;
}

void run_append(struct shard *shard, const struct args *args, struct reply *reply)
{
    const struct slice tail = arg(args, 2);
    struct entry *entry = store_find(&shard->store, arg(args, 1));
    struct text *text = entry != NULL ? entry->value : NULL;

    if (text == NULL) {
        reply->failed |= store_set(&shard->store, arg(args, 1), tail) == NULL;
        reply_integer(reply, (int64_t)tail.length);
        return;
    }
    if (text->length + tail.length > shard->server->options.limits.argument) {
        reply_error(reply, "string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    text = enlarge(entry, text->length + tail.length);
    if (text == NULL) {
        reply->failed = true;
        return;
    }
    memcpy(text->bytes + text->length, tail.at, tail.length);
    text->length += (uint32_t)tail.length;
    memcpy(text->bytes + text->length, "\r\n", 2);
    reply_integer(reply, text->length);
}
