/* SPDX-License-Identifier: MIT */
/*
 * epoll.c - the epoll driver: the same operations, by system calls that do not block.
 *
 * prepare() only queues. A turn tries what is queued, in order; what would block waits for its
 * descriptor, a time or a thread, and is tried again when that has come. If something could be told
 * the turn ends there, so that what the program does about it is tried as well before the kernel is
 * asked for events: a server that answers each message makes one recv, one send, and a share of an
 * epoll_wait().
 *
 * A turn tries no op twice, and what completions bring about waits for the next: so it ends.
 */
#include "driver/epoll.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "driver/execute.h"
#include "driver/observe.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <torc/time.h>
#include <unistd.h>

/* How many ops a turn tries. */
#define TURN_OPS_MAX 1024u
/* How many turns in a row may find so much to do that they do not ask for events. */
#define BUSY_TURNS_MAX 4u
/*
 * So many registrations in doubt are verified before a sleep. With more of them the driver dozes
 * for a while first: under load they are out of doubt, by their events, before it is over.
 */
#define DOUBTS_FEW 4u
#define DOZE_NS    TORC_MILLISECOND
/* The event of wake_fd; all others carry a descriptor and a generation that is not 0. */
#define WAKE_DATA UINT64_C(0)

_Static_assert(sizeof(struct torc__epoll_note) <= sizeof(((struct torc_op *)NULL)->_note),
               "an op has room for the note");
_Static_assert(offsetof(struct torc__epoll_note, link) == 0, "a link is the note");
_Static_assert(offsetof(struct torc__epoll, base) == 0, "a driver's head comes first");

/* ---- States ---- */

#define MAY_BECOME(state) (1U << (state))

static const unsigned next_states[STATE_COUNT] = {
    [STATE_IDLE] = MAY_BECOME(STATE_QUEUED),
    [STATE_QUEUED] = MAY_BECOME(STATE_ACTIVE),
    [STATE_ACTIVE] = MAY_BECOME(STATE_IDLE) | MAY_BECOME(STATE_QUEUED) |
                     MAY_BECOME(STATE_WATCHING) | MAY_BECOME(STATE_TIMING) |
                     MAY_BECOME(STATE_POOLED),
    [STATE_WATCHING] =
        MAY_BECOME(STATE_ACTIVE) | MAY_BECOME(STATE_QUEUED) | MAY_BECOME(STATE_ENDED),
    [STATE_TIMING] = MAY_BECOME(STATE_ACTIVE) | MAY_BECOME(STATE_ENDED),
    [STATE_POOLED] = MAY_BECOME(STATE_ACTIVE) | MAY_BECOME(STATE_ENDED),
    [STATE_ENDED] = MAY_BECOME(STATE_ACTIVE),
};

void torc__epoll_set_state(struct torc__epoll_note *note, enum epoll_state state)
{
    TORC_ASSERT(next_states[note->state] & MAY_BECOME(state));
    note->state = (uint8_t)state;
}

void torc__epoll_enqueue(struct torc__epoll *epoll, struct torc__epoll_note *note,
                         enum epoll_state state)
{
    torc__epoll_set_state(note, state);
    torc__epoll_insert(&epoll->queue, &note->link);
    epoll->queued++;
}

/* ---- Telling ---- */

void torc__epoll_tell_more(struct torc__epoll *epoll, struct torc_op *op, int result,
                           uint32_t flags)
{
    torc__observe_end(&epoll->base, op, result, 1);
    epoll->base.stats.completions++;
    op->_complete(op, result, flags | IORING_CQE_F_MORE, 1);
}

void torc__epoll_tell(struct torc__epoll *epoll, struct torc_op *op, int result)
{
    struct torc__epoll_note *note = torc__epoll_note(op);

    torc__epoll_set_state(note, STATE_IDLE);
    if (unlikely(note->borrows))
        torc__epoll_give_back(epoll, torc__epoll_sqe(op));
    torc__observe_end(&epoll->base, op, result, 0);
    epoll->base.stats.completions++;
    epoll->base.stats.ops_ended++;
    op->_complete(op, result, 0, 0); /* From here on it is somebody else's. */
}

/* What comes of an op that is not to go on: the bytes it has moved are never lost. */
static int result_of_cancelled(const struct torc__epoll_note *note)
{
    return note->done > 0 ? (int)note->done : -ECANCELED;
}

/* ---- Trying ---- */

/*
 * The flags that tie an SQE to its neighbours, which are other fibers' ops; as the ring's driver
 * has it.
 */
