/* SPDX-License-Identifier: MIT */
/*
 * execute.c - do what an SQE says, by ordinary system calls.
 *
 * One function per operation, which knows where io_uring_prep_*() has put each argument, and
 * returns what the system call does: -1 and errno if it fails.
 */
#include "driver/execute.h"
#include "base/compiler.h"
#include "driver/sim/driver.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

typedef ssize_t execute_fn(const struct io_uring_sqe *sqe);

static void *pointer(uint64_t address)
{
    return (void *)(uintptr_t)address;
}

static ssize_t fail(int error)
{
    errno = error;
    return -1;
}

static ssize_t do_nop(const struct io_uring_sqe *sqe)
{
    (void)sqe;
    return 0;
}

/* ---- Data ---- */

typedef ssize_t transfer_fn(int fd, const struct iovec *vector, int count, off_t offset, int flags);

/*
 * An offset of -1 means the file's own position, to both. What has no positions, as a pipe,
 * refuses others here, while a ring does not look at them.
 */
static ssize_t transfer(transfer_fn *move, const struct io_uring_sqe *sqe,
                        const struct iovec *vector, int count)
{
    const off_t offset = (off_t)sqe->off;
    const int flags = (int)sqe->rw_flags;
    ssize_t result = move(sqe->fd, vector, count, offset, flags);

    if (result < 0 && errno == ESPIPE && offset != -1)
        result = move(sqe->fd, vector, count, -1, flags);
    return result;
}

static ssize_t do_readv(const struct io_uring_sqe *sqe)
{
    return transfer(preadv2, sqe, pointer(sqe->addr), (int)sqe->len);
}

static ssize_t do_writev(const struct io_uring_sqe *sqe)
{
    return transfer(pwritev2, sqe, pointer(sqe->addr), (int)sqe->len);
}

static ssize_t do_read(const struct io_uring_sqe *sqe)
{
    const struct iovec vector = {pointer(sqe->addr), sqe->len};

    return transfer(preadv2, sqe, &vector, 1);
}

static ssize_t do_write(const struct io_uring_sqe *sqe)
{
    const struct iovec vector = {pointer(sqe->addr), sqe->len};

    return transfer(pwritev2, sqe, &vector, 1);
}

static ssize_t do_splice(const struct io_uring_sqe *sqe)
{
    loff_t in = (loff_t)sqe->splice_off_in;
    loff_t out = (loff_t)sqe->off;

    if (sqe->splice_flags & SPLICE_F_FD_IN_FIXED)
        return fail(EBADF);
    return splice(sqe->splice_fd_in, in == -1 ? NULL : &in, sqe->fd, out == -1 ? NULL : &out,
                  sqe->len, sqe->splice_flags);
}

static ssize_t do_tee(const struct io_uring_sqe *sqe)
{
    if (sqe->splice_flags & SPLICE_F_FD_IN_FIXED)
        return fail(EBADF);
    return tee(sqe->splice_fd_in, sqe->fd, sqe->len, sqe->splice_flags);
}

/* ---- Files that are open ---- */

static ssize_t do_fsync(const struct io_uring_sqe *sqe)
{
    if (sqe->fsync_flags & ~IORING_FSYNC_DATASYNC)
        return fail(EINVAL);
    return sqe->fsync_flags ? fdatasync(sqe->fd) : fsync(sqe->fd);
}

static ssize_t do_sync_file_range(const struct io_uring_sqe *sqe)
{
    return sync_file_range(sqe->fd, (off_t)sqe->off, sqe->len, sqe->sync_range_flags);
}

static ssize_t do_fallocate(const struct io_uring_sqe *sqe)
{
    return fallocate(sqe->fd, (int)sqe->len, (off_t)sqe->off, (off_t)sqe->addr);
}

static ssize_t do_ftruncate(const struct io_uring_sqe *sqe)
{
    return ftruncate(sqe->fd, (off_t)sqe->off);
}

