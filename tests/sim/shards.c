/* SPDX-License-Identifier: MIT */
/*
 * shards.c - what passes between shards is neither lost nor doubled nor moved, whatever is
 * cancelled and whichever shard ends.
 *
 * Every shard of a program sends numbers to every other one: by messages, by channels that they
 * share, and by calls. Of each pair and way the receiver gets just those that were sent, in their
 * order. Locks that they share are held by one at a time, and the units of a semaphore add up.
 */
#include "books.h"
#include <stdlib.h>

#define SHARDS_MAX  4u
#define SENDERS_MAX 3u
#define MESSAGES    20u
#define BOUND_NS    (60 * TORC_SECOND)

enum way {
    BY_POST,
    BY_CALL,
    BY_ASK,
    BY_SPAWN,
    WAYS,
};

/* What one shard has of another one; what begins in a fiber of its own begins a little later. */
struct ledger {
    uint64_t sent;
    uint64_t received;
};

struct sender {
    struct plan *plan;
    unsigned number; /* among all of the program */
    unsigned shard;
    uint64_t sent; /* by the channel */
};

struct plan {
    unsigned shards;
    unsigned senders;
    unsigned receivers;                               /* that still read the channel */
    unsigned inside;                                  /* the mutex */
    unsigned units;                                   /* that are taken */
    struct ledger ledgers[SHARDS_MAX][SHARDS_MAX][2]; /* the second of what was spawned */
    struct ledger channel[SHARDS_MAX * SENDERS_MAX];
    struct sender all_senders[SHARDS_MAX * SENDERS_MAX];
    struct torc_shared_mutex mutex;
    struct torc_shared_semaphore semaphore;
    struct torc_shared_event event;
    struct torc_shared_channel *values;
};

/* What goes through the channel. */
struct value {
    uint64_t sender;
    uint64_t number;
};

#define UNITS 3u

/* ---- One after the other ---- */

/* What is sent by any of the four ways. */
struct parcel {
    struct torc_message message;
    struct plan *plan;
    unsigned from;
    unsigned to;
    uint64_t number;
    bool is_spawned;
    bool has_run;
};

static struct ledger *ledger_of(const struct parcel *parcel)
{
    return &parcel->plan->ledgers[parcel->from][parcel->to][parcel->is_spawned];
}

/* On the receiving shard: what comes from one fiber of another shard comes in its order. */
static void arrive(struct parcel *parcel)
{
    struct ledger *ledger = ledger_of(parcel);

    TORC_SIM_CHECK(torc_shard_index() == parcel->to);
    TORC_SIM_CHECK(!parcel->has_run);
    parcel->has_run = true;
    TORC_SIM_CHECK(parcel->number == ledger->received);
    ledger->received++;
}

static void run_message(struct torc_message *message)
{
    struct parcel *parcel = (struct parcel *)(void *)message;

    arrive(parcel);
    free(parcel);
}

static int run_leaf(void *arg)
{
    arrive(arg);
    return 7;
}

/* A fiber begins in its turn; from then on others may pass it. */
static int run_fiber(void *arg)
{
    arrive(arg);
    return torc_sleep(some_time(TORC_MILLISECOND)) == 0 ? 7 : -ECANCELED;
}

static int run_own_fiber(void *arg)
{
    arrive(arg);
    free(arg);
    return 0;
}

/* A sent one has run, or will; one that was not sent never will. */
static void send_by(enum way way, struct parcel *parcel)
{
    struct ledger *ledger;
    bool is_sent = false;
    int result;

    parcel->is_spawned = way == BY_SPAWN;
    ledger = ledger_of(parcel);
    parcel->number = ledger->sent++;
    switch (way) {
    case BY_POST:
        parcel->message.run = run_message;
        is_sent = torc_shard_post(parcel->to, &parcel->message) == 0;
        break;
    case BY_SPAWN:
        is_sent = torc_shard_spawn(parcel->to, run_own_fiber, parcel) == 0;
        break;
    default:
        result = way == BY_ASK ? torc_shard_ask(parcel->to, run_leaf, parcel)
                               : torc_shard_call(parcel->to, run_fiber, parcel);
        TORC_SIM_CHECK(result < 0 || (result == 7 && parcel->has_run));
        is_sent = parcel->has_run;
        free(parcel);
        break;
    }
    if (is_sent)
        return;
    ledger->sent--;
    if (way == BY_POST || way == BY_SPAWN)
        free(parcel);
}

