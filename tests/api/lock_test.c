/* SPDX-License-Identifier: MIT */
/*
 * lock_test.c - mutex, condition, read-write lock, semaphore: order, hand-over, cancellation.
 */
#include "harness/run.h"
#include <errno.h>
#include <signal.h>
#include <torc/torc.h>

/* What several fibers do, in the order in which they did it. */
static char story[64];
static unsigned story_length;

static void tell(char what)
{
    EXPECT_UINT(story_length, <, sizeof(story) - 1);
    story[story_length++] = what;
    story[story_length] = '\0';
}

/* ---- Mutex ---- */

struct locker {
    struct torc_mutex *mutex;
    char name;
    int result;
};

static int lock_and_tell(void *arg)
{
    struct locker *locker = arg;

    locker->result = torc_mutex_lock(locker->mutex);
    if (locker->result < 0)
        return 0;
    tell(locker->name);
    torc_yield();
    torc_mutex_unlock(locker->mutex);
    return 0;
}

FIBER_TEST(a_mutex_is_handed_over_first_come_first_served)
{
    struct torc_mutex mutex = {0};
    struct locker lockers[3] = {{&mutex, 'a', 1}, {&mutex, 'b', 1}, {&mutex, 'c', 1}};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_mutex_lock(&mutex), ==, 0);
    EXPECT(torc_mutex_is_mine(&mutex));
    for (unsigned i = 0; i < 3; i++)
        harness_spawn(&scope, lock_and_tell, &lockers[i]);
    harness_yield(3);
    EXPECT_STR(story, "");
    torc_mutex_unlock(&mutex);
    EXPECT(!torc_mutex_is_mine(&mutex)); /* It is a's already, though that has not run yet. */
    EXPECT_INT(torc_mutex_try_lock(&mutex), ==, -EBUSY);
    EXPECT_INT(torc_mutex_lock(&mutex), ==, 0); /* Behind all of them. */
    EXPECT_STR(story, "abc");
    torc_mutex_unlock(&mutex);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_mutex_finish(&mutex);
}

FIBER_TEST(a_cancelled_wait_for_a_mutex_leaves_the_queue)
{
    struct torc_mutex mutex = {0};
    struct locker lockers[2] = {{&mutex, 'a', 1}, {&mutex, 'b', 1}};
    struct torc_scope outer;
    struct torc_scope inner;

    torc_scope_open(&outer, 0);
    torc_scope_open(&inner, 0);
    EXPECT_INT(torc_mutex_lock(&mutex), ==, 0);
    harness_spawn(&inner, lock_and_tell, &lockers[0]);
    harness_spawn(&outer, lock_and_tell, &lockers[1]);
    harness_yield(2);
    torc_scope_cancel(&inner);
    EXPECT_INT(torc_scope_close(&inner), ==, -ECANCELED);
    torc_mutex_unlock(&mutex);
    EXPECT_INT(torc_scope_close(&outer), ==, 0);
    EXPECT_INT(lockers[0].result, ==, -ECANCELED);
    EXPECT_INT(lockers[1].result, ==, 0);
    EXPECT_STR(story, "b");
    EXPECT_INT(torc_mutex_try_lock(&mutex), ==, 0);
    torc_mutex_unlock(&mutex);
}

FIBER_TEST(a_mutex_that_was_handed_over_stays_so_when_the_scope_is_cancelled_then)
{
    struct torc_mutex mutex = {0};
    struct locker locker = {&mutex, 'a', 1};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_mutex_lock(&mutex), ==, 0);
    harness_spawn(&scope, lock_and_tell, &locker);
    torc_yield();
    torc_mutex_unlock(&mutex);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_mutex_lock(&mutex), ==, -ECANCELED); /* Not even if it were free. */
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(locker.result, ==, 0);
    EXPECT_INT(torc_mutex_try_lock(&mutex), ==, 0); /* a has given it back. */
    torc_mutex_unlock(&mutex);
}

static void finish_held_mutex(void)
{
    struct torc_mutex mutex = {0};

    EXPECT_INT(torc_mutex_lock(&mutex), ==, 0);
    torc_mutex_finish(&mutex);
}

static void lock_twice(void)
{
    struct torc_mutex mutex = {0};

    EXPECT_INT(torc_mutex_lock(&mutex), ==, 0);
    (void)torc_mutex_lock(&mutex);
}

static void unlock_unheld(void)
{
    struct torc_mutex mutex = {0};

    torc_mutex_unlock(&mutex);
}

TEST(misuse_of_a_mutex_aborts)
{
    harness_expect_fiber_death(finish_held_mutex, SIGABRT, "_owner");
    harness_expect_fiber_death(lock_twice, SIGABRT, "_owner");
    harness_expect_fiber_death(unlock_unheld, SIGABRT, "torc_mutex_is_mine");
}