/* Lengths of more than 32 bits are in another field since 6.10. */
static ssize_t do_fadvise(const struct io_uring_sqe *sqe)
{
    const off_t length = sqe->addr != 0 ? (off_t)sqe->addr : (off_t)sqe->len;
    const int error = posix_fadvise(sqe->fd, (off_t)sqe->off, length, (int)sqe->fadvise_advice);

    return error != 0 ? fail(error) : 0;
}

static ssize_t do_madvise(const struct io_uring_sqe *sqe)
{
    const size_t length = sqe->off != 0 ? sqe->off : sqe->len;

    return madvise(pointer(sqe->addr), length, (int)sqe->fadvise_advice);
}

static ssize_t do_close(const struct io_uring_sqe *sqe)
{
    return sqe->file_index != 0 ? fail(ENXIO) : close(sqe->fd);
}

/* ---- Names ---- */

static ssize_t do_openat(const struct io_uring_sqe *sqe)
{
    if (sqe->file_index != 0)
        return fail(ENXIO);
    return openat(sqe->fd, pointer(sqe->addr), (int)sqe->open_flags, (mode_t)sqe->len);
}

static ssize_t do_openat2(const struct io_uring_sqe *sqe)
{
    if (sqe->file_index != 0)
        return fail(ENXIO);
    return syscall(SYS_openat2, sqe->fd, pointer(sqe->addr), pointer(sqe->addr2), (size_t)sqe->len);
}

static ssize_t do_statx(const struct io_uring_sqe *sqe)
{
    return statx(sqe->fd, pointer(sqe->addr), (int)sqe->statx_flags, sqe->len, pointer(sqe->off));
}

static ssize_t do_renameat(const struct io_uring_sqe *sqe)
{
    return renameat2(sqe->fd, pointer(sqe->addr), (int)sqe->len, pointer(sqe->addr2),
                     sqe->rename_flags);
}

static ssize_t do_unlinkat(const struct io_uring_sqe *sqe)
{
    return unlinkat(sqe->fd, pointer(sqe->addr), (int)sqe->unlink_flags);
}

static ssize_t do_mkdirat(const struct io_uring_sqe *sqe)
{
    return mkdirat(sqe->fd, pointer(sqe->addr), (mode_t)sqe->len);
}

static ssize_t do_symlinkat(const struct io_uring_sqe *sqe)
{
    return symlinkat(pointer(sqe->addr), sqe->fd, pointer(sqe->addr2));
}

static ssize_t do_linkat(const struct io_uring_sqe *sqe)
{
    return linkat(sqe->fd, pointer(sqe->addr), (int)sqe->len, pointer(sqe->addr2),
                  (int)sqe->hardlink_flags);
}

/* ---- Extended attributes ---- */

static ssize_t do_fsetxattr(const struct io_uring_sqe *sqe)
{
    return fsetxattr(sqe->fd, pointer(sqe->addr), pointer(sqe->addr2), sqe->len,
                     (int)sqe->xattr_flags);
}

static ssize_t do_setxattr(const struct io_uring_sqe *sqe)
{
    return setxattr(pointer(sqe->addr3), pointer(sqe->addr), pointer(sqe->addr2), sqe->len,
                    (int)sqe->xattr_flags);
}

static ssize_t do_fgetxattr(const struct io_uring_sqe *sqe)
{
    return fgetxattr(sqe->fd, pointer(sqe->addr), pointer(sqe->addr2), sqe->len);
}

static ssize_t do_getxattr(const struct io_uring_sqe *sqe)
{
    return getxattr(pointer(sqe->addr3), pointer(sqe->addr), pointer(sqe->addr2), sqe->len);
}

/* ---- Others ---- */

static ssize_t do_waitid(const struct io_uring_sqe *sqe)
{
    return waitid((idtype_t)sqe->len, (id_t)sqe->fd, pointer(sqe->addr2), (int)sqe->file_index);
}

