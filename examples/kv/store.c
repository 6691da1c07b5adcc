/* SPDX-License-Identifier: MIT */
/*
 * store.c - the keys of a shard. A key that has expired goes when somebody asks for it, and if
 * nobody does, when the fiber that walks through all of them comes along.
 */
#include "kv.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEND_INTERVAL (100 * TORC_MILLISECOND)
#define SWEEP_BUCKETS 1024u /* at a time; then others run */
#define SWEEP_AGAIN   256u  /* so many that had expired: there are probably more */
#define STEPS         256u

int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool has_expired(const struct entry *entry, const void *now)
{
    return entry->expires_ms != 0 && *(const int64_t *)now > entry->expires_ms;
}

static void free_entry(struct entry *entry)
{
    text_release(entry->value);
    free(entry);
}

static void take_out(struct store *store, struct entry **link)
{
    struct entry *entry = dict_take(&store->keys, link);

    store->mortal_count -= entry->expires_ms != 0;
    free_entry(entry);
}

/* What points to the entry; NULL if there is none any more. */
static struct entry **find(struct store *store, struct slice key)
{
    struct entry **link = dict_find(&store->keys, key);

    if (link != NULL && (*link)->expires_ms != 0) {
        const int64_t now = now_ms();

        if (has_expired(*link, &now)) {
            take_out(store, link);
            store->expired++;
            return NULL;
        }
    }
    return link;
}

struct entry *store_find(struct store *store, struct slice key)
{
    struct entry **link = find(store, key);

    return link != NULL ? *link : NULL;
}

bool store_delete(struct store *store, struct slice key)
{
    struct entry **link = find(store, key);

    if (link != NULL)
        take_out(store, link);
    return link != NULL;
}

/* Whether the text is nobody else's, and fits without waste. */
static bool can_reuse(struct text *text, size_t length)
{
    return text != NULL && length <= text->room && text->room <= 2 * length + 64 &&
           atomic_load_explicit(&text->references, memory_order_acquire) == 1;
}

struct entry *store_set(struct store *store, struct slice key, struct slice value)
{
    struct entry *entry = store_find(store, key);
    struct text *text = entry != NULL ? entry->value : NULL;

    if (!can_reuse(text, value.length)) {
        text = text_create(value.length);
        if (text == NULL)
            return NULL;
        if (entry == NULL)
            entry = dict_add(&store->keys, key);
        if (entry == NULL) {
            text_release(text);
            return NULL;
        }
        text_release(entry->value);
        entry->value = text;
    }
    text_set(text, value);
    return entry;
}

void store_set_expiry(struct store *store, struct entry *entry, int64_t expires_ms)
{
    store->mortal_count -= entry->expires_ms != 0;
    store->mortal_count += expires_ms != 0;
    entry->expires_ms = expires_ms;
}

/* ---- Chores ---- */

static bool always(const struct entry *entry, const void *arg)
{
    (void)entry;
    (void)arg;
    return true;
}

/* Free some of what FLUSHALL left. Whether there is more. */
static bool free_dropped(struct store *store, size_t buckets)
{
    if (store->dropped.count > 0)
        (void)dict_sweep(&store->dropped, &store->dropped_cursor, buckets, always, NULL,
                         free_entry);
    if (store->dropped.count > 0)
        return true;
    dict_finish(&store->dropped);
    return false;
}

void store_clear(struct store *store)
{
    const struct dict keys = store->keys;

    while (free_dropped(store, SIZE_MAX)) {
    }
    store->dropped = keys;
    store->dropped_cursor = store->sweep_cursor = 0;
    store->keys = (struct dict){.seed = {keys.seed[0], keys.seed[1]}};
    store->mortal_count = 0;
}

void store_finish(struct store *store)
{
    store_clear(store);
    store_clear(store);
}

/* Look at some keys. Whether so many had expired that it should go on. */
static bool sweep(struct store *store)
{
    const int64_t now = now_ms();
    size_t gone;

    if (store->mortal_count == 0)
        return false;
    gone = dict_sweep(&store->keys, &store->sweep_cursor, SWEEP_BUCKETS, has_expired, &now,
                      free_entry);
    store->mortal_count -= gone;
    store->expired += gone;
    return gone >= SWEEP_AGAIN;
}

int store_tend(void *arg)
{
    struct store *store = arg;
    int result = 0;

    torc_fiber_set_name("chores");
    while (result == 0) {
        bool again = sweep(store);

        again |= free_dropped(store, SWEEP_BUCKETS);
        for (unsigned i = 0; i < STEPS; i++)
            dict_tend(&store->keys);
        result = again ? torc_yield() : torc_sleep(TEND_INTERVAL);
    }
    return result;
}