/* One fiber of each shard for each other shard, so that there is an order. */
static int send_parcels(void *arg)
{
    struct parcel *pair = arg; /* whose: its numbers of shards */

    for (unsigned i = 0; i < MESSAGES && torc_cancelled() == 0; i++) {
        struct parcel *parcel = malloc(sizeof(*parcel));
        struct peril peril;

        TORC_SIM_CHECK(parcel != NULL);
        *parcel = *pair;
        peril_open(&peril);
        send_by((enum way)torc_sim_random_below(WAYS), parcel);
        peril_close(&peril);
        if (one_in(4))
            (void)torc_sleep(some_time(TORC_MILLISECOND));
    }
    free(pair);
    return 0;
}

/* ---- The channel ---- */

static int send_value(struct sender *sender, const struct value *value)
{
    struct torc_shared_channel *values = sender->plan->values;
    struct torc_case cases[] = {
        torc_case_shared_send(values, value),
        torc_case_deadline(torc_deadline(some_time(TORC_MILLISECOND))),
    };
    int index;

    switch (torc_sim_random_below(3)) {
    case 0:
        return torc_shared_channel_send(values, value);
    case 1:
        return torc_shared_channel_try_send(values, value);
    default:
        index = torc_select(cases, 2);
        return index < 0 ? index : index == 0 ? cases[0].result : -EAGAIN;
    }
}

static int send_values(void *arg)
{
    struct sender *sender = arg;
    int result = 0;

    for (unsigned i = 0; i < MESSAGES && result != -EPIPE && torc_cancelled() == 0; i++) {
        const struct value value = {.sender = sender->number, .number = sender->sent};
        struct peril peril;

        peril_open(&peril);
        sender->sent++; /* It may be received before we know that it was sent. */
        result = send_value(sender, &value);
        if (result < 0)
            sender->sent--;
        peril_close(&peril);
    }
    return 0;
}

static int receive_value(struct plan *plan, struct value *ret_value)
{
    struct torc_case cases[] = {
        torc_case_deadline(torc_deadline(some_time(TORC_MILLISECOND))),
        torc_case_shared_receive(plan->values, ret_value),
    };
    int index;

    switch (torc_sim_random_below(3)) {
    case 0:
        return torc_shared_channel_receive(plan->values, ret_value);
    case 1:
        return torc_shared_channel_try_receive(plan->values, ret_value);
    default:
        index = torc_select(cases, 2);
        return index < 0 ? index : index == 1 ? cases[1].result : -EAGAIN;
    }
}

/* One receiver gets what a sender has sent in its order; of several each a part, in order. */
static int receive_values(void *arg)
{
    struct plan *plan = arg;
    uint64_t next[SHARDS_MAX * SENDERS_MAX] = {0};
    int result = 0;

    while (result != -EPIPE && torc_cancelled() == 0) {
        struct value value;
        struct peril peril;

        peril_open(&peril);
        result = receive_value(plan, &value);
        peril_close(&peril);
        if (result == -EAGAIN)
            (void)torc_sleep(some_time(TORC_MILLISECOND));
        if (result < 0)
            continue;
        TORC_SIM_CHECK(value.sender < SHARDS_MAX * SENDERS_MAX);
        TORC_SIM_CHECK(value.number >= next[value.sender]);
        TORC_SIM_CHECK(value.number < plan->all_senders[value.sender].sent);
        next[value.sender] = value.number + 1;
        plan->channel[value.sender].received++;
    }
    plan->receivers--;
    return 0;
}

/* ---- Locks ---- */

static void enter(struct plan *plan)
{
    const bool waits = one_in(2);

    if ((waits ? torc_shared_mutex_lock(&plan->mutex) : torc_shared_mutex_try_lock(&plan->mutex)) <
        0)
        return;
    TORC_SIM_CHECK(plan->inside++ == 0);
    (void)torc_sleep(some_time(TORC_MILLISECOND / 4));
    TORC_SIM_CHECK(--plan->inside == 0);
    torc_shared_mutex_unlock(&plan->mutex);
}

static void take_units(struct plan *plan)
{
    const uint32_t units = (uint32_t)torc_sim_random_below(UNITS) + 1;

    if (torc_shared_semaphore_acquire(&plan->semaphore, units) < 0)
        return;
    plan->units += units;
    TORC_SIM_CHECK(plan->units <= UNITS);
    (void)torc_sleep(some_time(TORC_MILLISECOND / 4));
    plan->units -= units;
    torc_shared_semaphore_release(&plan->semaphore, units);
}

