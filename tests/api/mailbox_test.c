/* SPDX-License-Identifier: MIT */
/*
 * mailbox_test.c - messages to shards from other threads.
 */
#include "harness/run.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>

/* A message that sets an event of the shard it is for. */
struct set_message {
    struct torc_message message;
    struct torc_event *event;
};

static void set_event(struct torc_message *message)
{
    torc_event_set(((struct set_message *)message)->event);
}

static void *post_one(void *arg)
{
    void **mailbox_and_message = arg;

    EXPECT_INT(torc_mailbox_post(mailbox_and_message[0], mailbox_and_message[1]), ==, 0);
    return NULL;
}

FIBER_TEST_WITH_THREADS(a_message_from_another_thread_wakes_a_sleeping_shard)
{
    struct torc_mailbox *mailbox = torc_mailbox_acquire();
    struct torc_event event = {0};
    struct set_message message = {{.run = set_event}, &event};
    void *arg[2] = {mailbox, &message};

    for (int i = 0; i < 200; i++) {
        pthread_t thread;

        torc_event_clear(&event);
        thread = harness_thread(post_one, arg);
        EXPECT_INT(torc_event_wait(&event), ==, 0);
        harness_join(thread);
    }
    torc_mailbox_release(mailbox);
}

FIBER_TEST(a_shard_may_post_to_itself)
{
    struct torc_mailbox *mailbox = torc_mailbox_acquire();
    struct torc_event event = {0};
    struct set_message message = {{.run = set_event}, &event};

    for (int i = 0; i < 1000; i++) {
        torc_event_clear(&event);
        EXPECT_INT(torc_mailbox_post(mailbox, &message.message), ==, 0);
        EXPECT(!torc_event_is_set(&event)); /* The loop runs it, not the sender. */
        EXPECT_INT(torc_event_wait(&event), ==, 0);
    }
    torc_mailbox_release(mailbox);
}

FIBER_TEST(references_to_a_mailbox_are_counted)
{
    struct torc_mailbox *mailbox = torc_mailbox_acquire();
    struct torc_mailbox *again = torc_mailbox_acquire();

    EXPECT(mailbox == again);
    EXPECT(torc_mailbox_share(mailbox) == mailbox);
    for (int i = 0; i < 3; i++)
        torc_mailbox_release(mailbox);
    torc_mailbox_release(NULL);
}

/* ---- Two runtimes ---- */

#define ROUNDS 20000

/* Two runtimes on two threads send one message to and fro. */
struct player {
    struct torc_message message; /* carries the number to this player */
    struct player *other;
    _Atomic(struct torc_mailbox *) mailbox;
    struct torc_event arrived;
    unsigned number;
    unsigned received;
};

static void receive_number(struct torc_message *message)
{
    struct player *player = (struct player *)message;

    player->received = player->number;
    torc_event_set(&player->arrived);
}

static int play(void *arg)
{
    struct player *player = arg;
    struct player *other = player->other;
    const unsigned rounds = harness_scaled(ROUNDS);
    struct torc_mailbox *mailbox;
    unsigned number = 0;

    atomic_store(&player->mailbox, torc_mailbox_acquire());
    while ((mailbox = atomic_load(&other->mailbox)) == NULL)
        torc_yield();
    while (number < rounds) {
        if (number > 0 || player < other) { /* One of them begins. */
            other->number = number + 1;
            EXPECT_INT(torc_mailbox_post(mailbox, &other->message), ==, 0);
        }
        EXPECT_INT(torc_event_wait(&player->arrived), ==, 0);
        torc_event_clear(&player->arrived);
        EXPECT_UINT(player->received, >=, number + 1);
        number = player->received;
    }
    other->number = number + 1; /* Let the other one stop too. */
    (void)!torc_mailbox_post(mailbox, &other->message);
    return 0;
}

static void *play_on_thread(void *arg)
{
    EXPECT_INT(torc_run(play, arg, NULL), ==, 0);
    return NULL;
}

TEST(t_39_two_runtimes_on_two_threads_play_ping_pong)
{
    static struct player players[2];
    pthread_t threads[2];

    NEEDS_THREADS();
    for (int i = 0; i < 2; i++) {
        players[i].message.run = receive_number;
        players[i].other = &players[1 - i];
    }
    for (int i = 0; i < 2; i++)
        threads[i] = harness_thread(play_on_thread, &players[i]);
    for (int i = 0; i < 2; i++)
        harness_join(threads[i]);
    for (int i = 0; i < 2; i++)
        torc_mailbox_release(atomic_load(&players[i].mailbox));
}

