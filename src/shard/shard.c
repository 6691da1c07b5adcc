/* SPDX-License-Identifier: MIT */
/*
 * shard.c - the loop of a shard.
 *
 * One round: turn the driver (submit, perhaps wait, tell completions), take the mail, read the
 * clock, fire timers, then run fibers until none is ready or the budget is spent. So nothing
 * starves, however busy the fibers are; and completions come before timers, so that data which
 * has arrived beats a deadline which passed at the same time.
 */
#include "base/clock.h"
#include "base/trace.h"
#include "driver/thread.h"
#include "fiber/sanitizer.h"
#include "shard/diagnose.h"
#include "shard/observer.h"
#include "shard/runtime.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * Fibers may run for about so long in a round, and prepare about so many ops: a batch that is large
 * enough to share a system call, and small enough for its memory to be still in the cache. The
 * budget is counted in switches, so that none of them reads the clock; how many fit is learnt from
 * the rounds before.
 */
#define ROUND_NS_MAX       UINT64_C(50000)
#define ROUND_OPS_MAX      UINT64_C(64)
#define ROUND_SWITCHES_MAX 1024u

/*
 * A round fires so many timers at most; what they wake is still in the cache when it runs. Where
 * the round before has left fibers it is half of what a round can run, and some: else timers would
 * fill the run queue faster than it is emptied, and be long out of the cache.
 */
#define ROUND_TIMERS_MAX 256u
#define ROUND_TIMERS_MIN 32u

/* And it runs so many messages at most, however many come; the others stay first in line. */
#define ROUND_MESSAGES_MAX 256u

/* How far into a queue it is looked how long fibers wait in it. */
#define BACKLOG_MAX 4096u

#define FIBERS_MAX_DEFAULT (UINT32_C(1) << 22)
#define STACK_SIZE_MIN     (16u * 1024u)
#define STACK_SIZE_MAX     (64u * 1024u * 1024u)
#define TIMER_SLACK_NS     UINT64_C(230000)
/* After so many in a row that fired alone, timers are not dense. */
#define LONE_TIMERS            2
#define SHUTDOWN_WARN_NS       (5 * NS_PER_SECOND)
#define TRIM_AFTER_NS          NS_PER_SECOND
#define FREE_STACKS_WORTH_TRIM 512u
#define RECEIVE_SIZE_MIN       4096u
#define RECEIVE_SIZE_MAX       (1024u * 1024u)
#define RECEIVE_BUFFERS_MAX    32768u

/* How often feeds may begin again in each other's ends when the shard closes. */
#define REFUSED_MAX 1000u

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

/* ---- The parts of a round ---- */

static bool has_mail(const struct torc__shard *shard)
{
    return shard->mail != NULL || torc__mailbox_has_mail(shard->mailbox);
}

/* What was taken earlier comes before what has been sent since, so nothing is overtaken. */
static void serve_mail(struct torc__shard *shard)
{
    if (likely(!has_mail(shard)))
        return;
    if (shard->mail == NULL)
        shard->mail = torc__mailbox_take(shard->mailbox);
    for (unsigned i = 0; i < ROUND_MESSAGES_MAX && shard->mail != NULL; i++) {
        struct torc_message *message = shard->mail;

        shard->mail = message->_next; /* `run` may free it. */
        shard->messages++;
        message->run(message);
    }
}

/* Whether `used` is over `limit`; then the budget shrinks so that the like of it fits. */
static bool shrink_budget(struct torc__shard *shard, uint64_t used, uint64_t limit)
{
    uint64_t switched = shard->budget_full - shard->budget;
    uint64_t fitting;

    if (used <= limit)
        return false;
    fitting = switched * limit / used;
    shard->budget_full = fitting > 0 ? (uint32_t)fitting : 1;
    return true;
}

static void note_delay(struct torc__shard *shard, uint64_t delay_ns)
{
    const unsigned bucket = 63u - (unsigned)__builtin_clzll(delay_ns | 1);

    shard->run_delays[bucket < TORC_RUN_DELAYS ? bucket : TORC_RUN_DELAYS - 1]++;
    shard->run_delay_ns += delay_ns;
}

