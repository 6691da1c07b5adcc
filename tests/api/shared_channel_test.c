/* SPDX-License-Identifier: MIT */
/*
 * shared_channel_test.c - channels between shards and threads: everything arrives, once, in order.
 */
#include "harness/run.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <torc/torc.h>

static struct torc_shared_channel *create(uint32_t capacity, size_t element_size)
{
    struct torc_shared_channel *channel;

    EXPECT_INT(torc_shared_channel_create(capacity, element_size, &channel), ==, 0);
    return channel;
}

/* ---- One thread ---- */

TEST(a_full_channel_and_an_empty_one_tell_a_thread_to_come_again)
{
    struct torc_shared_channel *channel = create(3, sizeof(unsigned));
    unsigned value;

    for (unsigned lap = 0; lap < 5; lap++) {
        EXPECT_INT(torc_shared_channel_try_receive(channel, &value), ==, -EAGAIN);
        for (unsigned i = 0; i < 4; i++) /* The capacity is rounded up. */
            EXPECT_INT(torc_shared_channel_try_send(channel, &i), ==, 0);
        EXPECT_INT(torc_shared_channel_try_send(channel, &value), ==, -EAGAIN);
        for (unsigned i = 0; i < 4; i++) {
            EXPECT_INT(torc_shared_channel_receive(channel, &value), ==, 0);
            EXPECT_UINT(value, ==, i);
        }
    }
    torc_shared_channel_release(channel);
}

TEST(a_closed_channel_gives_what_is_in_it_and_takes_no_more)
{
    struct torc_shared_channel *channel = create(2, sizeof(unsigned));
    unsigned value = 7;

    EXPECT_INT(torc_shared_channel_send(channel, &value), ==, 0);
    torc_shared_channel_close(channel);
    torc_shared_channel_close(channel);
    EXPECT_INT(torc_shared_channel_send(channel, &value), ==, -EPIPE);
    EXPECT_INT(torc_shared_channel_try_send(channel, &value), ==, -EPIPE);
    value = 0;
    EXPECT_INT(torc_shared_channel_receive(channel, &value), ==, 0);
    EXPECT_UINT(value, ==, 7);
    EXPECT_INT(torc_shared_channel_receive(channel, &value), ==, -EPIPE);
    EXPECT_INT(torc_shared_channel_try_receive(channel, &value), ==, -EPIPE);
    torc_shared_channel_release(channel);
}

TEST(capacities_and_sizes_have_limits)
{
    struct torc_shared_channel *channel = NULL;
    char big[1000];

    EXPECT_INT(torc_shared_channel_create(0, 8, &channel), ==, -EINVAL);
    EXPECT_INT(torc_shared_channel_create((1u << 30) + 1, 8, &channel), ==, -EINVAL);
    EXPECT_INT(torc_shared_channel_create(1u << 30, 1u << 20, &channel), ==, -EINVAL);
    EXPECT(channel == NULL);
    torc_shared_channel_release(NULL);

    channel = create(1, 0); /* Only that something was sent is of interest. */
    EXPECT_INT(torc_shared_channel_try_send(channel, NULL), ==, 0);
    EXPECT_INT(torc_shared_channel_try_send(channel, NULL), ==, -EAGAIN);
    EXPECT_INT(torc_shared_channel_try_receive(channel, NULL), ==, 0);
    torc_shared_channel_release(channel);

    channel = create(1, sizeof(big));
    for (unsigned i = 0; i < sizeof(big); i++)
        big[i] = (char)i;
    EXPECT_INT(torc_shared_channel_try_send(channel, big), ==, 0);
    big[999] = 0;
    EXPECT_INT(torc_shared_channel_try_receive(channel, big), ==, 0);
    EXPECT_INT(big[999], ==, (char)999);
    torc_shared_channel_release(channel);
}

/* ---- Fibers of one shard ---- */

struct user {
    struct torc_shared_channel *channel;
    unsigned value;
    int result;
};