/* ---- Many senders ---- */

#define SENDERS  8
#define MESSAGES 100000

struct letter {
    struct torc_message message;
    unsigned sender;
    unsigned number;
};

static struct letter *letters[SENDERS];
static unsigned letter_count;
static unsigned next_number[SENDERS];
static struct torc_event all_came;
static unsigned came;

static void receive_letter(struct torc_message *message)
{
    const struct letter *letter = (const struct letter *)message;

    EXPECT_UINT(letter->number, ==, next_number[letter->sender]);
    next_number[letter->sender]++;
    if (++came == SENDERS * letter_count)
        torc_event_set(&all_came);
}

struct sender {
    struct torc_mailbox *mailbox;
    unsigned index;
};

static void *send_letters(void *arg)
{
    const struct sender *sender = arg;

    for (unsigned i = 0; i < letter_count; i++) {
        struct letter *letter = &letters[sender->index][i];

        *letter = (struct letter){{.run = receive_letter}, sender->index, i};
        EXPECT_INT(torc_mailbox_post(sender->mailbox, &letter->message), ==, 0);
    }
    torc_mailbox_release(sender->mailbox);
    return NULL;
}

static void start_senders(pthread_t threads[SENDERS], struct sender senders[SENDERS],
                          struct torc_mailbox *mailbox)
{
    letter_count = harness_scaled(MESSAGES);
    all_came = (struct torc_event){0};
    came = 0;
    memset(next_number, 0, sizeof(next_number));
    for (unsigned i = 0; i < SENDERS; i++) {
        letters[i] = calloc(letter_count, sizeof(struct letter));
        senders[i] = (struct sender){torc_mailbox_share(mailbox), i};
        threads[i] = harness_thread(send_letters, &senders[i]);
    }
}

static void join_senders(pthread_t threads[SENDERS])
{
    for (unsigned i = 0; i < SENDERS; i++) {
        harness_join(threads[i]);
        free(letters[i]);
        EXPECT_UINT(next_number[i], ==, letter_count);
    }
}

FIBER_TEST_WITH_THREADS(messages_of_many_threads_all_arrive_and_in_the_order_of_each)
{
    struct torc_mailbox *mailbox = torc_mailbox_acquire();
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    struct torc_stats stats;

    start_senders(threads, senders, mailbox);
    EXPECT_INT(torc_event_wait(&all_came), ==, 0);
    join_senders(threads);
    torc_stats(&stats);
    EXPECT_UINT(stats.messages, >=, SENDERS * letter_count);
    torc_mailbox_release(mailbox);
}

FIBER_TEST_WITH_THREADS(messages_are_served_while_fibers_keep_the_shard_busy)
{
    struct torc_mailbox *mailbox = torc_mailbox_acquire();
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    struct torc_stats before;
    struct torc_stats after;

    start_senders(threads, senders, mailbox);
    torc_stats(&before);
    while (!torc_event_is_set(&all_came))
        EXPECT_INT(torc_yield(), ==, 0);
    torc_stats(&after);
    join_senders(threads);
    /* A shard that is awake needs no wake-up; there may be a rest from when it began. */
    EXPECT_UINT(after.wakeups_received - before.wakeups_received, <=, 1);
    torc_mailbox_release(mailbox);
}

static pthread_barrier_t barrier;

static void *post_at_barrier(void *arg)
{
    pthread_barrier_wait(&barrier);
    return post_one(arg);
}

/* Many posts while the shard sleeps, and a single wake-up, which the first of them has claimed. */
FIBER_TEST_WITH_THREADS(however_many_send_one_wake_up_is_on_its_way)
{
    struct torc_mailbox *mailbox = torc_mailbox_acquire();
    struct torc_event events[SENDERS] = {0};
    struct set_message messages[SENDERS];
    pthread_t threads[SENDERS];
    struct torc_stats before;
    struct torc_stats after;
    void *args[SENDERS][2];

    pthread_barrier_init(&barrier, NULL, SENDERS);
    torc_stats(&before);
    for (int i = 0; i < SENDERS; i++) {
        messages[i] = (struct set_message){{.run = set_event}, &events[i]};
        args[i][0] = mailbox;
        args[i][1] = &messages[i];
        threads[i] = harness_thread(post_at_barrier, args[i]);
    }
    for (int i = 0; i < SENDERS; i++)
        EXPECT_INT(torc_event_wait(&events[i]), ==, 0);
    torc_stats(&after);
    for (int i = 0; i < SENDERS; i++)
        harness_join(threads[i]);
    EXPECT_UINT(after.wakeups_received - before.wakeups_received, <=,
                after.waits - before.waits); /* At most one for each sleep. */
    pthread_barrier_destroy(&barrier);
    torc_mailbox_release(mailbox);
}