/*
 * Fibers are left for the next round: how long the last of them will have waited is known when
 * there have been as many switches. The queue is walked, but for one in each such time only.
 */
static void note_backlog(struct torc__shard *shard, uint64_t now_ns)
{
    uint64_t count = 0;

    if (shard->marked_switches > shard->switches)
        return;
    if (shard->marked_switches != 0)
        note_delay(shard, now_ns - shard->marked_ns);
    for (struct torc_fiber *fiber = shard->ready_first; fiber != NULL && count < BACKLOG_MAX;
         fiber = fiber->next)
        count++;
    shard->marked_switches = shard->switches + count;
    shard->marked_ns = now_ns;
}

/* Fibers have run until `now_ns`. Returns for how long. */
static uint64_t note_round(struct torc__shard *shard, uint64_t now_ns)
{
    uint64_t used_ns = now_ns - shard->round_time_ns;

    shard->round_ns = used_ns;
    if (used_ns > shard->round_ns_max)
        shard->round_ns_max = used_ns;
    return used_ns;
}

/* All that was ready has run, and nothing is left to do at once. */
static void note_drained(struct torc__shard *shard, uint64_t now_ns)
{
    uint64_t delay_ns = note_round(shard, now_ns);

    if (unlikely(shard->marked_switches != 0)) {
        delay_ns = now_ns - shard->marked_ns;
        shard->marked_switches = 0;
    }
    note_delay(shard, delay_ns);
}

/* Something is left for the next round. Returns for how long fibers have run. */
static uint64_t note_left(struct torc__shard *shard, uint64_t now_ns)
{
    if (shard->ready_first != NULL)
        note_backlog(shard, now_ns);
    return note_round(shard, now_ns);
}

/* Fibers have run for `used_ns` since the last turn. */
static void adapt_budget(struct torc__shard *shard, uint64_t used_ns)
{
    uint64_t used_ops = shard->driver->stats.ops - shard->round_ops;

    if (shrink_budget(shard, used_ns, ROUND_NS_MAX) ||
        shrink_budget(shard, used_ops, ROUND_OPS_MAX))
        return;
    if (shard->budget == 0 && used_ns < ROUND_NS_MAX / 2 && used_ops < ROUND_OPS_MAX / 2 &&
        shard->budget_full < ROUND_SWITCHES_MAX)
        shard->budget_full *= 2;
}

/* Who is hot goes before all others. */
static void take_hot(struct torc__shard *shard)
{
    if (shard->ready_first == NULL)
        shard->ready_last = shard->hot_last;
    *shard->hot_last = shard->ready_first;
    shard->ready_first = shard->hot_first;
    shard->hot_first = NULL;
    shard->hot_last = &shard->hot_first;
}

static void run_fibers(struct torc__shard *shard)
{
    shard->budget = shard->budget_full;
    if (shard->hot_first != NULL)
        take_hot(shard);
    if (shard->ready_first != NULL)
        torc__park(shard);
    while (unlikely(shard->call != NULL)) {
        torc__thread_call_serve(shard);
        torc__park(shard);
    }
}

/* ---- Waiting ---- */

/*
 * When the next wait has to end for timers. Waking costs far more than serving a timer, so where
 * timers are so dense that a service fires several, those that are near each other share the next.
 * Timers that come one by one are never made to wait.
 */
static uint64_t timer_deadline(const struct torc__shard *shard, uint64_t now_ns)
{
    if (shard->lone_timers >= LONE_TIMERS)
        return torc__timers_next(&shard->timers);
    return torc__timers_next_of_company(&shard->timers, now_ns, shard->timer_slack_ns);
}

static unsigned timers_max(const struct torc__shard *shard)
{
    const unsigned half = shard->budget_full / 2;

    if (shard->ready_first == NULL || half > ROUND_TIMERS_MAX)
        return ROUND_TIMERS_MAX;
    return half > ROUND_TIMERS_MIN ? half : ROUND_TIMERS_MIN;
}

