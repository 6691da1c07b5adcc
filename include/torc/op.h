/* SPDX-License-Identifier: MIT */
/*
 * torc/op.h - any operation of io_uring, and several at once.
 *
 * An operation is described by a struct io_uring_sqe, filled by liburing's io_uring_prep_*
 * functions (include <liburing.h>, nothing of it is linked). So every operation that the running
 * kernel has can be used, whether torc knows it or not:
 *
 *     struct torc_op op;
 *
 *     io_uring_prep_fsync(torc_op_prepare(&op), fd, 0);
 *     result = torc_op_wait(&op);
 *
 * From torc_op_prepare() until the operation has completed, the op, and all memory that the SQE
 * names, belong to torc. A fiber that has prepared an op waits for it by one of the functions
 * below before it leaves the frame the op stands in; a fiber that ends with ops in flight aborts.
 *
 * When the fiber's scope gives a reason to end, all waits here cancel the ops they wait for and go
 * on waiting for them: an op's memory is free when the wait returns, and its result is exact. An
 * op that completed in spite of a cancel keeps its result.
 *
 * -EINTR without any cancel says that the kernel was disturbed, before the operation had done
 * anything unless it changes files or names: torc's own functions then begin anew where that is
 * safe; who prepares an op decides. Likewise of a file's own position (offset -1): a ring does not
 * move it after a write that the disk had no room for all of, nor with O_DIRECT (Linux 6.18). Give
 * offsets, or use torc/io.h and torc/file.h, which see to it.
 */
#ifndef TORC_OP_H
#define TORC_OP_H

#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

struct io_uring_sqe;
struct torc_fiber;
struct torc_op;

/*
 * Called by the shard's loop for the completions of an op, of which a multishot op has several.
 * Must not suspend. `more` tells that others will follow (IORING_CQE_F_MORE).
 */
typedef void torc_op_fn(struct torc_op *op, int result, uint32_t flags, int more);

/* One operation, in the caller's memory. Never copied or moved while in flight. Private fields. */
struct torc_op {
    uint64_t _sqe[8];   /* Where a driver without a ring has the operation described, ... */
    uint64_t _note[10]; /* ... and notes how far it has come. */
    /* What every op needs stands last, beside what the frame it is in has saved above it. */
    torc_op_fn *_complete;
    union {
        torc_op_fn *_feed;   /* of torc_op_prepare_feed() */
        const void *_opener; /* where the stream or listener was opened that this is an op of */
        const void *_memory; /* while a fiber waits for just this: what it reads or fills */
    };
    void *_waiter;
    struct torc_fiber *_fiber;
    struct torc_op *_next; /* of those that no fiber waits for */
    struct torc_op **_link;
    int _result;
    uint32_t _flags;
    uint8_t _state;
    uint8_t _cancelling;
    uint8_t _loan;
    uint8_t _opcode; /* What it does, and to which descriptor, for those who look at who waits. */
    int _fd;
};

/*
 * Begin an operation and return the SQE that describes it, cleared, to be filled before the next
 * call into torc. It goes to the kernel when the shard's loop turns, together with others. Leave
 * `user_data` alone, and the flags that would tie it to its neighbours, which are others' ops:
 * IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_IO_DRAIN (they abort), IOSQE_CQE_SKIP_SUCCESS. Never
 * NULL. Not a cancellation point.
 */
TORC_CHECK struct io_uring_sqe *torc_op_prepare(struct torc_op *op);

/*
 * Wait until `op` has completed, and return its result (for an op with several completions that of
 * the last, or of the first for SEND_ZC). Suspends if it has not. If the scope's reason ended it,
 * that reason; a result >= 0 is returned as it is. May be called again, with the same answer.
 */
TORC_API int torc_op_wait(struct torc_op *op);

/* Hurry `op`: its wait soon ends with -ECANCELED, or with its result if that came first. */
TORC_API void torc_op_cancel(struct torc_op *op);

/* Whether `op` has completed, so that torc_op_wait() would not suspend. */
TORC_API int torc_op_done(const struct torc_op *op);

/* The IORING_CQE_F_ flags of the last completion of `op`. */
TORC_API uint32_t torc_op_flags(const struct torc_op *op);

/*
 * Wait for all of `ops`. Suspends. Returns 0 when all succeeded, else the first failure in the
 * order of the array; torc_op_wait() then tells each result at once. count may be 0.
 */
TORC_API int torc_op_join(struct torc_op *const *ops, unsigned count);

/* Like torc_op_join(), but the first op to fail cancels the others. Suspends. Returns its error. */
TORC_API int torc_op_try_join(struct torc_op *const *ops, unsigned count);

/*
 * Wait for the first of `ops` to complete, cancel the others, and wait for them. Suspends. Returns
 * the index of the first, or the scope's reason if that came before any. The losers may have
 * completed in spite of being cancelled: nothing is lost if their results are looked at too.
 *
 * -EINVAL     count is 0.
 */
TORC_API int torc_op_select(struct torc_op *const *ops, unsigned count);

/*
 * Begin an operation whose completions are handed to `complete`, on the shard's loop, instead of
 * waking a fiber. For multishot operations and for adapters. From a fiber or a loop callback. Not
 * to be waited for.
 *
 * The op belongs to torc until the call with `more` == 0, in which it may be freed or prepared
 * again, but for a result of -ECANCELED: torc cancels the feeds that are left when all fibers of
 * the shard have ended, and those that begin again then. End it earlier by torc_op_cancel(). A
 * fiber that ends with one in flight on its stack aborts.
 */
TORC_CHECK struct io_uring_sqe *torc_op_prepare_feed(struct torc_op *op, torc_op_fn *complete);

/*
 * What an operation is called, by its IORING_OP_ code, as in "recv"; NULL for one that this version
 * of torc does not know. Any thread.
 */
TORC_API const char *torc_op_name(unsigned opcode);

TORC_END_C
#endif
