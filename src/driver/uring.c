/* SPDX-License-Identifier: MIT */
/*
 * uring.c - the io_uring driver.
 *
 * prepare() hands out slots of the submission queue itself; nothing reaches the kernel before the
 * loop turns, or the queue is full. One io_uring_enter() per turn submits, waits and lets the
 * kernel post completions, which are then told in their order.
 *
 * Two rules keep it correct:
 *   - what the kernel has taken is read from the queue's head, never from what enter returned,
 *     since enter may submit and then be interrupted;
 *   - an error that a retry cannot cure is told to the ops that are queued, as their result.
 */
#include "driver/uring.h"
#include "base/clock.h"
#include "base/log.h"
#include "driver/observe.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <torc/time.h>
#include <unistd.h>

/*
 * With DEFER_TASKRUN the kernel works off at most some 20 deferred completions per call
 * (IO_LOCAL_TW_DEFAULT_MAX, 6.13); ops that complete at once would starve the others. So a turn
 * asks again while the kernel has more, but not for the few that have just come.
 */
#define TASKRUN_REPEATS 8
#define TASKRUN_FULL    16

/* When ops that were cancelled and have not ended are cancelled again: first, and at last. */
#define CANCEL_AGAIN_FIRST_NS UINT64_C(1000000)
#define CANCEL_AGAIN_LAST_NS  UINT64_C(100000000)

/* How often a submission is retried before its ops are failed. */
#define SUBMIT_RETRIES_AT_ONCE 100
#define SUBMIT_RETRIES         (SUBMIT_RETRIES_AT_ONCE + 14)
/* How long to pause where nothing but cancels is queued, and the kernel refuses even these. */
#define REFUSED_PAUSE_US 10000

static struct torc__uring *to_uring(struct torc__driver *driver)
{
    return container_of(driver, struct torc__uring, base);
}

static int enter(struct torc__uring *uring, unsigned submit, unsigned wait, unsigned flags,
                 const struct __kernel_timespec *timeout)
{
    int result;

    uring->base.stats.enters++;
    result = uring->ring.enter(&uring->ring, submit, wait, flags, timeout);
    if (unlikely(uring->refused) && result >= 0 && submit > 0)
        uring->refused = false;
    return result;
}

/* ---- Ops that were cancelled ---- */

/*
 * A cancel may miss: the kernel does not find an op that it is just about to try again, and that
 * may go on waiting then. So ops that were cancelled stand in a list until their last completion,
 * and are cancelled again, less and less often.
 */
struct listed {
    struct torc_op *next;
    struct torc_op **link; /* what points here */
};
_Static_assert(sizeof(struct listed) <= sizeof(((struct torc_op *)NULL)->_note), "it fits");

static struct listed *listed_of(struct torc_op *op)
{
    return (struct listed *)(void *)op->_note;
}

static void forget_cancel(struct torc_op *op)
{
    struct listed *listed = listed_of(op);

    *listed->link = listed->next;
    if (listed->next != NULL)
        listed_of(listed->next)->link = listed->link;
}

/* ---- Completions ---- */

static void tell_op(struct torc__uring *uring, uint64_t user_data, int result, uint32_t flags)
{
    struct torc_op *op = (struct torc_op *)(uintptr_t)user_data;
    const int more = !!(flags & IORING_CQE_F_MORE);

    torc__observe_end(&uring->base, op, result, more);
    uring->base.stats.ops_ended += !more;
    if (unlikely(op->_cancelling == CANCEL_LISTED && !more))
        forget_cancel(op);
    op->_complete(op, result, flags, more);
}

static void wake_arrived(struct torc__uring *uring, int result)
{
    uring->wake_armed = false;
    uring->own_pending--;
    if (result > 0)
        uring->base.stats.wakeups_received++;
}

static void timeout_ended(struct torc__uring *uring, uint64_t generation)
{
    uring->own_pending--;
    if (generation == uring->timeout_generation)
        uring->timeout_armed = false;
}