/*
 * Read the clock for this round, and fire what is due. A crowd of timers that go to a lower level
 * lets none fire until all are there: so they may take as long as fibers did, where that is longer.
 */
static void serve_timers(struct torc__shard *shard)
{
    struct torc__driver *driver = shard->driver;
    unsigned fired;

    shard->round_time_ns = driver->ops->now(driver);
    do
        fired = torc__timers_serve(&shard->timers, shard->round_time_ns, timers_max(shard));
    while (unlikely(torc__timers_are_moving(&shard->timers)) && fired == 0 &&
           driver->ops->now(driver) - shard->round_time_ns < shard->round_ns);
    if (fired > 1)
        shard->lone_timers = 0;
    else if (fired == 1 && shard->lone_timers < LONE_TIMERS)
        shard->lone_timers++;
}

/* The clock is read only if a timer runs. */
static bool timer_is_due(const struct torc__shard *shard)
{
    const uint64_t next_ns = torc__timers_next(&shard->timers);

    return next_ns != TORC_FOREVER && next_ns <= shard->driver->ops->now(shard->driver);
}

/* What was collected in this round goes with the turn that follows. */
static void prepare_turn(struct torc__shard *shard)
{
    if (shard->before_turn != NULL)
        shard->before_turn(shard);
}

/* What has come is told before a timer fires, though the driver was too busy to look for it. */
static void catch_up(struct torc__shard *shard)
{
    if (!timer_is_due(shard))
        return;
    prepare_turn(shard);
    (void)shard->driver->ops->turn(shard->driver, DRIVER_LOOK);
}

/* Poll until something has come or `until_ns`. Returns whether something has. */
static bool poll_until(struct torc__shard *shard, uint64_t until_ns)
{
    struct torc__driver *driver = shard->driver;

    do {
        for (int i = 0; i < 8; i++) {
            if (driver->ops->turn(driver, DRIVER_NO_WAIT) > 0 || shard->ready_first != NULL ||
                torc__mailbox_has_mail(shard->mailbox))
                return true;
            torc__cpu_relax();
        }
    } while (driver->ops->now(driver) < until_ns);
    return false;
}

static void sleep_until(struct torc__shard *shard, uint64_t until_ns)
{
    struct torc__driver *driver = shard->driver;

    if (!torc__mailbox_sleep(shard->mailbox))
        until_ns = DRIVER_NO_WAIT;
    if (unlikely(shard->trace != NULL))
        torc__trace_add(shard->trace, (struct torc__trace_event){.kind = TRACE_SLEEP});
    (void)driver->ops->turn(driver, until_ns);
    torc__mailbox_woken(shard->mailbox);
    torc__observer_awake(shard->observer);
    if (unlikely(shard->trace != NULL))
        torc__trace_add(shard->trace, (struct torc__trace_event){.kind = TRACE_AWAKE});
}

/* Poll first if that promises something, then sleep. Returns what ended the wait. */
static enum wait_end wait_until(struct torc__shard *shard, uint64_t begun_ns, uint64_t deadline_ns)
{
    uint64_t poll_ns = torc__poll_policy_begin(&shard->poll, begun_ns);
    uint64_t until_ns = torc__time_add(begun_ns, poll_ns);

    if (poll_ns > 0) {
        if (poll_until(shard, until_ns < deadline_ns ? until_ns : deadline_ns))
            return WAIT_POLLED;
        if (deadline_ns <= until_ns)
            return WAIT_TIMER;
    }
    sleep_until(shard, deadline_ns);
    return poll_ns > 0 ? WAIT_POLL_LOST : WAIT_SLEPT;
}

static void note_idle(struct torc__shard *shard, enum wait_end end, uint64_t waited_ns)
{
    shard->idle_since_ns = 0;
    shard->idle_ns += waited_ns;
    if (end == WAIT_POLLED)
        shard->polled_ns += waited_ns;
    else if (end == WAIT_POLL_LOST)
        shard->polled_ns += shard->poll.limit_ns;
}