static int send_one(void *arg)
{
    struct user *user = arg;

    user->result = torc_shared_channel_send(user->channel, &user->value);
    return 0;
}

static int receive_one(void *arg)
{
    struct user *user = arg;

    user->result = torc_shared_channel_receive(user->channel, &user->value);
    return 0;
}

FIBER_TEST(fibers_wait_in_order_and_leave_when_they_are_cancelled)
{
    struct torc_shared_channel *channel = create(1, sizeof(unsigned));
    struct user users[3] = {{channel, 0, 1}, {channel, 0, 1}, {channel, 0, 1}};
    struct torc_scope scope;
    struct torc_scope doomed;

    torc_scope_open(&scope, 0);
    torc_scope_open(&doomed, 0);
    for (unsigned i = 0; i < 3; i++) {
        harness_spawn(i == 1 ? &doomed : &scope, receive_one, &users[i]);
        torc_yield();
    }
    torc_scope_cancel(&doomed);
    EXPECT_INT(torc_scope_close(&doomed), ==, -ECANCELED);
    for (unsigned i = 10; i < 12; i++) {
        EXPECT_INT(torc_shared_channel_send(channel, &i), ==, 0);
        torc_yield();
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(users[0].value, ==, 10);
    EXPECT_INT(users[1].result, ==, -ECANCELED);
    EXPECT_UINT(users[2].value, ==, 11);
    torc_shared_channel_release(channel);
}

FIBER_TEST(closing_wakes_senders_and_receivers_that_wait)
{
    struct torc_shared_channel *channels[2] = {create(1, sizeof(unsigned)),
                                               create(1, sizeof(unsigned))};
    struct user users[4];
    struct torc_scope scope;
    unsigned value = 1;

    EXPECT_INT(torc_shared_channel_send(channels[0], &value), ==, 0);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 4; i++) {
        users[i] = (struct user){channels[i / 2], i, 1};
        harness_spawn(&scope, i < 2 ? send_one : receive_one, &users[i]);
    }
    torc_yield();
    for (unsigned i = 0; i < 2; i++)
        torc_shared_channel_close(channels[i]);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (unsigned i = 0; i < 4; i++)
        EXPECT_INT(users[i].result, ==, -EPIPE);
    for (unsigned i = 0; i < 2; i++)
        torc_shared_channel_release(channels[i]);
}

/* ---- Many senders, many receivers ---- */

#define SENDERS_MAX 4

struct letter {
    unsigned sender;
    unsigned number;
};

struct post {
    struct torc_shared_channel *channel;
    unsigned count; /* of each sender */
    unsigned senders;
    atomic_uint next_sender;
    atomic_uint senders_left;
    atomic_uint received;
    atomic_uint sums[SENDERS_MAX];
};

static void send_letters(struct post *post)
{
    const unsigned sender = atomic_fetch_add(&post->next_sender, 1);

    for (unsigned i = 0; i < post->count; i++) {
        const struct letter letter = {sender, i};

        EXPECT_INT(torc_shared_channel_send(post->channel, &letter), ==, 0);
    }
    if (atomic_fetch_sub(&post->senders_left, 1) == 1)
        torc_shared_channel_close(post->channel);
}

/* Each receiver sees the letters of one sender in their order, if not all of them. */
static void receive_letters(struct post *post)
{
    unsigned next[SENDERS_MAX] = {0};
    struct letter letter;
    int result;

    while ((result = torc_shared_channel_receive(post->channel, &letter)) == 0) {
        EXPECT_UINT(letter.sender, <, post->senders);
        EXPECT_UINT(letter.number, >=, next[letter.sender]);
        next[letter.sender] = letter.number + 1;
        atomic_fetch_add(&post->received, 1);
        atomic_fetch_add(&post->sums[letter.sender], letter.number);
    }
    EXPECT_INT(result, ==, -EPIPE);
}

static int fiber_sends(void *arg)
{
    send_letters(arg);
    return 0;
}

