/* SPDX-License-Identifier: MIT */
/*
 * fibers.c - what fibers of one shard hand to each other is neither lost nor doubled, whatever is
 * cancelled.
 *
 * Values go through channels, queues and broadcasts; units, mutexes and locks from hand to hand; a
 * barrier lets go of as many as it is for. Every wait may end at any instant.
 */
#include "books.h"

#define FIBERS   6u
#define ROUNDS   40u
#define UNITS    3u
#define MEETING  3u
#define VALUES   (FIBERS * ROUNDS)
#define BOUND_NS (60 * TORC_SECOND)

struct node {
    struct torc_queue_node node;
    uint64_t value;
};

struct place {
    struct torc_channel channel;
    uint64_t slots[3];
    uint64_t next; /* value to be sent */
    uint8_t sent[VALUES];
    uint8_t received[VALUES];
    struct torc_queue queue;
    struct node nodes[VALUES];
    unsigned pushed;
    unsigned popped;
    struct torc_mutex mutex;
    struct torc_condition condition;
    struct torc_rwlock rwlock;
    unsigned readers;
    unsigned writers;
    struct torc_semaphore semaphore;
    uint32_t taken;
    struct torc_barrier barrier;
    unsigned arrived;
    unsigned led;
    struct torc_once once;
    unsigned done;
    struct torc_broadcast broadcast;
    uint64_t broadcast_slots[4];
    uint64_t broadcasts;
};

/* ---- Values ---- */

static void note_received(struct place *place, uint64_t value)
{
    TORC_SIM_CHECK(value < place->next);
    TORC_SIM_CHECK(place->received[value]++ == 0);
}

static void send_value(struct place *place)
{
    const uint64_t value = place->next;
    uint64_t other;
    struct torc_case cases[] = {
        torc_case_send(&place->channel, &value),
        torc_case_receive(&place->channel, &other),
        torc_case_deadline(torc_deadline(some_time(TORC_MILLISECOND))),
    };
    int result;

    if (value == VALUES)
        return;
    place->next++; /* It may be received before we know that it was sent. */
    switch (torc_sim_random_below(3)) {
    case 0:
        result = torc_channel_try_send(&place->channel, &value);
        break;
    case 1:
        result = torc_channel_send(&place->channel, &value);
        break;
    default:
        result = torc_select(cases, 3);
        if (result == 1 && cases[1].result == 0)
            note_received(place, other);
        result = result == 0 ? cases[0].result : -EAGAIN;
        break;
    }
    place->sent[value] = result == 0;
    TORC_SIM_CHECK(result == 0 || place->received[value] == 0);
}

static void receive_value(struct place *place)
{
    uint64_t value;
    struct torc_queue_node *node;
    struct torc_case cases[] = {
        torc_case_receive(&place->channel, &value),
        torc_case_pop(&place->queue, &node),
        torc_case_deadline(torc_deadline(some_time(TORC_MILLISECOND))),
    };
    int result;

    switch (torc_sim_random_below(3)) {
    case 0:
        result = torc_channel_try_receive(&place->channel, &value);
        break;
    case 1:
        result = torc_channel_receive(&place->channel, &value);
        break;
    default:
        result = torc_select(cases, 3);
        if (result == 1 && cases[1].result == 0)
            place->popped++;
        result = result == 0 ? cases[0].result : -EAGAIN;
        break;
    }
    if (result == 0)
        note_received(place, value);
}

/* Elements come in their order, whoever takes them. */
static void use_queue(struct place *place)
{
    struct torc_queue_node *node;

    if (one_in(2) && place->pushed < VALUES) {
        struct node *mine = &place->nodes[place->pushed];

        mine->value = place->pushed++;
        TORC_SIM_CHECK(torc_queue_push(&place->queue, &mine->node) == 0);
    } else if (torc_queue_pop(&place->queue, &node) == 0) {
        const struct node *popped = (const struct node *)(const void *)node;

        TORC_SIM_CHECK(popped->value < place->pushed);
        place->popped++;
    }
    TORC_SIM_CHECK(place->popped + torc_queue_count(&place->queue) <= place->pushed);
}

/* A reader gets all but those that it is told to have missed. */
static void read_broadcast(struct place *place)
{
    struct torc_broadcast_reader reader;
    uint64_t expected = place->broadcasts;
    uint64_t value;

    torc_broadcast_subscribe(&place->broadcast, &reader);
    for (unsigned i = 0; i < 5; i++) {
        int result;

        if (one_in(2)) {
            value = place->broadcasts++;
            TORC_SIM_CHECK(torc_broadcast_send(&place->broadcast, &value) == 0);
        }
        result = torc_broadcast_receive(&reader, &value);
        if (result < 0)
            continue;
        TORC_SIM_CHECK(value == expected + (uint64_t)result);
        expected = value + 1;
    }
}

/* ---- Locks ---- */