/* Nothing is ready: submit, and wait for a completion, a message or a timer. */
static void idle(struct torc__shard *shard)
{
    struct torc__driver *driver = shard->driver;
    uint64_t begun_ns = driver->ops->now(driver);
    uint64_t deadline_ns = timer_deadline(shard, begun_ns);
    uint64_t ended_ns;
    enum wait_end end;

    note_drained(shard, begun_ns);
    if (deadline_ns <= begun_ns) {
        (void)driver->ops->turn(driver, DRIVER_NO_WAIT);
        return;
    }
    shard->idle_since_ns = begun_ns;
    end = wait_until(shard, begun_ns, deadline_ns);
    ended_ns = driver->ops->now(driver);
    note_idle(shard, end, ended_ns - begun_ns);
    if (ended_ns >= deadline_ns && end != WAIT_POLLED)
        end = WAIT_TIMER;
    torc__poll_policy_end(&shard->poll, end, ended_ns - begun_ns, ended_ns);
}

/* ---- Housekeeping ---- */

/* Give back the memory of stacks that stayed free. */
static void trim_stacks(struct torc_timer *timer)
{
    struct torc__shard *shard = container_of(timer, struct torc__shard, trim);

    (void)torc__stacks_trim(&shard->stacks);
}

/* Many stacks have become free: trim in a second, unless they are used again by then. */
static void plan_trim(struct torc__shard *shard)
{
    if (!torc__timer_is_running(&shard->trim) &&
        shard->stacks.touched > shard->stacks.used + FREE_STACKS_WORTH_TRIM &&
        shard->stacks.used_peak > shard->stacks.used + FREE_STACKS_WORTH_TRIM)
        torc__timer_start(&shard->timers, &shard->trim,
                          torc__time_add(shard->round_time_ns, TRIM_AFTER_NS), trim_stacks);
}

/* ---- The loop ---- */

static bool something_left(const struct torc__shard *shard)
{
    return shard->root._fiber_count > 0 || shard->refused != NULL ||
           (shard->closing && (shard->mail != NULL || torc__driver_in_flight(shard->driver) > 0));
}

/* All fibers have ended. */
static void cancel_feeds(struct torc__shard *shard)
{
    for (struct torc_op *feed = shard->feeds; feed != NULL; feed = feed->_next)
        torc__op_hurry(shard, feed);
}

/* Those that would have begun while the shard closes: see torc_op_prepare_feed(). */
static void end_refused(struct torc__shard *shard)
{
    unsigned begun = 0; /* by these ends, one after the other */

    while (shard->refused != NULL) {
        struct torc_op *op = shard->refused;
        const struct torc_op *rest = op->_next;

        op->_complete(op, -ECANCELED, 0, 0); /* Which takes it out. */
        begun = shard->refused == rest ? 0 : begun + 1;
        TORC_REQUIRE(begun < REFUSED_MAX, "a feed begins again and again, though it is cancelled");
    }
}

static void run_loop(struct torc__shard *shard)
{
    struct torc__driver *driver = shard->driver;

    while (something_left(shard)) {
        if (unlikely(shard->refused != NULL)) {
            end_refused(shard);
            continue; /* Perhaps nothing is left. */
        }
        shard->rounds++;
        if (unlikely(shard->closing) && shard->root._fiber_count == 0 && shard->mail == NULL)
            cancel_feeds(shard);
        prepare_turn(shard);
        if (shard->ready_first != NULL || unlikely(shard->mail != NULL)) {
            adapt_budget(shard, note_left(shard, driver->ops->now(driver)));
            (void)driver->ops->turn(driver, DRIVER_NO_WAIT);
        } else {
            plan_trim(shard);
            idle(shard);
        }
        shard->round_ops = driver->stats.ops;
        serve_mail(shard);
        if (driver->is_behind)
            catch_up(shard);
        serve_timers(shard);
        run_fibers(shard);
        torc__mailbox_set_load(shard->mailbox, shard->fibers.alive);
    }
}

