/* SPDX-License-Identifier: MIT */
/*
 * epoll.h - the epoll driver's state, shared by its files and by tests that look at it.
 *
 * All of it belongs to the shard's thread, but for the stack on which threads of the pool lay what
 * they have done, and what says whether the shard sleeps.
 */
#ifndef DRIVER_EPOLL_H
#define DRIVER_EPOLL_H

#include "driver/driver.h"
#include "driver/epoll_note.h"
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/uio.h>

/* ---- Descriptors ---- */

/* What is known of one descriptor. Never moves. */
struct torc__epoll_watch {
    struct torc__epoll_link readers; /* in the order in which they are served */
    struct torc__epoll_link writers;
    struct torc__epoll_link pollers;
    struct torc__epoll_link doubt; /* in the list of those to be verified, while `in_doubt` */
    uint64_t doubt_since;          /* the turn */
    uint32_t armed;                /* registered for these events; 0: not registered */
    uint32_t generation;           /* of the registration, in its events */
    int fd;
    uint8_t false_events; /* in a row, after which nothing could be done */
    bool in_doubt;
    bool drained;       /* a read came short: the next one had better wait for the event */
    bool edge;          /* is told of changes only (EPOLLET) */
    unsigned borrowers; /* A copy of one that was closed while so many ops waited: ours. */
};

#define WATCH_CHUNK 256u

/* How many events one call fetches. */
#define EPOLL_EVENTS_MAX 256

/* ---- The driver ---- */

struct torc__epoll {
    struct torc__driver base;
    int fd;
    int wake_fd;                             /* an eventfd, registered edge-triggered: never read */
    struct torc__epoll_link queue;           /* QUEUED and ENDED */
    struct torc__epoll_link timing;          /* TIMING */
    struct torc__epoll_link pooled;          /* POOLED */
    struct torc__epoll_link ending;          /* WATCHING and cancelled: the next events decide */
    struct torc__epoll_link doubts;          /* watches whose registration may be another file's */
    struct torc__epoll_note *due;            /* the earliest TIMING, root of the heap */
    const struct torc__epoll_watch *serving; /* whose event is being served */
    struct torc__epoll_watch **chunks;
    unsigned chunk_count;
    unsigned doubt_count;
    bool dozed;        /* nothing came, so those in doubt are to be verified */
    unsigned queued;   /* how many are in the queue */
    unsigned watching; /* how many ops are WATCHING */
    unsigned counting; /* how many are TIMING and count completions */
    uint64_t turns;
    unsigned busy_turns; /* in a row, without asking the kernel for events */
    bool stale;          /* the set has registrations that can only be got rid of with it */
    bool stale_told;     /* ... which cannot be done at present, as the log has told */
    bool has_pwait2;
    /* epoll_pwait2() or its substitute; tests put failures in its place. Count or -errno. */
    int (*wait)(struct torc__epoll *epoll, const struct timespec *timeout);
    _Atomic(struct torc__job *) finished; /* by threads of the pool, newest first */
    atomic_bool sleeping;                 /* they have to wake us */
    atomic_uint working;                  /* threads that may be using this struct just now */
    struct torc__buffer_ring *buffers;    /* see epoll_buffers.c; NULL while there is none */
    struct epoll_event events[EPOLL_EVENTS_MAX];
};

static inline struct torc__epoll *torc__to_epoll(struct torc__driver *driver)
{
    return (struct torc__epoll *)(void *)driver; /* Its first field. */
}

/* ---- Trying ---- */

/* What a try may say instead of a result. Results are counts, or no smaller than -4095. */
enum epoll_verdict {
    VERDICT_WATCH = -10000, /* wait for note->events of note->fd, and try again */
    VERDICT_TIME,           /* wait until note->due_ns, and try again */
    VERDICT_POOL,           /* blocks: leave it to a thread */
    VERDICT_AGAIN,          /* had enough of this turn */
};

typedef int torc__epoll_try_fn(struct torc__epoll *epoll, struct torc_op *op,
                               struct io_uring_sqe *sqe);

/* How an opcode is carried out. */
struct torc__epoll_opcode {
    torc__epoll_try_fn *attempt; /* NULL: there is no such operation */
    uint32_t direction; /* EPOLLIN or EPOLLOUT if those before it on its descriptor go first, ... */
    uint32_t no_wait;   /* ... unless it has this flag */
};