/* A wake-up that could not be put into the other ring goes the slow way, or it would be lost. */
static void sending_failed(uint64_t user_data, int result)
{
    struct torc__uring *target = (struct torc__uring *)(uintptr_t)(user_data & ~(uint64_t)TAG_MASK);
    uint64_t one = 1;

    if (result < 0 && write(target->wake_fd, &one, sizeof(one)) < 0)
        torc__log("cannot wake a shard: %s", strerror(errno));
}

static void tell_own(struct torc__uring *uring, uint64_t user_data, int result)
{
    switch ((enum uring_tag)(user_data & TAG_MASK)) {
    case TAG_WAKE:
        wake_arrived(uring, result);
        break;
    case TAG_TIMEOUT:
        timeout_ended(uring, user_data >> 3);
        break;
    case TAG_RING_WAKE:
        uring->base.stats.wakeups_received++;
        break;
    case TAG_SENT:
        if (!uring->finishing) /* Later the other driver may have gone, and cares no more. */
            sending_failed(user_data, result);
        break;
    case TAG_OP:
    case TAG_IGNORE:
    case TAG_MASK:
        break;
    }
}

/*
 * The backlog holds completions that have been taken from the kernel but not told yet: room is
 * made, and failures noted, without calling anybody, since whoever is called may prepare ops and
 * so need room again.
 */
static bool backlog_reserve(struct torc__uring *uring, unsigned more)
{
    const unsigned untold = uring->backlog_count - uring->backlog_told;
    const unsigned needed = untold + more;
    struct io_uring_cqe *larger;

    if (uring->backlog_count + more <= uring->backlog_room)
        return true;
    if (uring->backlog_told > 0)
        memmove(uring->backlog, &uring->backlog[uring->backlog_told],
                untold * sizeof(uring->backlog[0]));
    uring->backlog_count = untold;
    uring->backlog_told = 0;
    if (needed <= uring->backlog_room)
        return true;
    larger = realloc(uring->backlog, 2 * needed * sizeof(*larger));
    if (larger == NULL)
        return false;
    uring->backlog = larger;
    uring->backlog_room = 2 * needed;
    return true;
}

/* Move the completion queue into the backlog; without memory it stays as it is. */
static void stash_completions(struct torc__uring *uring)
{
    struct torc__ring *ring = &uring->ring;
    unsigned head = *ring->cq_head;
    unsigned tail = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);

    if (!backlog_reserve(uring, tail - head))
        return;
    for (; head != tail; head++)
        uring->backlog[uring->backlog_count++] = ring->cqes[head & ring->cq_mask];
    __atomic_store_n(ring->cq_head, head, __ATOMIC_RELEASE);
}

/* The oldest completion, taken out; false if there is none. */
static inline bool take_completion(struct torc__uring *uring, struct io_uring_cqe *ret_cqe)
{
    struct torc__ring *ring = &uring->ring;
    unsigned head = *ring->cq_head;

    if (unlikely(uring->backlog_count > 0)) {
        *ret_cqe = uring->backlog[uring->backlog_told++];
        if (uring->backlog_told == uring->backlog_count)
            uring->backlog_told = uring->backlog_count = 0;
        return true;
    }
    if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
        return false;
    *ret_cqe = ring->cqes[head & ring->cq_mask];
    __atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
    return true;
}

/* Tell what there is now. What that brings about waits for the next call, or this might not end. */
static int tell_completions(struct torc__uring *uring)
{
    const struct torc__ring *ring = &uring->ring;
    const unsigned queued = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) - *ring->cq_head;
    const int there = (int)(queued + uring->backlog_count - uring->backlog_told);
    struct io_uring_cqe cqe;
    int told = 0;

    for (; told < there && take_completion(uring, &cqe); told++) {
        if (likely((cqe.user_data & TAG_MASK) == TAG_OP))
            tell_op(uring, cqe.user_data, cqe.res, cqe.flags);
        else
            tell_own(uring, cqe.user_data, cqe.res);
    }
    uring->base.stats.completions += (uint64_t)told;
    return told;
}