/* ---- Life ---- */

static bool receive_options_are_valid(const struct torc_options *options)
{
    const uint32_t size = options->receive_buffer_size;

    if (size != 0 &&
        (size < RECEIVE_SIZE_MIN || size > RECEIVE_SIZE_MAX || (size & (size - 1)) != 0))
        return false;
    return options->receive_buffers <= RECEIVE_BUFFERS_MAX &&
           options->receive_buffers_max <= RECEIVE_BUFFERS_MAX;
}

static int read_options(struct torc__shard *shard, const struct torc_options *options)
{
    size_t stack_size = (size_t)or_default(options->stack_size, STACK_SIZE_DEFAULT);

    if (stack_size < STACK_SIZE_MIN || stack_size > STACK_SIZE_MAX)
        return -EINVAL;
    if (!receive_options_are_valid(options))
        return -EINVAL;
    if (options->fibers_max > (UINT32_C(1) << 30) || options->timer_slack_ns > NS_PER_SECOND)
        return -EINVAL;
    shard->timer_slack_ns = or_default(options->timer_slack_ns, TIMER_SLACK_NS);
    shard->lone_timers = LONE_TIMERS;
    shard->check_misuse = torc__check_wanted(options);
    shard->shutdown_warn_ns = or_default(options->shutdown_warn_ns, SHUTDOWN_WARN_NS);
    torc__fibers_init(&shard->fibers,
                      (uint32_t)or_default(options->fibers_max, FIBERS_MAX_DEFAULT));
    return torc__poll_policy_init(&shard->poll, options);
}

/* What sanitizers want to know of the stack that the loop runs on. */
static void note_thread_stack(struct torc__shard *shard)
{
#if TORC_ASAN
    torc__thread_stack(&shard->thread_stack_low, &shard->thread_stack_size);
#endif
#if TORC_TSAN
    shard->thread_tsan = __tsan_get_current_fiber();
#endif
    (void)shard;
}

int torc__shard_start(const struct torc__shard_options *options, struct torc__shard **ret_shard)
{
    struct torc__shard *shard = aligned_alloc(64, (sizeof(*shard) + 63) / 64 * 64);
    int result;

    if (shard == NULL)
        return -ENOMEM;
    memset(shard, 0, sizeof(*shard));
    shard->runtime = options->runtime;
    shard->pool = options->pool;
    shard->index = options->index;
    shard->at_once.more_fd = -1;
    shard->random = options->index * UINT64_C(0x9e3779b97f4a7c15); /* Shards choose differently. */
    shard->mailbox = options->mailbox;
    shard->ready_last = &shard->ready_first;
    shard->hot_last = &shard->hot_first;
    shard->budget_full = ROUND_OPS_MAX;
    shard->errno_of_thread = &errno;
    (void)pthread_getcpuclockid(pthread_self(), &shard->cpu_clock);
    shard->running = &shard->loop;
    shard->loop.state = FIBER_RUNNING;
    shard->loop.sp = &shard->loop; /* Anything but NULL, which is for fibers that never ran. */
    result = read_options(shard, options->options);
    if (result == 0)
        result = torc__driver_create(options->options, shard->pool, &shard->driver);
    if (result < 0) {
        free(shard);
        return result;
    }
    torc__stacks_init(&shard->stacks,
                      (size_t)or_default(options->options->stack_size, STACK_SIZE_DEFAULT),
                      shard->driver->forbid & TORC_FEATURE_GUARD_REGIONS);
    torc__scope_init_root(&shard->root);
    shard->round_time_ns = shard->driver->ops->now(shard->driver);
    torc__timers_init(&shard->timers, shard->round_time_ns);
    torc__mailbox_open(shard->mailbox, shard->driver);
    note_thread_stack(shard);
    torc__shard = shard;
    torc__inspect_add(shard);
    *ret_shard = shard;
    return 0;
}