static int fiber_receives(void *arg)
{
    receive_letters(arg);
    return 0;
}

static void *thread_sends(void *arg)
{
    send_letters(arg);
    return NULL;
}

static void *thread_receives(void *arg)
{
    receive_letters(arg);
    return NULL;
}

static void post_begin(struct post *post, uint32_t capacity, unsigned senders, unsigned count)
{
    *post = (struct post){
        .channel = create(capacity, sizeof(struct letter)), .senders = senders, .count = count};
    atomic_store(&post->senders_left, senders);
}

static void post_end(struct post *post)
{
    EXPECT_UINT(atomic_load(&post->received), ==, post->senders * post->count);
    for (unsigned i = 0; i < post->senders; i++)
        EXPECT_UINT(atomic_load(&post->sums[i]), ==, post->count * (post->count - 1) / 2);
    torc_shared_channel_release(post->channel);
}

/* Shard 0 has one sending fiber, shard 1 another, and a receiver; or two receivers. */
static int exchange(void *arg)
{
    struct post *post = arg;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, fiber_sends, post);
    if (torc_shard_index() == 1) {
        harness_spawn(&scope, fiber_receives, post);
        harness_spawn(&scope, fiber_receives, post);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    return 0;
}

TEST(everything_arrives_once_and_in_order_between_shards_and_threads)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    NEEDS_THREADS();
    for (uint32_t capacity = 1; capacity <= 64; capacity *= 8) {
        struct post post;
        pthread_t threads[3];

        post_begin(&post, capacity, 4, harness_scaled(5000));
        threads[0] = harness_thread(thread_sends, &post);
        threads[1] = harness_thread(thread_sends, &post);
        threads[2] = harness_thread(thread_receives, &post);
        EXPECT_INT(torc_run(exchange, &post, &options), ==, 0);
        for (unsigned i = 0; i < 3; i++)
            harness_join(threads[i]);
        post_end(&post);
    }
}

/* Receivers that give up all the time lose nothing. */
static int receive_impatiently(void *arg)
{
    struct post *post = arg;
    struct letter letter;
    int result;

    do {
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, harness_random_below(30000));
        result = torc_shared_channel_receive(post->channel, &letter);
        (void)torc_scope_close(&scope);
        if (result == 0) {
            atomic_fetch_add(&post->received, 1);
            atomic_fetch_add(&post->sums[letter.sender], letter.number);
        }
    } while (result == 0 || result == -ETIME);
    EXPECT_INT(result, ==, -EPIPE);
    return 0;
}

static int exchange_impatiently(void *arg)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    if (torc_shard_index() == 0)
        harness_spawn(&scope, fiber_sends, arg);
    for (unsigned i = 0; i < 2; i++)
        harness_spawn(&scope, receive_impatiently, arg);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    return 0;
}

TEST(deadlines_that_race_with_values_lose_none)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};
    struct post post;

    NEEDS_THREADS();
    post_begin(&post, 2, 1, harness_scaled(5000));
    EXPECT_INT(torc_run(exchange_impatiently, &post, &options), ==, 0);
    post_end(&post);
}

/* ---- References ---- */

static void *share_and_release(void *arg)
{
    struct torc_shared_channel *mine = arg;

    for (unsigned i = 0; i < 10000; i++) {
        struct torc_shared_channel *other = torc_shared_channel_share(mine);

        torc_shared_channel_release(mine);
        mine = other;
    }
    torc_shared_channel_release(mine);
    return NULL;
}

TEST(references_to_a_channel_are_counted)
{
    struct torc_shared_channel *channel = create(1, 1);
    pthread_t threads[3];
    char value = 'x';

    for (unsigned i = 0; i < 3; i++)
        threads[i] = harness_thread(share_and_release, torc_shared_channel_share(channel));
    for (unsigned i = 0; i < 3; i++)
        harness_join(threads[i]);
    EXPECT_INT(torc_shared_channel_try_send(channel, &value), ==, 0);
    torc_shared_channel_release(channel);
}