/* ---- The end of a shard ---- */

static struct torc_mailbox *left_mailbox;

static int leave_mailbox(void *arg)
{
    (void)arg;
    left_mailbox = torc_mailbox_acquire();
    return 0;
}

static void never(struct torc_message *message)
{
    (void)message;
    FAIL("a message came after the end");
}

TEST(posting_to_a_shard_that_has_ended_is_refused)
{
    struct torc_message message = {.run = never};

    EXPECT_INT(torc_run(leave_mailbox, NULL, NULL), ==, 0);
    EXPECT_INT(torc_mailbox_post(left_mailbox, &message), ==, -ESHUTDOWN);
    EXPECT_INT(torc_mailbox_post(left_mailbox, &message), ==, -ESHUTDOWN);
    torc_mailbox_release(left_mailbox);
}

static atomic_uint accepted;
static atomic_uint refused;
static atomic_uint ran;

static void count_and_free(struct torc_message *message)
{
    atomic_fetch_add(&ran, 1);
    free(message);
}

static void *post_until_refused(void *arg)
{
    struct torc_mailbox *mailbox = arg;
    int result;

    do {
        struct torc_message *message = calloc(1, sizeof(*message));

        message->run = count_and_free;
        result = torc_mailbox_post(mailbox, message);
        if (result == 0) {
            atomic_fetch_add(&accepted, 1);
        } else {
            EXPECT_INT(result, ==, -ESHUTDOWN);
            atomic_fetch_add(&refused, 1);
            free(message);
        }
    } while (result == 0);
    torc_mailbox_release(mailbox);
    return NULL;
}

static int live_shortly(void *arg)
{
    pthread_t *threads = arg;
    struct torc_mailbox *mailbox = torc_mailbox_acquire();

    for (int i = 0; i < 2; i++)
        threads[i] = harness_thread(post_until_refused, torc_mailbox_share(mailbox));
    torc_mailbox_release(mailbox);
    return torc_sleep(harness_random_below(1000000));
}

TEST(every_message_that_was_accepted_is_run_even_at_the_end)
{
    NEEDS_THREADS();
    for (unsigned i = harness_scaled(100); i > 0; i--) {
        pthread_t threads[2];

        EXPECT_INT(torc_run(live_shortly, threads, NULL), ==, 0);
        harness_join(threads[0]);
        harness_join(threads[1]);
    }
    EXPECT_UINT(atomic_load(&ran), ==, atomic_load(&accepted));
    EXPECT_UINT(atomic_load(&refused), ==, 2 * harness_scaled(100));
}

/* ---- Between shards of one runtime ---- */

static _Atomic(struct torc_mailbox *) mailboxes[3];
static struct torc_message tokens[3];
static struct torc_event token_came[3];

static void pass_token(struct torc_message *message)
{
    torc_event_set(&token_came[message - tokens]);
}

static int pass_round(void *arg)
{
    const unsigned self = torc_shard_index();
    const unsigned next = (self + 1) % 3;

    (void)arg;
    token_came[self] = (struct torc_event){0};
    tokens[self].run = pass_token;
    atomic_store(&mailboxes[self], torc_mailbox_acquire());
    while (atomic_load(&mailboxes[next]) == NULL)
        torc_yield();
    for (unsigned i = 0; i < harness_scaled(10000); i++) {
        if (i > 0 || self > 0) {
            EXPECT_INT(torc_event_wait(&token_came[self]), ==, 0);
            torc_event_clear(&token_came[self]);
        }
        EXPECT_INT(torc_mailbox_post(atomic_load(&mailboxes[next]), &tokens[next]), ==, 0);
    }
    if (self == 0) /* The last token comes round again. */
        EXPECT_INT(torc_event_wait(&token_came[self]), ==, 0);
    torc_mailbox_release(atomic_load(&mailboxes[next]));
    return 0;
}

TEST(shards_of_a_runtime_reach_each_other)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    harness_run_with(&options, pass_round, NULL);
}
