/* SPDX-License-Identifier: MIT */
/*
 * ops.c - what each opcode means to the simulated driver: the table, and what needs little more
 * than a call.
 */
#include "driver/sim/disk.h"
#include "driver/sim/driver.h"
#include "driver/sim/net.h"
#include "driver/sim/open.h"
#include "driver/sim/syscall.h"
#include "driver/sim/watch_set.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

/* ---- What is done at once ---- */

static int nop(struct sim_op *op, struct io_uring_sqe *sqe)
{
    (void)op;
    (void)sqe;
    return 0;
}

/* Rings alone could have these; what is refused is what kernels without them refuse. */
static int not_simulated(struct sim_op *op, struct io_uring_sqe *sqe)
{
    (void)op;
    (void)sqe;
    return -EOPNOTSUPP;
}

static int fixed_buffer(struct sim_op *op, struct io_uring_sqe *sqe)
{
    (void)op;
    (void)sqe;
    return -EFAULT; /* None is registered. */
}

static int no_child(struct sim_op *op, struct io_uring_sqe *sqe)
{
    (void)op;
    (void)sqe;
    return -ECHILD; /* Simulated hosts have one process each. */
}

static int try_close(struct sim_op *op, struct io_uring_sqe *sqe)
{
    return sqe->file_index != 0 ? -ENXIO : torc__sim_fd_close(op->sim->host, sqe->fd);
}

/* A request that never waits, described by an SQE. */
static int by_control(struct sim_op *op, struct torc__control request)
{
    return torc__sim_control(&op->sim->base, &request);
}

static int try_shutdown(struct sim_op *op, struct io_uring_sqe *sqe)
{
    return by_control(
        op, (struct torc__control){.kind = CONTROL_SHUTDOWN, .fd = sqe->fd, .a = (int)sqe->len});
}

static int try_bind(struct sim_op *op, struct io_uring_sqe *sqe)
{
    return by_control(op, (struct torc__control){.kind = CONTROL_BIND,
                                                 .fd = sqe->fd,
                                                 .data = (void *)(uintptr_t)sqe->addr,
                                                 .length = (uint32_t)sqe->addr2});
}

static int try_listen(struct sim_op *op, struct io_uring_sqe *sqe)
{
    return by_control(
        op, (struct torc__control){.kind = CONTROL_LISTEN, .fd = sqe->fd, .a = (int)sqe->len});
}

static int try_socket(struct sim_op *op, struct io_uring_sqe *sqe)
{
    if (sqe->rw_flags != 0)
        return -EINVAL;
    if (sqe->file_index != 0)
        return -ENXIO;
    return by_control(
        op, (struct torc__control){
                .kind = CONTROL_SOCKET, .a = sqe->fd, .b = (int)sqe->off, .c = (int)sqe->len});
}

static int try_pipe(struct sim_op *op, struct io_uring_sqe *sqe)
{
    if (sqe->file_index != 0)
        return -ENXIO;
    return torc__sim_open_pipe(op->sim->host, (int)sqe->rw_flags, (void *)(uintptr_t)sqe->addr);
}

static int try_epoll_ctl(struct sim_op *op, struct io_uring_sqe *sqe)
{
    return torc__sim_watch_control(op->file, (int)sqe->len, (int)sqe->off,
                                   (const void *)(uintptr_t)sqe->addr);
}

/* ---- What takes the time of a disk ---- */

static int try_disk(struct sim_op *op, struct io_uring_sqe *sqe)
{
    struct sim_host *host = op->sim->host;

    if (!op->has_begun) {
        op->has_begun = true;
        op->due_ns = host->world->now_ns + torc__sim_disk_duration(host, op->file, sqe);
        return SIM_LATER;
    }
    return torc__sim_disk_execute(host, op->file, sqe);
}

static int try_open(struct sim_op *op, struct io_uring_sqe *sqe)
{
    struct sim_world *world = op->sim->world;

    if (sqe->file_index != 0)
        return -ENXIO;
    if (!op->has_begun &&
        torc__sim_fault(world, op->sim->host, "no descriptor", world->chaos.descriptor_error_rate))
        return torc__sim_chance(world, 500000) ? -EMFILE : -ENFILE;
    return try_disk(op, sqe);
}

/* Advice on memory changes nothing that could be seen. */
static int try_madvise(struct sim_op *op, struct io_uring_sqe *sqe)
{
    return nop(op, sqe);
}

/* ---- On threads of the pool ---- */

static int by_syscall(struct sim_host *host, struct sim_file *file, const struct io_uring_sqe *sqe)
{
    switch (sqe->opcode) {
    case IORING_OP_SOCKET:
        return (int)torc__sim_syscall(
            host, SYS_socket, (uintptr_t[6]){(uintptr_t)sqe->fd, (uintptr_t)sqe->off, sqe->len});
    case IORING_OP_SHUTDOWN:
        return (int)torc__sim_syscall(host, SYS_shutdown,
                                      (uintptr_t[6]){(uintptr_t)sqe->fd, sqe->len});
    case KERNEL_OP_BIND:
        return (int)torc__sim_syscall(
            host, SYS_bind,
            (uintptr_t[6]){(uintptr_t)sqe->fd, (uintptr_t)sqe->addr, (uintptr_t)sqe->addr2});
    case KERNEL_OP_LISTEN:
        return (int)torc__sim_syscall(host, SYS_listen,
                                      (uintptr_t[6]){(uintptr_t)sqe->fd, sqe->len});
    case KERNEL_OP_PIPE:
        return (int)torc__sim_syscall(host, SYS_pipe2,
                                      (uintptr_t[6]){(uintptr_t)sqe->addr, sqe->rw_flags});
    default:
        return torc__sim_disk_execute(host, file, sqe);
    }
}

