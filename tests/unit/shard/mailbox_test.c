/* SPDX-License-Identifier: MIT */
/*
 * mailbox_test.c - messages from many threads: none lost, none after the close, no sleep missed.
 *
 * The driver is one that only counts how often it is woken. Every order of the steps of it all is
 * gone through in tests/interleave/mailbox_test.c.
 */
#include "base/compiler.h"
#include "driver/driver.h"
#include "harness/run.h"
#include "shard/mailbox.h"
#include "shard/shard.h"
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

struct counting_driver {
    struct torc__driver base;
    sem_t wakes;
    atomic_uint woken;
    atomic_bool gone; /* Nobody may wake it any more. */
};

static void count_wake(struct torc__driver *base, struct torc__driver *from)
{
    struct counting_driver *driver = container_of(base, struct counting_driver, base);

    EXPECT(from == NULL);
    EXPECT(!atomic_load(&driver->gone));
    atomic_fetch_add(&driver->woken, 1);
    sem_post(&driver->wakes);
}

static const struct torc__driver_ops counting_ops = {.name = "counting", .wake = count_wake};

static struct torc__mailbox *open_mailbox(struct counting_driver *driver)
{
    struct torc__mailbox *mailbox = torc__mailbox_create(NULL);

    EXPECT(mailbox != NULL);
    memset(driver, 0, sizeof(*driver));
    driver->base.ops = &counting_ops;
    sem_init(&driver->wakes, 0, 0);
    torc__mailbox_open(mailbox, &driver->base);
    return mailbox;
}

/* Whoever takes a chain of messages follows it as the shard does. */
static struct torc_message *next_of(const struct torc_message *message)
{
    const char *field = (const char *)message + offsetof(struct torc_message, _next);

    return *(struct torc_message *const *)(const void *)field;
}

static unsigned run_chain(struct torc_message *message)
{
    unsigned count = 0;

    while (message != NULL) {
        struct torc_message *next = next_of(message);

        message->run(message);
        message = next;
        count++;
    }
    return count;
}

/* ---- One thread ---- */

struct numbered {
    struct torc_message message;
    unsigned sender;
    unsigned number;
};

static unsigned expected[8]; /* By sender: the number that comes next. */

static void expect_in_order(struct torc_message *message)
{
    struct numbered *numbered = container_of(message, struct numbered, message);

    EXPECT_UINT(numbered->number, ==, expected[numbered->sender]);
    expected[numbered->sender]++;
}

TEST(messages_are_taken_in_the_order_in_which_they_were_sent)
{
    struct counting_driver driver;
    struct torc__mailbox *mailbox = open_mailbox(&driver);
    struct numbered messages[10];

    EXPECT(!torc__mailbox_has_mail(mailbox));
    EXPECT(torc__mailbox_take(mailbox) == NULL);
    for (unsigned i = 0; i < 10; i++) {
        messages[i] = (struct numbered){.message = {.run = expect_in_order}, .number = i};
        EXPECT_INT(torc__mailbox_push(mailbox, &messages[i].message), ==, 0);
        EXPECT(torc__mailbox_has_mail(mailbox));
        if (i == 4)
            EXPECT_UINT(run_chain(torc__mailbox_take(mailbox)), ==, 5);
    }
    EXPECT_UINT(run_chain(torc__mailbox_take(mailbox)), ==, 5);
    EXPECT_UINT(expected[0], ==, 10);
    EXPECT_UINT(driver.woken, ==, 0); /* It was awake all the time. */
    EXPECT(torc__mailbox_close(mailbox) == NULL);
    torc__mailbox_release(mailbox);
}

TEST(a_mailbox_refuses_before_it_is_opened_and_after_it_is_closed)
{
    struct torc__mailbox *fresh = torc__mailbox_create(NULL);
    struct counting_driver driver;
    struct torc__mailbox *mailbox = open_mailbox(&driver);
    struct torc_message messages[2] = {{.run = NULL}, {.run = NULL}};

    EXPECT_INT(torc__mailbox_push(fresh, &messages[0]), ==, -ESHUTDOWN);
    EXPECT(torc__mailbox_close(fresh) == NULL);
    EXPECT_INT(torc__mailbox_push(mailbox, &messages[0]), ==, 0);
    EXPECT(torc__mailbox_close(mailbox) == &messages[0]);
    EXPECT_INT(torc__mailbox_push(mailbox, &messages[1]), ==, -ESHUTDOWN);
    EXPECT(torc__mailbox_close(mailbox) == NULL);
    torc__mailbox_release(fresh);
    torc__mailbox_release(mailbox);
    torc__mailbox_release(NULL);
}

