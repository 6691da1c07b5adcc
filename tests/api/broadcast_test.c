/* SPDX-License-Identifier: MIT */
/*
 * broadcast_test.c - every value for every reader, and the latest value for all.
 */
#include "harness/run.h"
#include <errno.h>
#include <torc/torc.h>

/* ---- Broadcast ---- */

struct reader {
    struct torc_broadcast_reader reader;
    unsigned count;
    unsigned sum;
    unsigned missed;
    int end;
};

static int read_all(void *arg)
{
    struct reader *self = arg;
    unsigned value;
    int result;

    while ((result = torc_broadcast_receive(&self->reader, &value)) >= 0) {
        self->count++;
        self->sum += value;
        self->missed += (unsigned)result;
    }
    self->end = result;
    return 0;
}

FIBER_TEST(every_reader_gets_every_value)
{
    unsigned slots[4];
    struct torc_broadcast broadcast;
    struct reader readers[3] = {0};
    struct torc_scope scope;

    torc_broadcast_init(&broadcast, slots, sizeof(slots[0]), 4);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 3; i++) {
        torc_broadcast_subscribe(&broadcast, &readers[i].reader);
        harness_spawn(&scope, read_all, &readers[i]);
    }
    for (unsigned i = 1; i <= 100; i++) {
        EXPECT_INT(torc_broadcast_send(&broadcast, &i), ==, 0);
        if (i % 4 == 0)
            torc_yield();
    }
    torc_broadcast_close(&broadcast);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (unsigned i = 0; i < 3; i++) {
        EXPECT_UINT(readers[i].count, ==, 100);
        EXPECT_UINT(readers[i].sum, ==, 5050);
        EXPECT_UINT(readers[i].missed, ==, 0);
        EXPECT_INT(readers[i].end, ==, -EPIPE);
    }
    torc_broadcast_finish(&broadcast);
}

FIBER_TEST(a_reader_that_lags_behind_is_told_how_much_it_has_missed)
{
    unsigned slots[3];
    struct torc_broadcast broadcast;
    struct torc_broadcast_reader reader;
    struct torc_broadcast_reader late;
    unsigned value;

    torc_broadcast_init(&broadcast, slots, sizeof(slots[0]), 3);
    torc_broadcast_subscribe(&broadcast, &reader);
    EXPECT_INT(torc_broadcast_try_receive(&reader, &value), ==, -EAGAIN);
    for (unsigned i = 0; i < 10; i++)
        EXPECT_INT(torc_broadcast_send(&broadcast, &i), ==, 0);
    torc_broadcast_subscribe(&broadcast, &late);
    EXPECT_INT(torc_broadcast_receive(&reader, &value), ==, 7);
    EXPECT_UINT(value, ==, 7);
    EXPECT_INT(torc_broadcast_receive(&reader, &value), ==, 0);
    EXPECT_UINT(value, ==, 8);
    torc_broadcast_close(&broadcast);
    EXPECT_INT(torc_broadcast_send(&broadcast, &value), ==, -EPIPE);
    EXPECT_INT(torc_broadcast_receive(&reader, &value), ==, 0);
    EXPECT_UINT(value, ==, 9);
    EXPECT_INT(torc_broadcast_receive(&reader, &value), ==, -EPIPE);
    EXPECT_INT(torc_broadcast_try_receive(&late, &value), ==, -EPIPE);
}

FIBER_TEST(a_reader_that_waits_gets_the_next_value_however_many_follow)
{
    unsigned slots[1];
    struct torc_broadcast broadcast;
    struct reader reader = {0};
    struct torc_scope scope;

    torc_broadcast_init(&broadcast, slots, sizeof(slots[0]), 1);
    torc_broadcast_subscribe(&broadcast, &reader.reader);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, read_all, &reader);
    torc_yield();
    for (unsigned i = 1; i <= 3; i++)
        EXPECT_INT(torc_broadcast_send(&broadcast, &i), ==, 0);
    torc_yield();
    EXPECT_UINT(reader.count, ==, 2);
    EXPECT_UINT(reader.sum, ==, 1 + 3);
    EXPECT_UINT(reader.missed, ==, 1);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(reader.end, ==, -ECANCELED);
    torc_broadcast_finish(&broadcast);
}

/* ---- Latest ---- */

struct watcher {
    struct torc_latest *latest;
    uint64_t version;
    unsigned value;
    unsigned changes;
    int end;
};

static int watch_all(void *arg)
{
    struct watcher *self = arg;

    while ((self->end = torc_latest_wait(self->latest, &self->version, &self->value)) == 0)
        self->changes++;
    return 0;
}

FIBER_TEST(the_latest_value_is_what_is_seen)
{
    struct torc_latest latest;
    unsigned slot = 1;
    struct watcher watcher = {.latest = &latest};
    struct torc_scope scope;
    unsigned value = 0;

    torc_latest_init(&latest, &slot, sizeof(slot));
    EXPECT_UINT(torc_latest_get(&latest, &value), ==, 1);
    EXPECT_UINT(value, ==, 1);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, watch_all, &watcher);
    torc_yield();
    EXPECT_UINT(watcher.changes, ==, 1); /* Version 0 was before any value. */
    for (unsigned i = 2; i <= 5; i++)
        EXPECT_INT(torc_latest_set(&latest, &i), ==, 0);
    harness_yield(2);
    EXPECT_UINT(watcher.changes, ==, 3); /* The one it waited for, and the last. */
    EXPECT_UINT(watcher.value, ==, 5);
    EXPECT_UINT(watcher.version, ==, 5);
    torc_latest_close(&latest);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(watcher.end, ==, -EPIPE);
    EXPECT_INT(torc_latest_set(&latest, &value), ==, -EPIPE);
    EXPECT_UINT(torc_latest_get(&latest, &value), ==, 5);
    EXPECT_UINT(value, ==, 5);
    torc_latest_finish(&latest);
}

FIBER_TEST(a_cancelled_watcher_has_seen_nothing)
{
    struct torc_latest latest;
    unsigned slot = 1;
    struct watcher watcher = {.latest = &latest, .version = 1, .value = 99};
    struct torc_scope scope;

    torc_latest_init(&latest, &slot, sizeof(slot));
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, watch_all, &watcher);
    torc_yield();
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(watcher.end, ==, -ECANCELED);
    EXPECT_UINT(watcher.value, ==, 99);
    EXPECT_UINT(watcher.version, ==, 1);
    torc_latest_finish(&latest);
}