/* ---- Condition ---- */

struct consumer {
    struct torc_mutex *mutex;
    struct torc_condition *condition;
    unsigned *stock;
    char name;
    int result;
    bool held; /* the mutex, after the wait */
};

static int consume(void *arg)
{
    struct consumer *consumer = arg;

    EXPECT_INT(torc_mutex_lock(consumer->mutex), ==, 0);
    while (*consumer->stock == 0 && consumer->result == 0)
        consumer->result = torc_condition_wait(consumer->condition, consumer->mutex);
    consumer->held = torc_mutex_is_mine(consumer->mutex);
    if (consumer->result == 0) {
        --*consumer->stock;
        tell(consumer->name);
    }
    torc_mutex_unlock(consumer->mutex);
    return 0;
}

FIBER_TEST(a_condition_wakes_in_order_and_gives_the_mutex_back)
{
    struct torc_mutex mutex = {0};
    struct torc_condition condition = {0};
    unsigned stock = 0;
    struct consumer consumers[3];
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 3; i++) {
        consumers[i] = (struct consumer){&mutex, &condition, &stock, (char)('a' + i), 0, false};
        harness_spawn(&scope, consume, &consumers[i]);
    }
    harness_yield(2);
    EXPECT_INT(torc_mutex_try_lock(&mutex), ==, 0); /* All wait, none holds it. */
    stock = 3;
    torc_condition_signal(&condition);
    torc_mutex_unlock(&mutex);
    harness_yield(2);
    EXPECT_STR(story, "a");
    torc_condition_broadcast(&condition);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_STR(story, "abc");
    torc_condition_finish(&condition);
    torc_mutex_finish(&mutex);
}

