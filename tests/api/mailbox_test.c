/* SPDX-License-Identifier: MIT */
/*
 * mailbox_test.c - messages to shards from other threads.
 */
#include "harness/run.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
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
    pthread_t pair[2];

    NEEDS_THREADS();
    for (int i = 0; i < 2; i++) {
        players[i].message.run = receive_number;
        players[i].other = &players[1 - i];
    }
    for (int i = 0; i < 2; i++)
        pair[i] = harness_thread(play_on_thread, &players[i]);
    for (int i = 0; i < 2; i++)
        harness_join(pair[i]);
    for (int i = 0; i < 2; i++)
        torc_mailbox_release(atomic_load(&players[i].mailbox));
}

static _Atomic(struct torc_mailbox *) sleeper;
static struct torc_event sleeper_woken; /* the sleeper's */
static atomic_bool sleeper_runs;

static void wake_sleeper(struct torc_message *message)
{
    (void)message;
    torc_event_set(&sleeper_woken);
    atomic_store(&sleeper_runs, true);
}

static int sleep_until_woken(void *arg)
{
    (void)arg;
    atomic_store(&sleeper, torc_mailbox_acquire());
    return torc_event_wait(&sleeper_woken);
}

static void *run_sleeper(void *arg)
{
    EXPECT_INT(torc_run(sleep_until_woken, arg, NULL), ==, 0);
    return NULL;
}

/* So nothing of the other runtime's is in use any more when its last message has been accepted. */
FIBER_TEST_WITH_THREADS(a_shard_of_another_runtime_is_woken_before_this_ones_loop_turns)
{
    struct torc_message message = {.run = wake_sleeper};
    pthread_t thread = harness_thread(run_sleeper, NULL);
    struct torc_mailbox *mailbox;
    uint64_t deadline_ns;

    while ((mailbox = atomic_load(&sleeper)) == NULL)
        EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_INT(torc_sleep(5 * TORC_MILLISECOND), ==, 0); /* Let it sleep as a rule. */
    EXPECT_INT(torc_mailbox_post(mailbox, &message), ==, 0);
    deadline_ns = torc_deadline(5 * TORC_SECOND);
    while (!atomic_load(&sleeper_runs) && torc_now() < deadline_ns)
        sched_yield();
    EXPECT(atomic_load(&sleeper_runs));
    harness_join(thread);
    torc_mailbox_release(mailbox);
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
    unsigned long wakeups; /* system calls that write, which is how a thread wakes a shard */
};

/* How often this thread has called write(2) or its like; 0 where the kernel does not count. */
static unsigned long count_writes(void)
{
    FILE *file = fopen("/proc/thread-self/io", "re");
    unsigned long count = 0;
    char line[64];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "syscw: ", 7) == 0)
            count = strtoul(line + 7, NULL, 10);
    }
    if (file != NULL)
        fclose(file);
    return count;
}

static void *send_letters(void *arg)
{
    struct sender *sender = arg;
    const unsigned long writes = count_writes();

    for (unsigned i = 0; i < letter_count; i++) {
        struct letter *letter = &letters[sender->index][i];

        *letter = (struct letter){{.run = receive_letter}, sender->index, i};
        EXPECT_INT(torc_mailbox_post(sender->mailbox, &letter->message), ==, 0);
    }
    sender->wakeups = count_writes() - writes;
    torc_mailbox_release(sender->mailbox);
    return NULL;
}

static struct sender senders[SENDERS];
static pthread_t threads[SENDERS];

static void start_senders(struct torc_mailbox *mailbox)
{
    letter_count = harness_scaled(MESSAGES);
    all_came = (struct torc_event){0};
    came = 0;
    memset(next_number, 0, sizeof(next_number));
    for (unsigned i = 0; i < SENDERS; i++) {
        letters[i] = calloc(letter_count, sizeof(struct letter));
        senders[i] = (struct sender){.mailbox = torc_mailbox_share(mailbox), .index = i};
        threads[i] = harness_thread(send_letters, &senders[i]);
    }
}

/* Returns how many wake-ups they have sent. */
static unsigned long join_senders(void)
{
    unsigned long wakeups = 0;

    for (unsigned i = 0; i < SENDERS; i++) {
        harness_join(threads[i]);
        free(letters[i]);
        EXPECT_UINT(next_number[i], ==, letter_count);
        wakeups += senders[i].wakeups;
    }
    return wakeups;
}