/* epoll_ops.c: the table of opcodes. */
const struct torc__epoll_opcode *torc__epoll_opcode(unsigned opcode);

/* The tries, by file. */
torc__epoll_try_fn torc__epoll_try_read;
torc__epoll_try_fn torc__epoll_try_write;
torc__epoll_try_fn torc__epoll_try_splice;
torc__epoll_try_fn torc__epoll_try_recv;
torc__epoll_try_fn torc__epoll_try_recvmsg;
torc__epoll_try_fn torc__epoll_try_send;
torc__epoll_try_fn torc__epoll_try_sendmsg;
torc__epoll_try_fn torc__epoll_try_accept;
torc__epoll_try_fn torc__epoll_try_connect;
torc__epoll_try_fn torc__epoll_try_timeout;
torc__epoll_try_fn torc__epoll_try_timeout_remove;
torc__epoll_try_fn torc__epoll_try_poll;
torc__epoll_try_fn torc__epoll_try_poll_remove;
torc__epoll_try_fn torc__epoll_try_cancel;

/* ---- epoll.c ---- */

/* Change an op's state, as the picture above allows. */
void torc__epoll_set_state(struct torc__epoll_note *note, enum epoll_state state);

/* Put an op, which is in no list, into the queue, to be tried (QUEUED) or told (ENDED). */
void torc__epoll_enqueue(struct torc__epoll *epoll, struct torc__epoll_note *note,
                         enum epoll_state state);

/* Tell a completion that is not the op's last, with `flags` of a CQE. The op stays ACTIVE. */
void torc__epoll_tell_more(struct torc__epoll *epoll, struct torc_op *op, int result,
                           uint32_t flags);

/* Tell the last completion of an ACTIVE op. */
void torc__epoll_tell(struct torc__epoll *epoll, struct torc_op *op, int result);

/* Try an op that is in no list, and put it where it belongs then. */
void torc__epoll_attempt(struct torc__epoll *epoll, struct torc__epoll_note *note);

/* Have an op end as cancelled. 0; -EALREADY if that cannot be hurried any more. */
int torc__epoll_end(struct torc__epoll *epoll, struct torc__epoll_note *note);

/* A system call is made: for the statistics. */
static inline void torc__epoll_count_call(struct torc__epoll *epoll)
{
    epoll->base.stats.enters++;
}

/* A new set with the wake-up's eventfd in it, or an error. */
int torc__epoll_open_set(struct torc__epoll *epoll);

/* ---- epoll_watch.c ---- */

/* What is known of `fd`; NULL if nothing is. */
struct torc__epoll_watch *torc__epoll_find(const struct torc__epoll *epoll, int fd);

/* Whether an op that is about to be tried had better wait for an event. */
bool torc__epoll_must_wait(const struct torc__epoll *epoll, int fd, uint32_t direction);

/* Whether an event will tell of one of `events` of `fd`, of which likely none holds now. */
bool torc__epoll_will_tell(const struct torc__epoll *epoll, int fd, uint32_t events);

/* Make an ACTIVE op wait for its events. 0, or an error: -EPERM if `fd` cannot be waited for. */
int torc__epoll_watch(struct torc__epoll *epoll, struct torc__epoll_note *note);

/* Take an op that is WATCHING out of its list. */
void torc__epoll_unwatch(struct torc__epoll *epoll, struct torc__epoll_note *note);

/* Whether `fd` can be waited for: 0, -EPERM for files, or another error. */
int torc__epoll_can_watch(struct torc__epoll *epoll, int fd, uint32_t events);

/* A read of `fd` gave fewer bytes than asked for. */
void torc__epoll_note_short(struct torc__epoll *epoll, int fd);

/* An event has come. */
void torc__epoll_serve_event(struct torc__epoll *epoll, const struct epoll_event *event);

/* Look after registrations in doubt: all of them before a sleep, or those that are so for long. */
void torc__epoll_verify(struct torc__epoll *epoll, bool before_sleep);

/* Begin with a fresh set of registrations. */
void torc__epoll_rebuild(struct torc__epoll *epoll);