static void check_ties(const struct io_uring_sqe *sqe)
{
    const unsigned ties = IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_IO_DRAIN;

    TORC_ASSERT(!(sqe->flags & ties));
}

/* Whether the op asks for an answer at once, whoever else waits. */
static bool never_waits(const struct io_uring_sqe *sqe, const struct torc__epoll_opcode *code)
{
    if (sqe->opcode == IORING_OP_ACCEPT)
        return sqe->ioprio & KERNEL_ACCEPT_DONTWAIT;
    return sqe->msg_flags & code->no_wait; /* Or rw_flags, which is the same field. */
}

static int try_op(struct torc__epoll *epoll, struct torc_op *op)
{
    struct torc__epoll_note *note = torc__epoll_note(op);
    struct io_uring_sqe *sqe = torc__epoll_sqe(op);
    const struct torc__epoll_opcode *code = torc__epoll_opcode(sqe->opcode);

    check_ties(sqe);
    if (code == NULL)
        return -EINVAL;
    if (sqe->flags & IOSQE_FIXED_FILE)
        return -EBADF; /* There are no registered files. */
    if ((sqe->flags & IOSQE_BUFFER_SELECT) && sqe->opcode != IORING_OP_RECV)
        return -EINVAL;
    if (code->direction != 0 && !note->retried && !never_waits(sqe, code) &&
        torc__epoll_must_wait(epoll, sqe->fd, code->direction)) {
        note->fd = sqe->fd;
        note->events = code->direction;
        return VERDICT_WATCH;
    }
    return code->attempt(epoll, op, sqe);
}

/* An op that blocks: a thread does it. Without any, a descriptor is closed all the same. */
static int leave_to_pool(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    const struct io_uring_sqe *sqe = torc__epoll_sqe(torc__epoll_op(note));
    int result = torc__epoll_to_pool(epoll, note);

    if (result == 0)
        return VERDICT_POOL;
    return sqe->opcode == IORING_OP_CLOSE ? torc__execute(sqe) : result;
}

static int leave_to_watch(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    int result = torc__epoll_watch(epoll, note);

    if (result != -EPERM)
        return result == 0 ? VERDICT_WATCH : result;
    /* It is a file, which never says when it is ready. */
    if (torc__epoll_sqe(torc__epoll_op(note))->opcode == IORING_OP_POLL_ADD)
        return torc__epoll_poll_file(note);
    return leave_to_pool(epoll, note);
}

/* Put an op where it waits as its try has said. That again, or the result if it does not wait. */
static int put_away(struct torc__epoll *epoll, struct torc__epoll_note *note,
                    enum epoll_verdict verdict)
{
    switch (verdict) {
    case VERDICT_WATCH:
        return leave_to_watch(epoll, note);
    case VERDICT_POOL:
        return leave_to_pool(epoll, note);
    case VERDICT_TIME:
        torc__epoll_time(epoll, note);
        break;
    case VERDICT_AGAIN:
        torc__epoll_enqueue(epoll, note, STATE_QUEUED);
        break;
    }
    return verdict;
}

void torc__epoll_attempt(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    struct torc_op *op = torc__epoll_op(note);
    int result;

    torc__epoll_set_state(note, STATE_ACTIVE);
    result = try_op(epoll, op);
    if (result <= VERDICT_AGAIN) {
        result = unlikely(note->cancelled) ? result_of_cancelled(note)
                                           : put_away(epoll, note, (enum epoll_verdict)result);
        if (result <= VERDICT_AGAIN)
            return;
    }
    torc__epoll_tell(epoll, op, result);
}

/* Try what is queued now, the first of it. What that brings about is for the next turn. */
static void serve_queue(struct torc__epoll *epoll)
{
    unsigned count = epoll->queued < TURN_OPS_MAX ? epoll->queued : TURN_OPS_MAX;

    for (; count > 0; count--) {
        struct torc__epoll_note *note = torc__epoll_of_link(epoll->queue.next);

        torc__epoll_unlink(&note->link);
        epoll->queued--;
        if (note->state == STATE_ENDED) {
            torc__epoll_set_state(note, STATE_ACTIVE);
            torc__epoll_tell(epoll, torc__epoll_op(note), note->result);
        } else {
            if (unlikely(torc__observes_starts(&epoll->base)) && !note->tried)
                torc__observe_start(&epoll->base, torc__epoll_sqe(torc__epoll_op(note)));
            note->tried = true;
            torc__epoll_attempt(epoll, note);
        }
    }
}