/* Each time the shard is about to sleep, which it is once a round at most, one wake-up may come. */
FIBER_TEST_WITH_THREADS(messages_of_many_threads_all_arrive_in_order_and_by_few_wake_ups)
{
    struct torc_mailbox *mailbox = torc_mailbox_acquire();
    struct torc_stats before;
    struct torc_stats after;

    torc_stats(&before);
    start_senders(mailbox);
    EXPECT_INT(torc_event_wait(&all_came), ==, 0);
    torc_stats(&after);
    EXPECT_UINT(join_senders(), <=, after.rounds - before.rounds + 1);
    EXPECT_UINT(after.messages - before.messages, >=, SENDERS * letter_count);
    torc_mailbox_release(mailbox);
}

FIBER_TEST_WITH_THREADS(messages_are_served_while_fibers_keep_the_shard_busy)
{
    struct torc_mailbox *mailbox = torc_mailbox_acquire();

    start_senders(mailbox);
    while (!torc_event_is_set(&all_came))
        EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_UINT(join_senders(), ==, 0); /* A shard that is awake needs no wake-up. */
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
    pthread_t *pair = arg;
    struct torc_mailbox *mailbox = torc_mailbox_acquire();

    for (int i = 0; i < 2; i++)
        pair[i] = harness_thread(post_until_refused, torc_mailbox_share(mailbox));
    torc_mailbox_release(mailbox);
    return torc_sleep(harness_random_below(1000000));
}

TEST(every_message_that_was_accepted_is_run_even_at_the_end)
{
    NEEDS_THREADS();
    for (unsigned i = harness_scaled(100); i > 0; i--) {
        pthread_t pair[2];

        EXPECT_INT(torc_run(live_shortly, pair, NULL), ==, 0);
        harness_join(pair[0]);
        harness_join(pair[1]);
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

#define BURST  1000
#define BURSTS 20

static struct torc_message burst[BURST];
static struct torc_event bursts_over;
static atomic_uint burst_count;

static void take_of_burst(struct torc_message *message)
{
    (void)message;
    if (atomic_fetch_add(&burst_count, 1) + 1 == BURSTS * BURST)
        torc_event_set(&bursts_over);
}

static uint64_t wakeups_sent(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.wakeups_sent;
}

/* Whether shards wake each other through their rings: then the wake-up leaves after the burst. */
static bool rings_send_messages(void)
{
    struct torc_driver_report report;

    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        if (strcmp(report.features[i].name, "msg_ring") == 0)
            return report.features[i].used;
    }
    return false;
}

/* Returns how many wake-ups a burst to a sleeping shard has taken. */
static uint64_t send_burst(struct torc_mailbox *mailbox)
{
    const unsigned goal = atomic_load(&burst_count) + BURST;
    uint64_t before;
    uint64_t sent;

    EXPECT_INT(torc_sleep(2 * TORC_MILLISECOND), ==, 0); /* Let the other one sleep, too. */
    before = wakeups_sent();
    for (int i = 0; i < BURST; i++) {
        burst[i].run = take_of_burst;
        EXPECT_INT(torc_mailbox_post(mailbox, &burst[i]), ==, 0);
    }
    sent = wakeups_sent() - before;
    while (atomic_load(&burst_count) < goal)
        torc_yield();
    return sent;
}

static int send_or_take_bursts(void *arg)
{
    struct torc_mailbox *mailbox;
    unsigned frugal = 0;

    (void)arg;
    if (torc_shard_index() == 0) {
        atomic_store(&mailboxes[0], torc_mailbox_acquire());
        return torc_event_wait(&bursts_over);
    }
    while ((mailbox = atomic_load(&mailboxes[0])) == NULL)
        torc_yield();
    for (int i = 0; i < BURSTS; i++)
        frugal += send_burst(mailbox) <= 1;
    torc_mailbox_release(mailbox);
    /* More where the other one wakes by itself meanwhile, or where it can not be put off. */
    EXPECT_UINT(frugal, >=, rings_send_messages() ? 1 : 0);
    return 0;
}

TEST(a_burst_from_another_shard_takes_one_wake_up)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    NEEDS_THREADS();
    harness_run_with(&options, send_or_take_bursts, NULL);
}