/* ---- Submission ---- */

/* The kernel takes nothing. The log tells it once, until it takes something again. */
static void tell_refusal(struct torc__uring *uring, int error, unsigned failed, unsigned kept)
{
    if (!uring->refused)
        torc__log("io_uring_enter: %s; %u operations fail, %u cancels wait", strerror(-error),
                  failed, kept);
    uring->refused = true;
}

static bool is_passing(int error)
{
    return error == -EINTR || error == -EAGAIN || error == -EBUSY;
}

/*
 * The queued operations cannot be submitted: `error` is their result, or -ENOMEM where it is one
 * that passes and has not. For such an error comes of want of memory, and as the result of an op
 * means other things. The driver's requests about other ops, such as to cancel them, stay in the
 * queue, since nobody would make them again; where there is nothing else, a pause keeps us from
 * asking without end.
 */
static void fail_queued(struct torc__uring *uring, int error)
{
    struct torc__ring *ring = &uring->ring;
    const unsigned head = __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
    const unsigned count = ring->sq_tail - head;
    const int result = is_passing(error) ? -ENOMEM : error;
    unsigned kept = head;
    bool noted = backlog_reserve(uring, count);

    TORC_ASSERT(noted); /* Without memory they would be lost. */
    for (unsigned i = head; i != ring->sq_tail; i++) {
        const struct io_uring_sqe *sqe = &ring->sqes[i & ring->sq_mask];

        if (sqe->user_data == TAG_IGNORE)
            ring->sqes[kept++ & ring->sq_mask] = *sqe;
        else
            uring->backlog[uring->backlog_count++] =
                (struct io_uring_cqe){.user_data = sqe->user_data, .res = result};
    }
    tell_refusal(uring, error, count - (kept - head), kept - head);
    ring->sq_tail = kept;
    __atomic_store_n(ring->sq_tail_shared, kept, __ATOMIC_RELEASE);
    if (kept - head == count)
        usleep(REFUSED_PAUSE_US);
}

/*
 * After a failed enter: make what a retry needs. Full completion queues (EBUSY, EAGAIN on older
 * kernels) need to be emptied; want of memory (EAGAIN) may need ops in flight to end.
 */
static void make_room(struct torc__uring *uring, int error)
{
    uring->base.stats.submits_retried++;
    if (error == -EINTR)
        return;
    (void)enter(uring, 0, 0, IORING_ENTER_GETEVENTS, NULL);
    stash_completions(uring);
}

/*
 * Flags that tie an SQE to its neighbours, which are other fibers' or the driver's own: a link
 * would cancel them, a drain would wait for ops that never end.
 */
static void check_last(const struct torc__ring *ring)
{
    const unsigned ties = IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_IO_DRAIN;

    TORC_ASSERT(!(ring->sqes[(ring->sq_tail - 1) & ring->sq_mask].flags & ties));
}

/* Tell of the ops that are queued and have not been shown to the kernel. */
static void observe_starts(struct torc__uring *uring)
{
    const struct torc__ring *ring = &uring->ring;

    for (unsigned i = *ring->sq_tail_shared; i != ring->sq_tail; i++) {
        const struct io_uring_sqe *sqe = &ring->sqes[i & ring->sq_mask];

        if ((sqe->user_data & TAG_MASK) == TAG_OP)
            torc__observe_start(&uring->base, sqe);
    }
}

/* Show the kernel what is queued. Returns how much that is. */
static unsigned publish(struct torc__uring *uring)
{
    check_last(&uring->ring);
    if (unlikely(torc__observes_starts(&uring->base)))
        observe_starts(uring);
    __atomic_store_n(uring->ring.sq_tail_shared, uring->ring.sq_tail, __ATOMIC_RELEASE);
    return torc__ring_queued(&uring->ring);
}