static void lock_mutex(struct place *place)
{
    if (torc_mutex_lock(&place->mutex) < 0)
        return;
    TORC_SIM_CHECK(place->writers++ == 0);
    (void)torc_sleep(some_time(TORC_MILLISECOND / 4));
    TORC_SIM_CHECK(--place->writers == 0);
    if (one_in(3))
        (void)torc_condition_wait(&place->condition, &place->mutex);
    else if (one_in(2))
        torc_condition_signal(&place->condition);
    else
        torc_condition_broadcast(&place->condition);
    TORC_SIM_CHECK(torc_mutex_is_mine(&place->mutex));
    TORC_SIM_CHECK(place->writers == 0);
    torc_mutex_unlock(&place->mutex);
}

static void lock_rwlock(struct place *place)
{
    const bool writes = one_in(2);
    const unsigned alone = 1000;

    if ((writes ? torc_rwlock_write_lock(&place->rwlock) : torc_rwlock_read_lock(&place->rwlock)) <
        0)
        return;
    TORC_SIM_CHECK(place->readers < alone && (!writes || place->readers == 0));
    place->readers += writes ? alone : 1;
    (void)torc_sleep(some_time(TORC_MILLISECOND / 4));
    place->readers -= writes ? alone : 1;
    if (writes)
        torc_rwlock_write_unlock(&place->rwlock);
    else
        torc_rwlock_read_unlock(&place->rwlock);
}

static void take_units(struct place *place)
{
    const uint32_t units = (uint32_t)torc_sim_random_below(UNITS) + 1;

    if (torc_semaphore_acquire(&place->semaphore, units) < 0)
        return;
    place->taken += units;
    TORC_SIM_CHECK(place->taken <= UNITS);
    (void)torc_sleep(some_time(TORC_MILLISECOND / 4));
    place->taken -= units;
    torc_semaphore_release(&place->semaphore, units);
}

static void meet(struct place *place)
{
    const int result = torc_barrier_wait(&place->barrier);

    if (result < 0)
        return;
    place->arrived++;
    place->led += (unsigned)result;
}

static int do_once(void *arg)
{
    struct place *place = arg;
    const int result = torc_sleep(some_time(TORC_MILLISECOND));

    if (result == 0)
        TORC_SIM_CHECK(place->done++ == 0);
    return result;
}

static void run_once(struct place *place)
{
    if (torc_once_run(&place->once, do_once, place) == 0)
        TORC_SIM_CHECK(place->done == 1);
}

/* ---- The program ---- */

typedef void deed_fn(struct place *place);

/* Somebody may be alone in waiting, so each wait ends after a while. */
static int live(void *arg)
{
    static deed_fn *const deeds[] = {
        send_value, send_value,  receive_value, receive_value, use_queue, read_broadcast,
        lock_mutex, lock_rwlock, take_units,    meet,          run_once,
    };

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct torc_scope scope;
        struct peril peril;

        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, 5 * TORC_MILLISECOND);
        peril_open(&peril);
        deeds[torc_sim_random_below(sizeof(deeds) / sizeof(deeds[0]))](arg);
        peril_close(&peril);
        torc_scope_cancel(&scope);
        (void)torc_scope_close(&scope);
    }
    return 0;
}

static void check_values(struct place *place)
{
    struct torc_queue_node *node;
    uint64_t value;

    while (torc_channel_try_receive(&place->channel, &value) == 0)
        note_received(place, value);
    for (uint64_t i = 0; i < place->next; i++)
        TORC_SIM_CHECK(place->received[i] == place->sent[i]);
    while (torc_queue_try_pop(&place->queue, &node) == 0)
        place->popped++;
    TORC_SIM_CHECK(place->popped == place->pushed);
}

static void check_locks(struct place *place)
{
    TORC_SIM_CHECK(torc_semaphore_units(&place->semaphore) == UNITS);
    TORC_SIM_CHECK(place->arrived == place->led * MEETING);
    TORC_SIM_CHECK(place->done == torc_once_is_done(&place->once));
    torc_channel_finish(&place->channel);
    torc_queue_finish(&place->queue);
    torc_mutex_finish(&place->mutex);
    torc_condition_finish(&place->condition);
    torc_rwlock_finish(&place->rwlock);
    torc_semaphore_finish(&place->semaphore);
    torc_barrier_finish(&place->barrier);
    torc_once_finish(&place->once);
    torc_broadcast_finish(&place->broadcast);
}

static int scenario(void *arg)
{
    struct place place = {0};
    const uint32_t capacity = (uint32_t)torc_sim_random_below(4);
    struct torc_scope scope;

    (void)arg;
    torc_channel_init(&place.channel, capacity > 0 ? place.slots : NULL, sizeof(uint64_t),
                      capacity);
    torc_semaphore_init(&place.semaphore, UNITS);
    torc_barrier_init(&place.barrier, MEETING);
    torc_broadcast_init(&place.broadcast, place.broadcast_slots, sizeof(uint64_t), 4);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, BOUND_NS);
    for (unsigned i = 0; i < FIBERS; i++)
        TORC_SIM_CHECK(torc_scope_spawn(&scope, live, &place) == 0);
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    check_alone();
    check_values(&place);
    check_locks(&place);
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}
