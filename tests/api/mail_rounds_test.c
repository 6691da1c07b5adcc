/* SPDX-License-Identifier: MIT */
/*
 * mail_rounds_test.c - many messages at once: they come in their order, and the shard goes on.
 */
#include "harness/run.h"
#include <stdlib.h>
#include <torc/torc.h>

#define FLOOD 10000u

struct numbered {
    struct torc_message message;
    unsigned number;
};

static unsigned messages_run;

static void expect_next(struct torc_message *message)
{
    EXPECT_UINT(((struct numbered *)(void *)message)->number, ==, messages_run);
    messages_run++;
}

/* Messages `first` to `end` - 1, all at once. */
static void post_flood(struct numbered *messages, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        messages[i] = (struct numbered){.message = {.run = expect_next}, .number = i};
        EXPECT_INT(torc_shard_post(torc_shard_index(), &messages[i].message), ==, 0);
    }
}

static struct numbered *begin_flood(void)
{
    struct numbered *messages = malloc(FLOOD * sizeof(*messages));

    EXPECT(messages != NULL);
    messages_run = 0;
    return messages;
}

FIBER_TEST(a_flood_of_messages_leaves_turns_to_fibers)
{
    struct numbered *messages = begin_flood();
    unsigned turns_between = 0;

    post_flood(messages, 0, FLOOD);
    while (messages_run < FLOOD) {
        const unsigned before = messages_run;

        EXPECT_INT(torc_yield(), ==, 0);
        turns_between += messages_run > before;
    }
    EXPECT_UINT(turns_between, >=, FLOOD / 1000);
    free(messages);
}

FIBER_TEST(a_flood_of_messages_leaves_turns_to_timers)
{
    struct numbered *messages = begin_flood();

    post_flood(messages, 0, FLOOD);
    EXPECT_INT(torc_sleep(1), ==, 0);
    EXPECT_UINT(messages_run, <, FLOOD);
    while (messages_run < FLOOD)
        EXPECT_INT(torc_yield(), ==, 0);
    free(messages);
}

FIBER_TEST(messages_that_wait_for_the_next_round_are_not_overtaken)
{
    struct numbered *messages = begin_flood();

    post_flood(messages, 0, FLOOD / 2);
    while (messages_run == 0)
        EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_UINT(messages_run, <, FLOOD / 2);
    post_flood(messages, FLOOD / 2, FLOOD); /* expect_next() looks at the order. */
    while (messages_run < FLOOD)
        EXPECT_INT(torc_yield(), ==, 0);
    free(messages);
}

static int post_and_end(void *arg)
{
    post_flood(arg, 0, FLOOD);
    return 0;
}

TEST(a_flood_of_messages_is_run_to_its_end_while_the_shard_ends)
{
    struct numbered *messages = begin_flood();

    EXPECT_INT(torc_run(post_and_end, messages, NULL), ==, 0);
    EXPECT_UINT(messages_run, ==, FLOOD);
    free(messages);
}