static struct io_uring_sqe *epoll_prepare(struct torc__driver *driver, struct torc_op *op)
{
    struct torc__epoll *epoll = torc__to_epoll(driver);
    struct torc__epoll_note *note = torc__epoll_note(op);
    struct io_uring_sqe *sqe = torc__epoll_sqe(op);

    memset(note, 0, sizeof(*note));
    memset(sqe, 0, sizeof(*sqe));
    sqe->user_data = (uint64_t)(uintptr_t)op;
    torc__epoll_enqueue(epoll, note, STATE_QUEUED);
    epoll->base.stats.ops++;
    return sqe;
}

/* ---- Cancelling ---- */

/* An op is to be tried once, whatever the last read of its descriptor has left. */
static void forget_drained(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    struct torc__epoll_watch *watch =
        torc__epoll_find(epoll, torc__epoll_sqe(torc__epoll_op(note))->fd);

    if (watch != NULL)
        watch->drained = false;
}

int torc__epoll_end(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    switch ((enum epoll_state)note->state) {
    case STATE_WATCHING:
        if (!note->cancelled)
            torc__epoll_insert(&epoll->ending, &note->ending);
        note->cancelled = true;
        return 0;
    case STATE_TIMING:
        torc__epoll_untime(epoll, note);
        break;
    case STATE_POOLED:
        note->cancelled = true;
        if (!torc__epoll_withdraw(epoll, note))
            return -EALREADY;
        break;
    case STATE_QUEUED: /* Data that is there already beats the cancel: it is tried once. */
        forget_drained(epoll, note);
        note->cancelled = true;
        return 0;
    case STATE_ACTIVE:
        note->cancelled = true;
        return 0;
    case STATE_IDLE:
    case STATE_ENDED:
    case STATE_COUNT:
        return 0;
    }
    note->result = result_of_cancelled(note);
    torc__epoll_enqueue(epoll, note, STATE_ENDED);
    return 0;
}

/*
 * The kernel has been asked since they were cancelled, so for those that still wait nothing had
 * come.
 */
static void end_cancelled(struct torc__epoll *epoll)
{
    while (unlikely(!torc__epoll_list_is_empty(&epoll->ending))) {
        struct torc__epoll_note *note =
            container_of(epoll->ending.next, struct torc__epoll_note, ending);

        torc__epoll_unwatch(epoll, note);
        torc__epoll_set_state(note, STATE_ACTIVE);
        torc__epoll_tell(epoll, torc__epoll_op(note), result_of_cancelled(note));
    }
}

static void epoll_cancel(struct torc__driver *driver, struct torc_op *op)
{
    (void)torc__epoll_end(torc__to_epoll(driver), torc__epoll_note(op));
}

/* ---- The wait ---- */

static int wait_precisely(struct torc__epoll *epoll, const struct timespec *timeout)
{
    const struct __kernel_timespec copy = {.tv_sec = timeout != NULL ? timeout->tv_sec : 0,
                                           .tv_nsec = timeout != NULL ? timeout->tv_nsec : 0};
    long result = syscall(SYS_epoll_pwait2, epoll->fd, epoll->events, EPOLL_EVENTS_MAX,
                          timeout != NULL ? &copy : NULL, NULL, (size_t)0);

    return result < 0 ? -errno : (int)result;
}

/* Before 5.11: rounded up, since a wait that ends too early only begins again. */
static int wait_for_milliseconds(struct torc__epoll *epoll, const struct timespec *timeout)
{
    int milliseconds = -1;
    int result;

    if (timeout != NULL && timeout->tv_sec >= INT_MAX / 1000)
        milliseconds = INT_MAX;
    else if (timeout != NULL)
        milliseconds = (int)(timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000);
    result = epoll_wait(epoll->fd, epoll->events, EPOLL_EVENTS_MAX, milliseconds);
    return result < 0 ? -errno : result;
}

/* The wait that this kernel has, and that filters let through. */
static void choose_wait(struct torc__epoll *epoll)
{
    const struct timespec no_time = {0};

    epoll->wait = wait_precisely;
    epoll->has_pwait2 =
        !(epoll->base.forbid & TORC_FEATURE_EXT_ARG) && epoll->wait(epoll, &no_time) >= 0;
    if (!epoll->has_pwait2)
        epoll->wait = wait_for_milliseconds;
}