/*
 * With SQPOLL a thread of the kernel takes what is published, unless it sleeps. It looks for more
 * after it has raised that flag, and we for the flag after we have published: by an exchange, since
 * a plain load could come before the store (and ThreadSanitizer knows no fences).
 */
static unsigned poller_flags(const struct torc__uring *uring)
{
    const unsigned flags = __atomic_fetch_or(uring->ring.sq_flags, 0, __ATOMIC_SEQ_CST);

    return flags & IORING_SQ_NEED_WAKEUP ? IORING_ENTER_SQ_WAKEUP : 0;
}

/* What a call that waits is made with, after what is queued was published. */
static unsigned wait_flags(const struct torc__uring *uring)
{
    return IORING_ENTER_GETEVENTS | (uring->sqpoll ? poller_flags(uring) : 0);
}

static _Noreturn void give_up(int error)
{
    torc__log("io_uring_enter cannot wait: %s", strerror(-error));
    torc__assert_failed("the ring works", __FILE__, __LINE__);
}

/*
 * Let the kernel's thread empty a full queue. What is queued may be failed when that has died, and
 * not after any other error: it may be about to take it.
 */
static void wait_for_poller(struct torc__uring *uring)
{
    const int saved = errno;
    const unsigned queued = publish(uring);
    const int result = enter(uring, queued, 0, IORING_ENTER_SQ_WAIT | poller_flags(uring), NULL);

    if (result == -EOWNERDEAD)
        fail_queued(uring, result);
    else if (result < 0 && !is_passing(result))
        give_up(result);
    errno = saved;
}

/*
 * Bring all that is queued to the kernel, or fail it. Want of memory may last: the first retries
 * follow at once, the others after longer and longer pauses, 0.1 s in all.
 */
static void submit_queued(struct torc__uring *uring)
{
    const int saved = errno; /* We may be in a fiber's prepare(). */
    unsigned attempt = 0;
    unsigned queued = publish(uring);

    for (; queued > 0; queued = torc__ring_queued(&uring->ring)) {
        int result = enter(uring, queued, 0, 0, NULL);

        if (result >= 0)
            continue;
        if (!is_passing(result) || attempt == SUBMIT_RETRIES) {
            fail_queued(uring, result);
            break;
        }
        make_room(uring, result);
        if (result != -EINTR && ++attempt > SUBMIT_RETRIES_AT_ONCE)
            usleep(1000 * (attempt - SUBMIT_RETRIES_AT_ONCE));
    }
    errno = saved;
}

/* A turn's call has failed. What is queued is submitted or failed; the loop does the rest. */
static void recover(struct torc__uring *uring, int error)
{
    if (is_passing(error))
        make_room(uring, error);
    else if (torc__ring_queued(&uring->ring) == 0 || (uring->sqpoll && error != -EOWNERDEAD))
        give_up(error);
    if (error == -EOWNERDEAD && uring->sqpoll)
        fail_queued(uring, error);
    else if (!uring->sqpoll && error != -EINTR)
        submit_queued(uring);
}

/* An SQE of the queue; the queue is flushed if it is full. */
static struct io_uring_sqe *next_sqe(struct torc__uring *uring)
{
    struct torc__ring *ring = &uring->ring;
    struct io_uring_sqe *sqe;

    check_last(ring);
    /* It stays full only of cancels that the kernel refuses: they are retried until it does not. */
    while (unlikely(torc__ring_queued(ring) == ring->sq_entries)) {
        if (uring->sqpoll)
            wait_for_poller(uring);
        else
            submit_queued(uring);
    }
    sqe = &ring->sqes[ring->sq_tail++ & ring->sq_mask];
    /* io_uring_prep_*() of liburing 2.6 and newer rely on it. */
    memset(sqe, 0, sizeof(*sqe));
    return sqe;
}

