/* SPDX-License-Identifier: MIT */
/*
 * call_all_test.c - what is asked of several shards, or of all.
 */
#include "harness/run.h"
#include <errno.h>
#include <stdatomic.h>
#include <torc/torc.h>

static atomic_uint visits[3];
static atomic_uint visit_order;

static int visit(void *arg)
{
    const unsigned number = atomic_fetch_add(&visit_order, 1);

    atomic_store(&visits[torc_shard_index()], number + 1);
    torc_yield();
    return arg != NULL && torc_shard_index() == 1 ? -EIO : 0;
}

static int visit_all(void *arg)
{
    EXPECT_INT(torc_shard_call_each(visit, NULL), ==, 0);
    for (unsigned i = 0; i < 3; i++)
        EXPECT_UINT(atomic_load(&visits[i]), ==, i + 1); /* In their order. */
    EXPECT_INT(torc_shard_call_all(visit, NULL), ==, 0);
    for (unsigned i = 0; i < 3; i++)
        EXPECT_UINT(atomic_load(&visits[i]), >, 3);
    EXPECT_UINT(atomic_load(&visit_order), ==, 6);
    EXPECT_INT(torc_shard_call_all(visit, &arg), ==, -EIO);
    EXPECT_UINT(atomic_load(&visit_order), ==, 9); /* The failure stopped nobody. */
    EXPECT_INT(torc_shard_call_each(visit, &arg), ==, -EIO);
    EXPECT_UINT(atomic_load(&visit_order), ==, 11); /* The third was not called any more. */
    return 0;
}

TEST(every_shard_can_be_called_one_by_one_or_all_at_once)
{
    NEEDS_THREADS();
    harness_act_on(3, visit_all, NULL);
}

static int note_visit(void *arg)
{
    *(unsigned *)arg += torc_shard_index() + 1;
    return *(unsigned *)arg > 100 ? -EIO : 0;
}

static int ask_some(void *arg)
{
    unsigned noted[3] = {0};
    void *args[3] = {NULL};

    (void)arg;
    for (unsigned set = 0; set < 8; set++) { /* Each of which is in four sets. */
        for (unsigned i = 0; i < 3; i++)
            args[i] = set >> i & 1 ? &noted[i] : NULL;
        EXPECT_INT(torc_shard_ask_all(note_visit, args), ==, 0);
    }
    for (unsigned i = 0; i < 3; i++)
        EXPECT_UINT(noted[i], ==, 4 * (i + 1));
    noted[1] = 100;
    EXPECT_INT(torc_shard_ask_all(note_visit, args), ==, -EIO);
    EXPECT_UINT(noted[0], ==, 5); /* The failure stopped nobody. */
    EXPECT_UINT(noted[2], ==, 15);
    return 0;
}

TEST(several_shards_can_be_asked_at_once)
{
    NEEDS_THREADS();
    harness_act_on(3, ask_some, NULL);
}

struct last_word {
    struct torc_token *token;
    atomic_uint waiting; /* for those who have not been asked yet */
};

/* The last one cancels who asks, and is heard before its answer. */
static int cancel_as_the_last(void *arg)
{
    struct last_word *last = arg;

    if (atomic_fetch_sub(&last->waiting, 1) == 1)
        torc_token_cancel(last->token);
    return 0;
}

static void be_cancelled_by(struct last_word *last, unsigned asked, bool by_calls)
{
    void *args[3] = {NULL, last, asked > 1 ? last : NULL};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_scope_token(&scope, &last->token), ==, 0);
    atomic_init(&last->waiting, asked);
    if (by_calls)
        EXPECT_INT(torc_shard_call_all(cancel_as_the_last, last), ==, 0);
    else
        EXPECT_INT(torc_shard_ask_all(cancel_as_the_last, args), ==, 0);
    (void)torc_sleep(TORC_FOREVER);
    EXPECT_INT(torc_shard_ask_all(cancel_as_the_last, args), ==, -ECANCELED);
    EXPECT_UINT(atomic_load(&last->waiting), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    torc_token_release(last->token);
}

static int be_cancelled_at_last(void *arg)
{
    struct last_word last;

    (void)arg;
    be_cancelled_by(&last, 1, false);
    be_cancelled_by(&last, 2, false);
    be_cancelled_by(&last, 3, true);
    return 0;
}

TEST(a_cancel_does_not_hide_that_all_shards_have_done_what_they_were_asked)
{
    NEEDS_THREADS();
    harness_act_on(3, be_cancelled_at_last, NULL);
}