TEST(what_is_in_an_abandoned_mailbox_is_not_looked_at)
{
    struct counting_driver driver;
    struct torc__mailbox *mailbox = torc__mailbox_acquire(open_mailbox(&driver));
    struct torc_message messages[3];

    EXPECT_INT(torc__mailbox_push(mailbox, &messages[0]), ==, 0);
    EXPECT_INT(torc__mailbox_push(mailbox, &messages[1]), ==, 0);
    memset(messages, 0xff, sizeof(messages)); /* Its senders have gone. */
    torc__mailbox_abandon(mailbox);
    EXPECT_INT(torc__mailbox_push(mailbox, &messages[2]), ==, -ESHUTDOWN);
    EXPECT(!torc__mailbox_is_open(mailbox));
    torc__mailbox_release(mailbox);
}

TEST(only_a_shard_that_sleeps_is_woken_and_once)
{
    struct counting_driver driver;
    struct torc__mailbox *mailbox = open_mailbox(&driver);
    struct torc_message messages[5];

    EXPECT_INT(torc__mailbox_push(mailbox, &messages[0]), ==, 0);
    EXPECT(!torc__mailbox_sleep(mailbox)); /* There is mail, so it must not sleep, ... */
    EXPECT_INT(torc__mailbox_push(mailbox, &messages[1]), ==, 0);
    EXPECT_UINT(driver.woken, ==, 0); /* ... and is awake as before. */
    torc__mailbox_take(mailbox);
    EXPECT(torc__mailbox_sleep(mailbox));
    for (unsigned i = 2; i < 5; i++)
        EXPECT_INT(torc__mailbox_push(mailbox, &messages[i]), ==, 0);
    EXPECT_UINT(driver.woken, ==, 1);
    torc__mailbox_woken(mailbox);
    torc__mailbox_take(mailbox);
    EXPECT_INT(torc__mailbox_push(mailbox, &messages[0]), ==, 0);
    EXPECT_UINT(driver.woken, ==, 1);
    torc__mailbox_close(mailbox);
    torc__mailbox_release(mailbox);
}

static struct {
    struct torc__mailbox *mailbox;
    unsigned left;
} again;

static void post_again(struct torc_message *message)
{
    if (again.left-- > 0)
        EXPECT_INT(torc__mailbox_push(again.mailbox, message), ==, 0);
}

TEST(a_message_may_be_posted_again_while_it_runs)
{
    struct counting_driver driver;
    struct torc_message message = {.run = post_again};
    unsigned runs = 0;

    again.mailbox = open_mailbox(&driver);
    again.left = 1000;
    EXPECT_INT(torc__mailbox_push(again.mailbox, &message), ==, 0);
    while (torc__mailbox_has_mail(again.mailbox))
        runs += run_chain(torc__mailbox_take(again.mailbox));
    EXPECT_UINT(runs, ==, 1001);
    torc__mailbox_close(again.mailbox);
    torc__mailbox_release(again.mailbox);
}

/* ---- Many threads ---- */

#define SENDERS 4

struct sender {
    struct torc__mailbox *mailbox;
    unsigned index;
    unsigned count;
    unsigned accepted;
    struct numbered *messages;
};

static void *send_all(void *arg)
{
    struct sender *sender = arg;

    for (unsigned i = 0; i < sender->count; i++) {
        struct numbered *numbered = &sender->messages[i];

        *numbered = (struct numbered){
            .message = {.run = expect_in_order}, .sender = sender->index, .number = i};
        if (torc__mailbox_push(sender->mailbox, &numbered->message) < 0)
            break;
        sender->accepted++;
        if (harness_random_below(64) == 0)
            sched_yield(); /* So that the shard gets to sleep now and then. */
    }
    torc__mailbox_release(sender->mailbox);
    return NULL;
}

static void start_senders(struct torc__mailbox *mailbox, unsigned count, struct sender *senders,
                          pthread_t *threads)
{
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.mailbox = torc__mailbox_acquire(mailbox),
                                     .index = i,
                                     .count = count,
                                     .messages = calloc(count, sizeof(struct numbered))};
        threads[i] = harness_thread(send_all, &senders[i]);
    }
}

TEST(a_shard_that_sleeps_whenever_it_can_misses_no_message)
{
    const unsigned count = harness_scaled(100000);
    struct counting_driver driver;
    struct torc__mailbox *mailbox = open_mailbox(&driver);
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    unsigned received = 0;
    unsigned sleeps = 0;

    start_senders(mailbox, count, senders, threads);
    while (received < SENDERS * count) {
        sleeps++;
        if (torc__mailbox_sleep(mailbox))
            sem_wait(&driver.wakes); /* For ever, if a wake-up were lost. */
        torc__mailbox_woken(mailbox);
        received += run_chain(torc__mailbox_take(mailbox));
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        harness_join(threads[i]);
        EXPECT_UINT(expected[i], ==, count);
        free(senders[i].messages);
    }
    EXPECT_UINT(driver.woken, <=, sleeps);
    EXPECT(torc__mailbox_close(mailbox) == NULL);
    torc__mailbox_release(mailbox);
}