/* `fd` has just been opened: what was known of the number is of no use any more. */
void torc__epoll_forget(struct torc__epoll *epoll, int fd);

/* `fd` is going to be closed: ops that wait for it keep its file, as on a ring. */
void torc__epoll_part(struct torc__epoll *epoll, int fd);

/* An op that borrows its descriptor ends. */
void torc__epoll_give_back(struct torc__epoll *epoll, const struct io_uring_sqe *sqe);

/* Make room for the first descriptors, so that a small program never allocates. 0 or -ENOMEM. */
int torc__epoll_make_watches(struct torc__epoll *epoll);

/* Free what the table holds. */
void torc__epoll_free_watches(struct torc__epoll *epoll);

/* ---- epoll_buffers.c ---- */

/* open_buffers() and close_buffers() of this driver. */
int torc__epoll_open_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers,
                             unsigned entries);
void torc__epoll_close_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers);

/* Try a multishot receive that chooses from the ring of buffers. */
int torc__epoll_recv_many(struct torc__epoll *epoll, struct torc_op *op,
                          const struct io_uring_sqe *sqe);

/* ---- epoll_time.c ---- */

/* Make an ACTIVE op wait until note->due_ns. */
void torc__epoll_time(struct torc__epoll *epoll, struct torc__epoll_note *note);

/* Take an op that is TIMING out. */
void torc__epoll_untime(struct torc__epoll *epoll, struct torc__epoll_note *note);

/* When the first op that waits for a time is due; UINT64_MAX if none does. */
uint64_t torc__epoll_next_due(const struct torc__epoll *epoll);

/* Try, or end, what is due. */
void torc__epoll_serve_times(struct torc__epoll *epoll);

/* ---- epoll_pool.c ---- */

/* Give an ACTIVE op to the pool. 0, or why it takes none. */
int torc__epoll_to_pool(struct torc__epoll *epoll, struct torc__epoll_note *note);

/* Take an op back that is POOLED. False if a thread has it, or has had it, in hand. */
bool torc__epoll_withdraw(struct torc__epoll *epoll, struct torc__epoll_note *note);

/* Tell what threads have finished, or try it again. */
void torc__epoll_collect(struct torc__epoll *epoll);

/* ---- epoll_ops.c ---- */

/* What a poll of a descriptor that is never waited for gives: it is ready, or will never be. */
int torc__epoll_poll_file(const struct torc__epoll_note *note);

/* ---- epoll_rw.c, for the pool's threads ---- */

/* The rest of a read or write, of which note->done bytes have been moved without blocking. */
int torc__epoll_transfer_rest(struct torc_op *op);

/* ---- epoll_call.c: system calls that have no non-blocking form ---- */

/* Whether one of `events` holds for `fd` now, or an error that a call would tell. */
bool torc__epoll_is_ready(struct torc__epoll *epoll, int fd, uint32_t events);

/* Which of `events` hold now, POLLERR and POLLHUP asked for or not; 0 if none; or an error. */
int torc__epoll_ask(struct torc__epoll *epoll, int fd, uint32_t events);

/*
 * After a receive for which an event came, and which failed (errno): whether there is nothing, and
 * never will be. A datagram socket that was shut down for reading says so only to calls that may
 * block, which they do not then. errno stays.
 */
bool torc__epoll_is_shut_down(struct torc__epoll *epoll, const struct torc__epoll_note *note,
                              int fd);

typedef ssize_t torc__epoll_call_fn(void *arguments);

/*
 * Make a system call while `fd` is O_NONBLOCK; see there what that means for others. The result,
 * or a negative errno.
 */
ssize_t torc__epoll_call_nonblocking(struct torc__epoll *epoll, int fd, torc__epoll_call_fn *call,
                                     void *arguments);

/* This is the child of a fork(): no other thread is in such a call any more. */
void torc__epoll_call_after_fork(void);

/*
 * The part of a vector that is left when `skip` bytes of it have been moved, up to `room` pieces
 * of it. Returns how many pieces.
 */
unsigned torc__epoll_slice(const struct iovec *vector, size_t count, size_t skip,
                           struct iovec *ret_pieces, unsigned room);

#endif