static int use_locks(void *arg)
{
    struct plan *plan = arg;

    for (unsigned i = 0; i < MESSAGES && torc_cancelled() == 0; i++) {
        struct peril peril;

        peril_open(&peril);
        switch (torc_sim_random_below(4)) {
        case 0:
            take_units(plan);
            break;
        case 1:
            (void)torc_shared_event_wait(&plan->event);
            break;
        case 2:
            torc_shared_event_set(&plan->event);
            torc_shared_event_clear(&plan->event);
            break;
        default:
            enter(plan);
            break;
        }
        peril_close(&peril);
    }
    return 0;
}

/* ---- The program ---- */

static void start_senders(struct plan *plan, struct torc_scope *scope)
{
    const unsigned shard = torc_shard_index();

    for (unsigned to = 0; to < plan->shards; to++) {
        struct parcel *pair;

        if (to == shard)
            continue; /* A call of the own shard is no message, and so overtakes them. */
        pair = malloc(sizeof(*pair));
        TORC_SIM_CHECK(pair != NULL);
        *pair = (struct parcel){.plan = plan, .from = shard, .to = to};
        TORC_SIM_CHECK(torc_scope_spawn(scope, send_parcels, pair) == 0);
    }
    for (uint64_t i = torc_sim_random_below(SENDERS_MAX + 1); i > 0; i--) {
        const unsigned number = plan->senders++;

        plan->all_senders[number] = (struct sender){.plan = plan, .number = number, .shard = shard};
        TORC_SIM_CHECK(torc_scope_spawn(scope, send_values, &plan->all_senders[number]) == 0);
    }
}

/* A shard whose receiver has gone may end before the others; some stop them all. */
static int shard_main(void *arg)
{
    struct plan *plan = arg;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, some_time(100 * TORC_MILLISECOND)); /* Some wait for nothing. */
    start_senders(plan, &scope);
    for (uint64_t i = torc_sim_random_below(3); i > 0; i--) {
        plan->receivers++;
        TORC_SIM_CHECK(torc_spawn(receive_values, plan) == 0);
    }
    TORC_SIM_CHECK(torc_scope_spawn(&scope, use_locks, plan) == 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, use_locks, plan) == 0);
    if (one_in(4))
        (void)torc_sleep(some_time(20 * TORC_MILLISECOND));
    if (one_in(8))
        torc_stop();
    if (plan->receivers == 0)
        torc_shared_channel_close(plan->values);
    (void)torc_scope_close(&scope);
    (void)torc_sleep(some_time(10 * TORC_MILLISECOND));
    if (one_in(2))
        torc_shared_channel_close(plan->values);
    return 0;
}

/* What is in the channel was sent and not received. */
static void drain(struct plan *plan)
{
    struct value value;

    while (torc_shared_channel_try_receive(plan->values, &value) == 0)
        plan->channel[value.sender].received++;
    torc_shared_channel_release(plan->values);
}

static void check_books(struct plan *plan)
{
    drain(plan);
    TORC_SIM_CHECK(plan->receivers == 0);
    for (unsigned i = 0; i < plan->senders; i++)
        TORC_SIM_CHECK(plan->channel[i].received == plan->all_senders[i].sent);
    for (unsigned from = 0; from < plan->shards; from++) {
        for (unsigned to = 0; to < plan->shards; to++) {
            const struct ledger *ledgers = plan->ledgers[from][to];

            TORC_SIM_CHECK(ledgers[0].sent == ledgers[0].received);
            TORC_SIM_CHECK(ledgers[1].sent == ledgers[1].received);
        }
    }
    torc_shared_mutex_finish(&plan->mutex);
    torc_shared_event_finish(&plan->event);
    TORC_SIM_CHECK(torc_shared_semaphore_try_acquire(&plan->semaphore, UNITS) == 0);
    torc_shared_semaphore_finish(&plan->semaphore);
}

static int program(void *arg)
{
    const uint32_t capacity = (uint32_t)torc_sim_random_below(8) + 1;
    struct plan plan = {.shards = (unsigned)torc_sim_random_below(SHARDS_MAX) + 1};
    const struct torc_options options = {.shards = (int)plan.shards};

    (void)arg;
    torc_shared_semaphore_init(&plan.semaphore, UNITS);
    TORC_SIM_CHECK(torc_shared_channel_create(capacity, sizeof(struct value), &plan.values) == 0);
    TORC_SIM_CHECK(run_and_check(shard_main, &plan, &options) <= 0);
    check_books(&plan);
    return 0;
}

static int scenario(void *arg)
{
    struct torc_sim_host *host;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("machine", NULL, program, NULL, &host) == 0);
    TORC_SIM_CHECK(wait_for_end(host, BOUND_NS) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}