struct main_start {
    struct torc__shard *shard;
    torc_fiber_fn *body;
    void *arg;
};

/* The first fiber of a shard. When it ends, the shard does. */
static int main_fiber(void *arg)
{
    const struct main_start start = *(struct main_start *)arg;
    struct torc__shard *shard = start.shard;
    int result;

    torc_fiber_set_name("main");
    result = start.body(start.arg);
    TORC_ASSERT(torc__shard == shard); /* As in torc__fiber_main(). */
    if (torc__reason(shard) != 0 && (result == -ECANCELED || result == -ETIME))
        result = 0; /* It was told to stop, and did. */
    shard->main_result = result;
    if (result < 0)
        torc__runtime_stop(shard->runtime);
    torc__shard_stop(shard);
    return 0;
}

/* What has not ended by then is named. */
static void plan_warning(struct torc__shard *shard, uint64_t now_ns)
{
    if (!torc__timer_is_running(&shard->warn))
        torc__timer_start(&shard->timers, &shard->warn,
                          torc__time_add(now_ns, shard->shutdown_warn_ns), torc__name_remaining);
}

void torc__shard_stop(struct torc__shard *shard)
{
    const uint64_t now_ns = shard->driver->ops->now(shard->driver);

    torc_scope_cancel(&shard->root);
    plan_warning(shard, now_ns);
}

/*
 * The last fiber has ended. Messages that are there still are run, and may start fibers, as feeds
 * may whose last completion brings something; so the loop goes on until none of all these is left.
 */
static void close_down(struct torc__shard *shard)
{
    struct torc_message **last = &shard->mail;

    while (*last != NULL)
        last = &(*last)->_next;
    *last = torc__mailbox_close(shard->mailbox);
    shard->closing = true;
    torc__timer_stop(&shard->timers, &shard->warn); /* That was for fibers. */
    plan_warning(shard, shard->driver->ops->now(shard->driver));
    run_loop(shard); /* It cancels the feeds when the messages have been run. */
}

int torc__shard_run(struct torc__shard *shard, torc_fiber_fn *main, void *arg,
                    int *ret_fiber_failure)
{
    struct main_start start = {.shard = shard, .body = main, .arg = arg};

    shard->main_result = torc__spawn(shard, &shard->root, main_fiber, &start, false);
    if (shard->main_result < 0)
        torc__runtime_stop(shard->runtime);
    run_loop(shard);
    close_down(shard);
    /* What was queued last may be a wake-up that another shard waits for. */
    (void)shard->driver->ops->turn(shard->driver, DRIVER_NO_WAIT);
    torc__timer_stop(&shard->timers, &shard->warn);
    *ret_fiber_failure = shard->root._failure;
    return shard->main_result;
}

void torc__shard_finish(struct torc__shard *shard)
{
    torc__inspect_remove(shard);
    (void)torc__mailbox_close(shard->mailbox); /* Not done yet if the shard never ran. */
    torc__timer_stop(&shard->timers, &shard->trim);
    if (shard->finish_streams != NULL)
        shard->finish_streams(shard);
    torc__pipes_finish(&shard->pipes, shard->driver);
    if (shard->resolver != NULL)
        shard->destroy_resolver(shard->resolver);
    torc__driver_destroy(shard->driver);
    torc__stacks_finish(&shard->stacks);
    torc__fibers_finish(&shard->fibers);
    torc__mailbox_release(shard->mailbox);
    torc__shard = NULL;
    free(shard);
}

void torc__shard_abandon(struct torc__shard *shard)
{
    torc__inspect_remove(shard);
    torc__stacks_abandon(&shard->stacks);
    if (TORC_ASAN)
        return; /* What its fibers had allocated is found on its stacks, and what it has itself. */
    shard->fibers.alive = 0;
    torc__fibers_finish(&shard->fibers);
    torc__mailbox_abandon(shard->mailbox);
    free(shard->driver);
    free(shard);
}