static struct io_uring_sqe *uring_prepare(struct torc__driver *driver, struct torc_op *op)
{
    struct torc__uring *uring = to_uring(driver);
    struct io_uring_sqe *sqe = next_sqe(uring);

    sqe->user_data = (uint64_t)(uintptr_t)op;
    op->_cancelling = 0;
    uring->base.stats.ops++;
    return sqe;
}

/* ---- Cancels ---- */

static void remember_cancel(struct torc__uring *uring, struct torc_op *op)
{
    if (uring->cancelled == NULL) {
        uring->cancel_delay_ns = CANCEL_AGAIN_FIRST_NS;
        uring->cancel_again_ns = torc__clock_now() + uring->cancel_delay_ns;
    }
    *listed_of(op) = (struct listed){.next = uring->cancelled, .link = &uring->cancelled};
    if (uring->cancelled != NULL)
        listed_of(uring->cancelled)->link = &listed_of(op)->next;
    uring->cancelled = op;
    op->_cancelling = CANCEL_LISTED;
}

static void queue_cancel(struct torc__uring *uring, const struct torc_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(uring);

    /* By address only: by descriptor, or any, costs the kernel a walk over all in flight. */
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
    sqe->user_data = TAG_IGNORE;
    if (uring->base.features & TORC_FEATURE_CQE_SKIP)
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void uring_cancel(struct torc__driver *driver, struct torc_op *op)
{
    struct torc__uring *uring = to_uring(driver);

    if (op->_cancelling != CANCEL_LISTED)
        remember_cancel(uring, op);
    queue_cancel(uring, op);
}

/*
 * There are cancelled ops: cancel them again if it is time. Not while the kernel refuses what is
 * queued, among which these cancels are.
 */
static void mind_cancels(struct torc__uring *uring)
{
    const uint64_t now_ns = torc__clock_now();

    if (now_ns < uring->cancel_again_ns)
        return;
    if (torc__ring_queued(&uring->ring) == 0) {
        for (struct torc_op *op = uring->cancelled; op != NULL; op = listed_of(op)->next)
            queue_cancel(uring, op);
        uring->cancel_delay_ns *= 2;
        if (uring->cancel_delay_ns > CANCEL_AGAIN_LAST_NS)
            uring->cancel_delay_ns = CANCEL_AGAIN_LAST_NS;
    }
    uring->cancel_again_ns = now_ns + uring->cancel_delay_ns;
}

/* ---- The wait ---- */

static struct __kernel_timespec to_timespec(uint64_t ns)
{
    struct __kernel_timespec spec = {.tv_sec = (long long)(ns / NS_PER_SECOND),
                                     .tv_nsec = (long long)(ns % NS_PER_SECOND)};
    return spec;
}

static void disarm_timeout(struct torc__uring *uring)
{
    struct io_uring_sqe *sqe = next_sqe(uring);

    io_uring_prep_timeout_remove(sqe, (uring->timeout_generation << 3) | TAG_TIMEOUT, 0);
    sqe->user_data = TAG_IGNORE;
    uring->timeout_armed = false;
}

/*
 * Before 5.11 a wait has no timeout of its own: a TIMEOUT op stands in for it. One is out at any
 * time; generations tell a late completion of the last one from the present one's.
 */
static void arm_timeout(struct torc__uring *uring, uint64_t until_ns)
{
    struct io_uring_sqe *sqe;

    if (uring->timeout_armed && uring->timeout_ns == until_ns)
        return;
    if (uring->timeout_armed)
        disarm_timeout(uring);
    if (until_ns == TORC_FOREVER)
        return;
    sqe = next_sqe(uring);
    uring->timeout_generation++;
    uring->timeout_spec = to_timespec(until_ns);
    io_uring_prep_timeout(sqe, &uring->timeout_spec, 0, IORING_TIMEOUT_ABS);
    sqe->user_data = (uring->timeout_generation << 3) | TAG_TIMEOUT;
    uring->timeout_ns = until_ns;
    uring->timeout_armed = true;
    uring->own_pending++;
}

static void arm_wake(struct torc__uring *uring)
{
    struct io_uring_sqe *sqe = next_sqe(uring);

    io_uring_prep_read(sqe, uring->wake_fd, &uring->wake_count, sizeof(uring->wake_count), 0);
    sqe->user_data = TAG_WAKE;
    uring->wake_armed = true;
    uring->own_pending++;
}

/* Submit, and let the kernel post what has completed, without waiting; no call if there is none. */
static void enter_now(struct torc__uring *uring)
{
    const unsigned queued = publish(uring);
    const unsigned poller = uring->sqpoll && queued > 0 ? poller_flags(uring) : 0;
    const unsigned flags = __atomic_load_n(uring->ring.sq_flags, __ATOMIC_RELAXED);
    int result;

    if ((uring->sqpoll ? poller == 0 : queued == 0) &&
        !(flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
        return;
    result = enter(uring, queued, 0, IORING_ENTER_GETEVENTS | poller, NULL);
    if (result < 0)
        recover(uring, result);
}

/*
 * How many completions to wait for: more than one only where the wait collects them for a while.
 * The kernel does that for min_wait_us in any case, so not if a deadline is nearer.
 */
static unsigned wait_count(const struct torc__uring *uring, uint64_t until_ns)
{
    if (uring->wait_count == 1)
        return 1;
    if (until_ns != TORC_FOREVER &&
        until_ns < torc__clock_now() + uring->ring.min_wait_us * UINT64_C(1000))
        return 1;
    return uring->wait_count;
}

/* One call that submits what is queued, and waits for a completion or until `until_ns`. */
static void enter_and_wait(struct torc__uring *uring, uint64_t until_ns)
{
    const bool has_timeout = until_ns != TORC_FOREVER;
    const bool ext_arg = uring->base.features & TORC_FEATURE_EXT_ARG;
    struct __kernel_timespec timeout;
    unsigned queued;
    int result;

    if (!uring->wake_armed)
        arm_wake(uring);
    if (!ext_arg)
        arm_timeout(uring, until_ns);
    if (uring->backlog_count > 0) {
        enter_now(uring); /* Making room for these has brought completions: no time to sleep. */
        return;
    }
    if (has_timeout && ext_arg) {
        uint64_t now = torc__clock_now();

        timeout = to_timespec(until_ns > now ? until_ns - now : 0);
    }
    queued = publish(uring);
    uring->base.stats.waits++;
    result = enter(uring, queued, wait_count(uring, until_ns), wait_flags(uring),
                   has_timeout && ext_arg ? &timeout : NULL);
    if (result == -ETIME || result >= 0)
        return;
    recover(uring, result); /* The loop comes back here after it has looked around. */
}

/* See TASKRUN_REPEATS. `tail` is where the completion queue ended before the turn's call. */
static void fetch_deferred(struct torc__uring *uring, unsigned tail)
{
    struct torc__ring *ring = &uring->ring;

    for (int i = 0; i < TASKRUN_REPEATS; i++) {
        unsigned flags = __atomic_load_n(ring->sq_flags, __ATOMIC_RELAXED);
        unsigned new_tail = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);

        if (!(flags & IORING_SQ_TASKRUN) || new_tail - tail < TASKRUN_FULL)
            break;
        tail = new_tail;
        (void)enter(uring, 0, 0, IORING_ENTER_GETEVENTS, NULL);
    }
}

static int uring_turn(struct torc__driver *driver, uint64_t wait_until_ns)
{
    struct torc__uring *uring = to_uring(driver);
    const unsigned tail = __atomic_load_n(uring->ring.cq_tail, __ATOMIC_ACQUIRE);
    int told;

    if (unlikely(uring->cancelled != NULL) && wait_until_ns > uring->cancel_again_ns)
        wait_until_ns = uring->cancel_again_ns;
    if (wait_until_ns == DRIVER_NO_WAIT || uring->backlog_count > 0)
        enter_now(uring);
    else
        enter_and_wait(uring, wait_until_ns);
    if (unlikely(uring->cancelled != NULL))
        mind_cancels(uring);
    fetch_deferred(uring, tail);
    told = tell_completions(uring);
    if (unlikely(__atomic_load_n(uring->ring.sq_flags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW)) {
        /* The kernel kept what did not fit (NODROP), and hands it out now that there is room. */
        uring->base.stats.overflows++;
        (void)enter(uring, 0, 0, IORING_ENTER_GETEVENTS, NULL);
        told += tell_completions(uring);
    }
    return told;
}

static void uring_wake(struct torc__driver *driver, struct torc__driver *from)
{
    struct torc__uring *target = to_uring(driver);
    uint64_t one = 1;

    if (from != NULL && from->ops == &torc__uring_ops &&
        (from->features & driver->features & TORC_FEATURE_MSG_RING)) {
        struct io_uring_sqe *sqe = next_sqe(to_uring(from));

        io_uring_prep_msg_ring(sqe, target->ring.fd, 0, TAG_RING_WAKE, 0);
        sqe->user_data = (uint64_t)(uintptr_t)target | TAG_SENT;
        if (from->features & TORC_FEATURE_CQE_SKIP)
            sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        return;
    }
    if (write(target->wake_fd, &one, sizeof(one)) < 0)
        torc__log("cannot wake a shard: %s", strerror(errno));
}

/* ---- Life ---- */

static int uring_init(struct torc__driver *driver, const struct torc__driver_options *options)
{
    struct torc__uring *uring = to_uring(driver);
    int result;

    /* Blocking on purpose: a pending read of a non-blocking one would complete at once. */
    uring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (uring->wake_fd < 0)
        return -errno;
    result = torc__uring_climb(uring, options);
    if (result < 0) {
        close(uring->wake_fd);
        return result;
    }
    driver->entries = uring->ring.sq_entries;
    driver->completion_entries = uring->ring.cq_entries;
    return 0;
}

static void cancel_own(struct torc__uring *uring, uint64_t user_data)
{
    struct io_uring_sqe *sqe = next_sqe(uring);

    io_uring_prep_cancel64(sqe, user_data, 0);
    sqe->user_data = TAG_IGNORE;
}

/* See how far the driver's own operations are; returns how many are left. */
static unsigned end_own(struct torc__uring *uring)
{
    if (!uring->sqpoll)
        submit_queued(uring);
    (void)tell_completions(uring);
    return uring->own_pending;
}

static void uring_finish(struct torc__driver *driver)
{
    struct torc__uring *uring = to_uring(driver);

    TORC_ASSERT(torc__driver_in_flight(driver) == 0);
    uring->finishing = true;
    /* The kernel may write to our memory until these have completed, so closing is not enough. */
    if (uring->wake_armed)
        cancel_own(uring, TAG_WAKE);
    if (uring->timeout_armed)
        disarm_timeout(uring);
    while (end_own(uring) > 0) {
        const unsigned queued = publish(uring);

        (void)enter(uring, queued, 1, wait_flags(uring), NULL);
    }
    torc__ring_finish(&uring->ring);
    close(uring->wake_fd);
    free(uring->backlog);
}

static uint64_t uring_now(struct torc__driver *driver)
{
    (void)driver;
    return torc__clock_now();
}

const struct torc__driver_ops torc__uring_ops = {
    .name = "uring",
    .size = sizeof(struct torc__uring),
    .init = uring_init,
    .finish = uring_finish,
    .moves_at_once = true,
    .prepare = uring_prepare,
    .cancel = uring_cancel,
    .turn = uring_turn,
    .wake = uring_wake,
    .control = torc__control_kernel,
    .now = uring_now,
    .open_buffers = torc__uring_open_buffers,
    .close_buffers = torc__uring_close_buffers,
};