FIBER_TEST(a_cancelled_condition_wait_takes_the_mutex_again_however_long_that_takes)
{
    struct torc_mutex mutex = {0};
    struct torc_condition condition = {0};
    unsigned stock = 0;
    struct consumer consumer = {&mutex, &condition, &stock, 'a', 0, false};
    struct torc_scope scope;
    struct torc_scope shield;

    torc_scope_open(&scope, 0);
    torc_scope_open(&shield, TORC_SHIELD);
    harness_spawn(&scope, consume, &consumer);
    harness_yield(2);
    EXPECT_INT(torc_mutex_lock(&mutex), ==, 0);
    torc_scope_cancel(&scope);
    harness_yield(3);
    EXPECT(!consumer.held); /* It waits for us, in spite of the reason. */
    torc_mutex_unlock(&mutex);
    EXPECT_INT(torc_scope_close(&shield), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT(consumer.held);
    EXPECT_INT(consumer.result, ==, -ECANCELED);
    EXPECT_INT(torc_mutex_try_lock(&mutex), ==, 0);
    torc_mutex_unlock(&mutex);
}

FIBER_TEST(a_condition_wait_in_a_cancelled_scope_does_not_give_the_mutex_back)
{
    struct torc_mutex mutex = {0};
    struct torc_condition condition = {0};
    struct torc_scope scope;

    EXPECT_INT(torc_mutex_lock(&mutex), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_condition_wait(&condition, &mutex), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    torc_mutex_unlock(&mutex);
}

/* ---- Read-write lock ---- */

struct reader_or_writer {
    struct torc_rwlock *lock;
    char name; /* lower case reads, upper case writes */
    int result;
    struct torc_event *release;
};

static int read_or_write(void *arg)
{
    struct reader_or_writer *self = arg;
    const bool writes = self->name < 'a';

    self->result = writes ? torc_rwlock_write_lock(self->lock) : torc_rwlock_read_lock(self->lock);
    if (self->result < 0)
        return 0;
    tell(self->name);
    EXPECT_INT(torc_event_wait(self->release), ==, 0);
    if (writes)
        torc_rwlock_write_unlock(self->lock);
    else
        torc_rwlock_read_unlock(self->lock);
    return 0;
}

static void start(struct torc_scope *scope, struct reader_or_writer *selves, const char *names,
                  struct torc_rwlock *lock, struct torc_event *release)
{
    for (unsigned i = 0; names[i] != '\0'; i++) {
        selves[i] = (struct reader_or_writer){lock, names[i], 1, release};
        harness_spawn(scope, read_or_write, &selves[i]);
    }
    harness_yield(2);
}

FIBER_TEST(readers_share_the_lock_and_wait_behind_a_writer)
{
    struct torc_rwlock lock = {0};
    struct torc_event release = {0};
    struct reader_or_writer selves[6];
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    start(&scope, selves, "abWcdX", &lock, &release);
    EXPECT_STR(story, "ab"); /* c and d could read, but W was there before. */
    EXPECT_INT(torc_rwlock_try_read_lock(&lock), ==, -EBUSY);
    EXPECT_INT(torc_rwlock_try_write_lock(&lock), ==, -EBUSY);
    torc_event_set(&release);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_STR(story, "abWcdX");
    torc_rwlock_finish(&lock);
}

FIBER_TEST(readers_come_in_when_the_writer_before_them_gives_up)
{
    struct torc_rwlock lock = {0};
    struct torc_event release = {0};
    struct reader_or_writer first;
    struct reader_or_writer writer;
    struct reader_or_writer others[2];
    struct torc_scope scope;
    struct torc_scope doomed;

    torc_scope_open(&scope, 0);
    torc_scope_open(&doomed, 0);
    start(&scope, &first, "a", &lock, &release);
    start(&doomed, &writer, "W", &lock, &release);
    start(&scope, others, "bc", &lock, &release);
    EXPECT_STR(story, "a");
    torc_scope_cancel(&doomed);
    EXPECT_INT(torc_scope_close(&doomed), ==, -ECANCELED);
    harness_yield(2);
    EXPECT_STR(story, "abc");
    EXPECT_INT(writer.result, ==, -ECANCELED);
    torc_event_set(&release);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_rwlock_finish(&lock);
}

FIBER_TEST(a_writer_that_becomes_a_reader_lets_other_readers_in)
{
    struct torc_rwlock lock = {0};
    struct torc_event release = {0};
    struct reader_or_writer selves[2];
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_rwlock_write_lock(&lock), ==, 0);
    start(&scope, selves, "aW", &lock, &release);
    EXPECT_STR(story, "");
    torc_rwlock_downgrade(&lock);
    torc_event_set(&release);
    harness_yield(3);
    EXPECT_STR(story, "a"); /* W waits for us. */
    torc_rwlock_read_unlock(&lock);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_STR(story, "aW");
    EXPECT_INT(torc_rwlock_try_write_lock(&lock), ==, 0);
    torc_rwlock_write_unlock(&lock);
    EXPECT_INT(torc_rwlock_try_read_lock(&lock), ==, 0);
    torc_rwlock_read_unlock(&lock);
    torc_rwlock_finish(&lock);
}

/* ---- Semaphore ---- */

struct taker {
    struct torc_semaphore *semaphore;
    uint32_t units;
    char name;
    int result;
};

static int take(void *arg)
{
    struct taker *taker = arg;

    taker->result = torc_semaphore_acquire(taker->semaphore, taker->units);
    if (taker->result == 0)
        tell(taker->name);
    return 0;
}

FIBER_TEST(a_large_request_for_units_is_not_overtaken)
{
    struct torc_semaphore semaphore;
    struct taker takers[2] = {{&semaphore, 3, 'a', 1}, {&semaphore, 1, 'b', 1}};
    struct torc_scope scope;

    torc_semaphore_init(&semaphore, 2);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 2; i++)
        harness_spawn(&scope, take, &takers[i]);
    harness_yield(2);
    EXPECT_STR(story, "");
    EXPECT_INT(torc_semaphore_try_acquire(&semaphore, 1), ==, -EAGAIN); /* Others wait. */
    torc_semaphore_release(&semaphore, 1);
    harness_yield(1);
    EXPECT_STR(story, "a");
    torc_semaphore_release(&semaphore, 2);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_STR(story, "ab");
    EXPECT_UINT(torc_semaphore_units(&semaphore), ==, 1);
    EXPECT_INT(torc_semaphore_try_acquire(&semaphore, 2), ==, -EAGAIN);
    EXPECT_INT(torc_semaphore_try_acquire(&semaphore, 1), ==, 0);
    torc_semaphore_finish(&semaphore);
}

FIBER_TEST(small_requests_go_on_when_the_large_one_before_them_gives_up)
{
    struct torc_semaphore semaphore;
    struct taker large = {&semaphore, 3, 'a', 1};
    struct taker small = {&semaphore, 1, 'b', 1};
    struct torc_scope scope;
    struct torc_scope doomed;

    torc_semaphore_init(&semaphore, 2);
    torc_scope_open(&scope, 0);
    torc_scope_open(&doomed, 0);
    harness_spawn(&doomed, take, &large);
    torc_yield();
    harness_spawn(&scope, take, &small);
    torc_yield();
    EXPECT_STR(story, "");
    torc_scope_cancel(&doomed);
    EXPECT_INT(torc_scope_close(&doomed), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_STR(story, "b");
    EXPECT_INT(large.result, ==, -ECANCELED);
    EXPECT_UINT(torc_semaphore_units(&semaphore), ==, 1);
}

static void release_too_many(void)
{
    struct torc_semaphore semaphore;

    torc_semaphore_init(&semaphore, UINT32_MAX);
    torc_semaphore_release(&semaphore, 1);
}

TEST(more_units_than_can_be_counted_abort)
{
    harness_expect_fiber_death(release_too_many, SIGABRT, "UINT32_MAX");
}