int torc__sim_execute(const struct io_uring_sqe *sqe)
{
    struct sim_world *world = torc__sim_world;
    struct sim_host *host = world->running->host;
    struct sim_file *file = torc__sim_fd_file(host, sqe->fd);
    int result;

    torc__sim_hold(world, file);
    torc__sim_wait(world, world->now_ns + torc__sim_disk_duration(host, file, sqe), false);
    result = by_syscall(host, file, sqe);
    torc__sim_let_go(world);
    return result;
}

/* ---- The table ---- */

static const struct sim_opcode opcodes[DRIVER_OPCODES] = {
    [IORING_OP_NOP] = {nop, false, false},
    [IORING_OP_READV] = {torc__sim_try_read, true, true},
    [IORING_OP_WRITEV] = {torc__sim_try_write, true, true},
    [IORING_OP_FSYNC] = {try_disk, true, false},
    [IORING_OP_READ_FIXED] = {fixed_buffer, false, false},
    [IORING_OP_WRITE_FIXED] = {fixed_buffer, false, false},
    [IORING_OP_POLL_ADD] = {torc__sim_try_poll, true, false},
    [IORING_OP_POLL_REMOVE] = {torc__sim_try_poll_remove, false, false},
    [IORING_OP_SYNC_FILE_RANGE] = {try_disk, true, false},
    [IORING_OP_SENDMSG] = {torc__sim_try_sendmsg, true, true},
    [IORING_OP_RECVMSG] = {torc__sim_try_recvmsg, true, true},
    [IORING_OP_TIMEOUT] = {torc__sim_try_timeout, false, false},
    [IORING_OP_TIMEOUT_REMOVE] = {torc__sim_try_timeout_remove, false, false},
    [IORING_OP_ACCEPT] = {torc__sim_try_accept, true, true},
    [IORING_OP_ASYNC_CANCEL] = {torc__sim_try_cancel, false, false},
    [IORING_OP_CONNECT] = {torc__sim_try_connect, true, true},
    [IORING_OP_FALLOCATE] = {try_disk, true, true},
    [IORING_OP_OPENAT] = {try_open, false, true},
    [IORING_OP_CLOSE] = {try_close, false, false},
    [IORING_OP_STATX] = {try_disk, false, true},
    [IORING_OP_READ] = {torc__sim_try_read, true, true},
    [IORING_OP_WRITE] = {torc__sim_try_write, true, true},
    [IORING_OP_FADVISE] = {try_disk, true, false},
    [IORING_OP_MADVISE] = {try_madvise, false, false},
    [IORING_OP_SEND] = {torc__sim_try_send, true, true},
    [IORING_OP_RECV] = {torc__sim_try_recv, true, true},
    [IORING_OP_OPENAT2] = {try_open, false, true},
    [IORING_OP_EPOLL_CTL] = {try_epoll_ctl, true, false},
    [IORING_OP_SPLICE] = {torc__sim_try_splice, true, true},
    [IORING_OP_TEE] = {torc__sim_try_splice, true, true},
    [IORING_OP_SHUTDOWN] = {try_shutdown, false, false},
    [IORING_OP_RENAMEAT] = {try_disk, false, true},
    [IORING_OP_UNLINKAT] = {try_disk, false, true},
    [IORING_OP_MKDIRAT] = {try_disk, false, true},
    [IORING_OP_SYMLINKAT] = {try_disk, false, true},
    [IORING_OP_LINKAT] = {try_disk, false, true},
    [IORING_OP_MSG_RING] = {not_simulated, false, false},
    [IORING_OP_FSETXATTR] = {try_disk, true, true},
    [IORING_OP_SETXATTR] = {try_disk, false, true},
    [IORING_OP_FGETXATTR] = {try_disk, true, true},
    [IORING_OP_GETXATTR] = {try_disk, false, true},
    [IORING_OP_SOCKET] = {try_socket, false, true},
    [IORING_OP_URING_CMD] = {not_simulated, false, false},
    [IORING_OP_SEND_ZC] = {torc__sim_try_send, true, true},
    [IORING_OP_SENDMSG_ZC] = {torc__sim_try_sendmsg, true, true},
    [KERNEL_OP_WAITID] = {no_child, false, false},
    [KERNEL_OP_FTRUNCATE] = {try_disk, true, true},
    [KERNEL_OP_BIND] = {try_bind, false, false},
    [KERNEL_OP_LISTEN] = {try_listen, false, false},
    [KERNEL_OP_PIPE] = {try_pipe, false, true},
};

const struct sim_opcode *torc__sim_opcode(unsigned opcode)
{
    return opcode < ARRAY_LENGTH(opcodes) && opcodes[opcode].attempt != NULL ? &opcodes[opcode]
                                                                             : NULL;
}