static ssize_t do_epoll_ctl(const struct io_uring_sqe *sqe)
{
    return epoll_ctl(sqe->fd, (int)sqe->len, (int)sqe->off, pointer(sqe->addr));
}

static ssize_t do_pipe(const struct io_uring_sqe *sqe)
{
    return sqe->file_index != 0 ? fail(ENXIO) : pipe2(pointer(sqe->addr), (int)sqe->rw_flags);
}

static ssize_t do_socket(const struct io_uring_sqe *sqe)
{
    if (sqe->rw_flags != 0)
        return fail(EINVAL);
    if (sqe->file_index != 0)
        return fail(ENXIO);
    return socket(sqe->fd, (int)sqe->off, (int)sqe->len);
}

static ssize_t do_bind(const struct io_uring_sqe *sqe)
{
    return bind(sqe->fd, pointer(sqe->addr), (socklen_t)sqe->addr2);
}

static ssize_t do_listen(const struct io_uring_sqe *sqe)
{
    return listen(sqe->fd, (int)sqe->len);
}

static ssize_t do_shutdown(const struct io_uring_sqe *sqe)
{
    return shutdown(sqe->fd, (int)sqe->len);
}

/* ---- All of them ---- */

static execute_fn *const by_opcode[] = {
    [IORING_OP_NOP] = do_nop,
    [IORING_OP_READV] = do_readv,
    [IORING_OP_WRITEV] = do_writev,
    [IORING_OP_FSYNC] = do_fsync,
    [IORING_OP_SYNC_FILE_RANGE] = do_sync_file_range,
    [IORING_OP_FALLOCATE] = do_fallocate,
    [IORING_OP_OPENAT] = do_openat,
    [IORING_OP_CLOSE] = do_close,
    [IORING_OP_STATX] = do_statx,
    [IORING_OP_READ] = do_read,
    [IORING_OP_WRITE] = do_write,
    [IORING_OP_FADVISE] = do_fadvise,
    [IORING_OP_MADVISE] = do_madvise,
    [IORING_OP_OPENAT2] = do_openat2,
    [IORING_OP_EPOLL_CTL] = do_epoll_ctl,
    [IORING_OP_SPLICE] = do_splice,
    [IORING_OP_TEE] = do_tee,
    [IORING_OP_SHUTDOWN] = do_shutdown,
    [IORING_OP_RENAMEAT] = do_renameat,
    [IORING_OP_UNLINKAT] = do_unlinkat,
    [IORING_OP_MKDIRAT] = do_mkdirat,
    [IORING_OP_SYMLINKAT] = do_symlinkat,
    [IORING_OP_LINKAT] = do_linkat,
    [IORING_OP_FSETXATTR] = do_fsetxattr,
    [IORING_OP_SETXATTR] = do_setxattr,
    [IORING_OP_FGETXATTR] = do_fgetxattr,
    [IORING_OP_GETXATTR] = do_getxattr,
    [IORING_OP_SOCKET] = do_socket,
    [KERNEL_OP_WAITID] = do_waitid,
    [KERNEL_OP_FTRUNCATE] = do_ftruncate,
    [KERNEL_OP_BIND] = do_bind,
    [KERNEL_OP_LISTEN] = do_listen,
    [KERNEL_OP_PIPE] = do_pipe,
};

int torc__execute(const struct io_uring_sqe *sqe)
{
    ssize_t result;

    if (torc__sim_world != NULL)
        return torc__sim_execute(sqe);
    if (sqe->opcode >= ARRAY_LENGTH(by_opcode) || by_opcode[sqe->opcode] == NULL)
        return -EINVAL;
    if (sqe->flags & IOSQE_FIXED_FILE)
        return -EBADF;
    result = by_opcode[sqe->opcode](sqe);
    return result < 0 ? -errno : (int)result;
}