static void serve_events(struct torc__epoll *epoll, int count)
{
    for (int i = 0; i < count; i++) {
        if (epoll->events[i].data.u64 == WAKE_DATA)
            epoll->base.stats.wakeups_received++;
        else
            torc__epoll_serve_event(epoll, &epoll->events[i]);
    }
}

static bool has_finished_jobs(struct torc__epoll *epoll)
{
    return atomic_load_explicit(&epoll->finished, memory_order_relaxed) != NULL;
}

/* Say that we sleep, then look once more for what threads have finished: see add_finished(). */
static bool may_sleep(struct torc__epoll *epoll)
{
    if (epoll->queued > 0)
        return false;
    if (torc__epoll_list_is_empty(&epoll->pooled))
        return true;
    atomic_store(&epoll->sleeping, true);
    if (atomic_load(&epoll->finished) == NULL)
        return true;
    atomic_store(&epoll->sleeping, false);
    return false;
}

/* Ask for events and serve them; sleep until `until_ns` if there is nothing else to do. */
static void wait_for_events(struct torc__epoll *epoll, uint64_t until_ns)
{
    const uint64_t due_ns = torc__epoll_next_due(epoll);
    const uint64_t end_ns = until_ns < due_ns ? until_ns : due_ns;
    struct timespec timeout = {0};
    bool sleeps = end_ns != DRIVER_NO_WAIT && may_sleep(epoll);
    int count;

    if (!sleeps && epoll->watching == 0)
        return; /* Nobody would hear. */
    if (sleeps && end_ns != TORC_FOREVER) {
        uint64_t now_ns = torc__clock_now();
        uint64_t wait_ns = end_ns > now_ns ? end_ns - now_ns : 0;

        timeout.tv_sec = (time_t)(wait_ns / NS_PER_SECOND);
        timeout.tv_nsec = (long)(wait_ns % NS_PER_SECOND);
        sleeps = wait_ns > 0;
    }
    torc__epoll_count_call(epoll);
    epoll->base.stats.waits += sleeps;
    count = epoll->wait(epoll, sleeps && end_ns == TORC_FOREVER ? NULL : &timeout);
    atomic_store_explicit(&epoll->sleeping, false, memory_order_relaxed);
    TORC_ASSERT(count >= 0 || count == -EINTR); /* Nothing else can happen to a set of ours. */
    epoll->dozed = sleeps && count == 0;
    serve_events(epoll, count);
}

/* Verify what is in doubt, as far as is due. Returns how long the driver may sleep. */
static uint64_t settle_doubts(struct torc__epoll *epoll, uint64_t until_ns)
{
    const bool sleeps = until_ns != DRIVER_NO_WAIT;
    uint64_t doze_end_ns;

    if (likely(epoll->doubt_count == 0))
        return until_ns;
    torc__epoll_verify(epoll, sleeps && (epoll->dozed || epoll->doubt_count <= DOUBTS_FEW));
    if (!sleeps || epoll->doubt_count == 0)
        return until_ns;
    doze_end_ns = torc__clock_now() + DOZE_NS;
    return until_ns < doze_end_ns ? until_ns : doze_end_ns;
}

/* Ask the kernel what has come; wait for it until `until_ns`. */
static void ask(struct torc__epoll *epoll, uint64_t until_ns)
{
    epoll->busy_turns = 0;
    if (unlikely(epoll->stale))
        torc__epoll_rebuild(epoll);
    wait_for_events(epoll, settle_doubts(epoll, until_ns));
    end_cancelled(epoll);
    if (has_finished_jobs(epoll))
        torc__epoll_collect(epoll);
}

static int epoll_turn(struct torc__driver *driver, uint64_t wait_until_ns)
{
    struct torc__epoll *epoll = torc__to_epoll(driver);
    const uint64_t told_before = epoll->base.stats.completions;
    const int saved = errno; /* The thread's: fibers have their own. */

    epoll->turns++;
    if (has_finished_jobs(epoll))
        torc__epoll_collect(epoll);
    serve_queue(epoll);
    if (unlikely(!torc__epoll_list_is_empty(&epoll->ending)))
        ask(epoll, DRIVER_NO_WAIT);
    else if (epoll->base.stats.completions == told_before)
        ask(epoll, wait_until_ns);
    else if (++epoll->busy_turns >= BUSY_TURNS_MAX || wait_until_ns == DRIVER_LOOK)
        ask(epoll, DRIVER_NO_WAIT);
    epoll->base.is_behind = epoll->busy_turns > 0;
    torc__epoll_serve_times(epoll);
    errno = saved;
    return (int)(epoll->base.stats.completions - told_before);
}

