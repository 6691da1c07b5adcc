/* SPDX-License-Identifier: MIT */
/*
 * ops_rw.c - reads, writes and splices in the simulated driver, and what takes its time on a disk.
 */
#include "base/log.h"
#include "base/vector.h"
#include "driver/sim/disk.h"
#include "driver/sim/driver.h"
#include "driver/sim/net.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

/* The most that one read or write moves, as the kernel has it (MAX_RW_COUNT). */
#define MOVE_MAX ((size_t)0x7ffff000)
/* A splice that is not possible, though both ends are ready, is tried again after this. */
#define SPLICE_PAUSE_NS UINT64_C(1000000)

size_t torc__sim_shorten(struct sim_op *op, size_t size)
{
    struct sim_world *world = op->sim->world;

    if (!(op->file->ops->traits & SIM_BYTES) || size < 2 || world->chaos.short_transfer_rate == 0)
        return size;
    if (!torc__sim_fault(world, op->sim->host, "short transfer", world->chaos.short_transfer_rate))
        return size;
    return 1 + torc__sim_below(world, size - 1);
}

/* ---- Reads and writes ---- */

/* A read or write, however it was described. */
struct transfer {
    const struct iovec *vector;
    size_t count;
    struct iovec single;
};

static void describe(const struct io_uring_sqe *sqe, struct transfer *ret_transfer)
{
    const bool is_vector = sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV;

    ret_transfer->single = (struct iovec){(void *)(uintptr_t)sqe->addr, sqe->len};
    ret_transfer->vector =
        is_vector ? (const struct iovec *)(uintptr_t)sqe->addr : &ret_transfer->single;
    ret_transfer->count = is_vector ? sqe->len : 1;
}

/* No more than `limit` bytes of a vector. How many pieces that are. */
static size_t cut(const struct transfer *transfer, size_t limit, struct iovec pieces[IOV_MAX])
{
    size_t count = 0;

    for (; count < transfer->count && limit > 0; count++) {
        pieces[count] = transfer->vector[count];
        if (pieces[count].iov_len > limit)
            pieces[count].iov_len = limit;
        limit -= pieces[count].iov_len;
    }
    return count;
}

/* Whether the time of a disk is up, that an op on one of its files takes. */
static bool takes_time(struct sim_op *op, const struct io_uring_sqe *sqe)
{
    uint64_t takes_ns;

    if (op->has_begun)
        return false;
    op->has_begun = true;
    takes_ns = torc__sim_disk_duration(op->sim->host, op->file, sqe);
    op->due_ns = op->sim->world->now_ns + takes_ns;
    return takes_ns > 0;
}

/* What a cancelled op on a file does: as a rule it is done all the same, but perhaps in part. */
static size_t size_if_cancelled(struct sim_op *op, size_t size)
{
    struct sim_world *world = op->sim->world;

    if (!op->is_cancelled || size < 2 ||
        !torc__sim_fault(world, op->sim->host, "cancelled half done",
                         world->chaos.cancel_partial_rate))
        return size;
    return 1 + torc__sim_below(world, size - 1);
}

static ssize_t move(struct sim_op *op, const struct io_uring_sqe *sqe,
                    const struct transfer *transfer, bool is_write)
{
    ssize_t (*const call)(struct sim_file *, const struct iovec *, size_t, off_t, int) =
        is_write ? op->file->ops->write : op->file->ops->read;
    const bool is_file = op->file->ops->traits & SIM_SEEKABLE;
    const int access = op->file->flags & O_ACCMODE;
    struct iovec pieces[IOV_MAX];
    size_t size;
    size_t wanted;

    if ((op->file->flags & O_PATH) || access == (is_write ? O_RDONLY : O_WRONLY))
        return -EBADF;
    if (call == NULL || transfer->count > IOV_MAX)
        return -EINVAL;
    size = torc__vector_size(transfer->vector, transfer->count);
    wanted = size < MOVE_MAX ? size : MOVE_MAX;
    wanted = is_file ? size_if_cancelled(op, wanted) : torc__sim_shorten(op, wanted);
    if (wanted == size)
        return call(op->file, transfer->vector, transfer->count, (off_t)sqe->off,
                    (int)sqe->rw_flags);
    return call(op->file, pieces, cut(transfer, wanted, pieces), (off_t)sqe->off,
                (int)sqe->rw_flags);
}

static int try_transfer(struct sim_op *op, const struct io_uring_sqe *sqe, bool is_write)
{
    const bool never_waits = (sqe->rw_flags & RWF_NOWAIT) || (op->file->flags & O_NONBLOCK);
    struct transfer transfer;
    ssize_t result;

    describe(sqe, &transfer);
    if ((op->file->ops->traits & SIM_SEEKABLE) && takes_time(op, sqe))
        return SIM_LATER;
    result = move(op, sqe, &transfer, is_write);
    if (result == -EAGAIN && !never_waits)
        return torc__sim_op_wait(op, is_write ? POLLOUT : POLLIN);
    return (int)result;
}

int torc__sim_try_read(struct sim_op *op, struct io_uring_sqe *sqe)
{
    return try_transfer(op, sqe, false);
}

int torc__sim_try_write(struct sim_op *op, struct io_uring_sqe *sqe)
{
    return try_transfer(op, sqe, true);
}

/* ---- Splice and tee ---- */

static int wait_for_end(struct sim_op *op, struct sim_file *file, uint32_t events)
{
    op->wait_file = file;
    op->wait_events = events;
    return SIM_WAIT;
}

int torc__sim_try_splice(struct sim_op *op, struct io_uring_sqe *sqe)
{
    struct sim_host *host = op->sim->host;
    struct sim_file *in = torc__sim_fd_file(host, sqe->splice_fd_in);
    off_t in_offset = (off_t)sqe->splice_off_in;
    off_t out_offset = (off_t)sqe->off;
    ssize_t result;

    if ((sqe->splice_flags & SPLICE_F_FD_IN_FIXED) || in == NULL)
        return -EBADF;
    if (sqe->len == 0)
        return 0;
    if (sqe->opcode == IORING_OP_TEE) {
        result = torc__sim_tee(in, op->file, sqe->len, sqe->splice_flags);
    } else {
        result =
            torc__sim_splice(in, &in_offset, op->file, &out_offset, sqe->len, sqe->splice_flags);
    }
    if (result != -EAGAIN || (sqe->splice_flags & SPLICE_F_NONBLOCK))
        return (int)result;
    if (!(torc__sim_file_poll(in) & (POLLIN | POLLHUP | POLLERR)))
        return wait_for_end(op, in, POLLIN);
    if (!(torc__sim_file_poll(op->file) & (POLLOUT | POLLERR)))
        return wait_for_end(op, op->file, POLLOUT);
    op->due_ns = op->sim->world->now_ns + SPLICE_PAUSE_NS;
    return SIM_LATER;
}