TEST(each_message_that_races_with_the_close_is_either_refused_or_run)
{
    for (unsigned round = 0; round < harness_scaled(500); round++) {
        struct counting_driver driver;
        struct torc__mailbox *mailbox = open_mailbox(&driver);
        struct sender senders[SENDERS];
        pthread_t threads[SENDERS];
        const unsigned enough = harness_random_below(200);
        unsigned received = 0;

        memset(expected, 0, sizeof(expected));
        start_senders(mailbox, 1000, senders, threads);
        while (received < enough) {
            (void)torc__mailbox_sleep(mailbox);
            received += run_chain(torc__mailbox_take(mailbox));
        }
        (void)torc__mailbox_sleep(mailbox); /* So that the last senders are about to wake it. */
        received += run_chain(torc__mailbox_close(mailbox));
        atomic_store(&driver.gone, true);
        torc__mailbox_release(mailbox);

        for (unsigned i = 0; i < SENDERS; i++) {
            harness_join(threads[i]);
            EXPECT_UINT(expected[i], ==, senders[i].accepted);
            received -= senders[i].accepted;
            free(senders[i].messages);
        }
        EXPECT_UINT(received, ==, 0);
    }
}

static void *share_and_release(void *arg)
{
    struct torc_mailbox *mine = arg;

    for (unsigned i = 0; i < 10000; i++) {
        struct torc_mailbox *other = torc_mailbox_share(mine);

        torc_mailbox_release(mine);
        mine = other;
    }
    torc_mailbox_release(mine);
    return NULL;
}

TEST(the_last_of_many_references_frees_the_mailbox)
{
    struct torc__mailbox *mailbox = torc__mailbox_create(NULL);
    pthread_t threads[SENDERS];

    for (unsigned i = 0; i < SENDERS; i++)
        threads[i] = harness_thread(share_and_release, torc__mailbox_acquire(mailbox));
    for (unsigned i = 0; i < SENDERS; i++)
        harness_join(threads[i]);
    EXPECT_UINT(atomic_load(&mailbox->references), ==, 1);
    torc__mailbox_release(mailbox);
}

/* ---- Wake-ups that a shard has claimed ---- */

/* A driver that notes which driver's shard woke it last, and how often it was woken. */
struct noting_driver {
    struct torc__driver base;
    struct torc__driver *from;
    unsigned woken;
};

static void note_wake(struct torc__driver *base, struct torc__driver *from)
{
    struct noting_driver *driver = container_of(base, struct noting_driver, base);

    driver->from = from;
    driver->woken++;
}

static const struct torc__driver_ops noting_ops = {.name = "noting", .wake = note_wake};

/* Push as that shard would, or as a thread that is none. */
static void push_as(struct torc__shard *shard, struct torc__mailbox *mailbox,
                    struct torc_message *message)
{
    torc__shard = shard;
    EXPECT_INT(torc__mailbox_push(mailbox, message), ==, 0);
    torc__shard = NULL;
}

/*
 * The wake-up of a shard leaves when its loop turns, which may take long. So another sender does
 * not rely on it, whereas the shard itself does.
 */
TEST(a_wake_up_claimed_by_one_shard_is_sent_at_once_by_any_other_sender)
{
    for (unsigned other_is_shard = 0; other_is_shard < 2; other_is_shard++) {
        struct noting_driver driver = {.base.ops = &noting_ops};
        struct noting_driver drivers[2] = {{.base.ops = &noting_ops}, {.base.ops = &noting_ops}};
        static struct torc__shard shards[2];
        struct torc__mailbox *mailbox = torc__mailbox_create(NULL);
        struct torc_message messages[4] = {0};

        shards[0].driver = &drivers[0].base;
        shards[1].driver = &drivers[1].base;
        torc__mailbox_open(mailbox, &driver.base);
        EXPECT(torc__mailbox_sleep(mailbox));
        push_as(&shards[0], mailbox, &messages[0]);
        EXPECT_UINT(driver.woken, ==, 1);
        EXPECT(driver.from == &drivers[0].base);
        push_as(&shards[0], mailbox, &messages[1]);
        EXPECT_UINT(driver.woken, ==, 1);

        push_as(other_is_shard ? &shards[1] : NULL, mailbox, &messages[2]);
        EXPECT_UINT(driver.woken, ==, 2);
        EXPECT(driver.from == NULL);
        push_as(other_is_shard ? &shards[1] : NULL, mailbox, &messages[3]);
        EXPECT_UINT(driver.woken, ==, 2);

        EXPECT(torc__mailbox_close(mailbox) == &messages[0]);
        torc__mailbox_release(mailbox);
    }
}