static void epoll_wake(struct torc__driver *driver, struct torc__driver *from)
{
    const uint64_t one = 1;

    (void)from;
    if (write(torc__to_epoll(driver)->wake_fd, &one, sizeof(one)) < 0)
        torc__log("cannot wake a shard: %s", strerror(errno));
}

/* ---- Life ---- */

/*
 * What was known of the numbers that a request has given out is of no use any more; of a receive it
 * is of use whether it has taken all.
 */
static void learn_from(struct torc__epoll *epoll, const struct torc__control *request, int result)
{
    const int *ends = request->data;

    switch (request->kind) {
    case CONTROL_SOCKET:
    case CONTROL_WATCH_OPEN:
        torc__epoll_forget(epoll, result);
        break;
    case CONTROL_PAIR:
    case CONTROL_PIPE:
        torc__epoll_forget(epoll, ends[0]);
        torc__epoll_forget(epoll, ends[1]);
        break;
    case CONTROL_RECV:
        if (result > 0 && (uint32_t)result < request->length)
            torc__epoll_note_short(epoll, request->fd);
        break;
    default:
        break;
    }
}

static int epoll_control(struct torc__driver *driver, struct torc__control *request)
{
    struct torc__epoll *epoll = torc__to_epoll(driver);
    const int saved = errno; /* The caller's: no torc call changes it. */
    int result;

    if (request->kind == CONTROL_CLOSE)
        torc__epoll_part(epoll, request->fd);
    result = torc__control_kernel(driver, request);
    if (result >= 0)
        learn_from(epoll, request, result);
    errno = saved;
    return result;
}

int torc__epoll_open_set(struct torc__epoll *epoll)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = WAKE_DATA};
    int fd = epoll_create1(EPOLL_CLOEXEC);
    int result;

    if (fd < 0)
        return -errno;
    result = epoll_ctl(fd, EPOLL_CTL_ADD, epoll->wake_fd, &event) < 0 ? -errno : fd;
    if (result < 0)
        close(fd);
    return result;
}

static void note_opcodes(struct torc__driver *driver)
{
    for (unsigned opcode = 0; opcode < DRIVER_OPCODES; opcode++) {
        if (torc__epoll_opcode(opcode) != NULL)
            driver->opcodes[opcode / 64] |= UINT64_C(1) << (opcode % 64);
    }
}

static int epoll_init(struct torc__driver *driver, const struct torc__driver_options *options)
{
    struct torc__epoll *epoll = torc__to_epoll(driver);
    int result;

    (void)options;
    torc__epoll_list_init(&epoll->queue);
    torc__epoll_list_init(&epoll->timing);
    torc__epoll_list_init(&epoll->pooled);
    torc__epoll_list_init(&epoll->ending);
    torc__epoll_list_init(&epoll->doubts);
    epoll->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (epoll->wake_fd < 0)
        return -errno;
    epoll->fd = torc__epoll_open_set(epoll);
    result = epoll->fd < 0 ? epoll->fd : torc__epoll_make_watches(epoll);
    if (result < 0)
        goto undo;
    choose_wait(epoll);
    note_opcodes(driver);
    return 0;

undo:
    torc__epoll_free_watches(epoll);
    if (epoll->fd >= 0)
        close(epoll->fd);
    close(epoll->wake_fd);
    return result;
}

static void epoll_finish(struct torc__driver *driver)
{
    struct torc__epoll *epoll = torc__to_epoll(driver);

    TORC_ASSERT(torc__driver_in_flight(driver) == 0);
    /* A thread that has handed in the last op is perhaps still on its way to wake us. */
    while (atomic_load(&epoll->working) != 0)
        torc__cpu_relax();
    torc__epoll_free_watches(epoll);
    close(epoll->fd);
    close(epoll->wake_fd);
}

static uint64_t epoll_now(struct torc__driver *driver)
{
    (void)driver;
    return torc__clock_now();
}

const struct torc__driver_ops torc__epoll_ops = {
    .name = "epoll",
    .size = sizeof(struct torc__epoll),
    .init = epoll_init,
    .finish = epoll_finish,
    .moves_at_once = true,
    .prepare = epoll_prepare,
    .cancel = epoll_cancel,
    .turn = epoll_turn,
    .wake = epoll_wake,
    .control = epoll_control,
    .now = epoll_now,
    .open_buffers = torc__epoll_open_buffers,
    .close_buffers = torc__epoll_close_buffers,
};
