/* SPDX-License-Identifier: MIT */
/*
 * disk_execute.c - operations on files and names, as an SQE describes them; and how long they take.
 *
 * Most are system calls whose arguments stand elsewhere. See driver/execute.c for where.
 */
#include "base/clock.h"
#include "base/compiler.h"
#include "base/kernel_abi.h"
#include "driver/sim/disk.h"
#include "driver/sim/disk_attribute.h"
#include "driver/sim/disk_file.h"
#include "driver/sim/disk_open.h"
#include <errno.h>
#include <sys/syscall.h>

/* Which call an operation is, and what it gives that. */
struct translation {
    int number;
    uintptr_t arguments[6];
};

static void *pointer(uint64_t address)
{
    return (void *)(uintptr_t)address;
}

static uintptr_t signed_argument(int value)
{
    return (uintptr_t)(intptr_t)value;
}

/* ---- Open files ---- */

typedef int64_t on_file_fn(struct sim_disk_file *file, const struct io_uring_sqe *sqe);

static int64_t do_fsync(struct sim_disk_file *file, const struct io_uring_sqe *sqe)
{
    if (sqe->fsync_flags & ~IORING_FSYNC_DATASYNC)
        return -EINVAL;
    return torc__sim_file_sync(file, sqe->fsync_flags & IORING_FSYNC_DATASYNC);
}

static int64_t do_sync_file_range(struct sim_disk_file *file, const struct io_uring_sqe *sqe)
{
    return torc__sim_file_sync_range(file, (int64_t)sqe->off, sqe->len, sqe->sync_range_flags);
}

static int64_t do_fallocate(struct sim_disk_file *file, const struct io_uring_sqe *sqe)
{
    return torc__sim_file_allocate(file, (int)sqe->len, (int64_t)sqe->off, (int64_t)sqe->addr);
}

static int64_t do_ftruncate(struct sim_disk_file *file, const struct io_uring_sqe *sqe)
{
    return torc__sim_file_truncate(file, (int64_t)sqe->off);
}

static int64_t do_fadvise(struct sim_disk_file *file, const struct io_uring_sqe *sqe)
{
    const int64_t length = sqe->addr != 0 ? (int64_t)sqe->addr : (int64_t)sqe->len;

    return torc__sim_file_advise(file, (int64_t)sqe->off, length, (int)sqe->fadvise_advice);
}

static int64_t do_fsetxattr(struct sim_disk_file *file, const struct io_uring_sqe *sqe)
{
    const char *name = pointer(sqe->addr);
    int result = torc__sim_xattr_check(name);

    if (result < 0)
        return result;
    return torc__sim_setxattr(file->inode, name, pointer(sqe->addr2), sqe->len,
                              (int)sqe->xattr_flags);
}

static int64_t do_fgetxattr(struct sim_disk_file *file, const struct io_uring_sqe *sqe)
{
    const char *name = pointer(sqe->addr);
    int result = torc__sim_xattr_check(name);

    return result < 0 ? result
                      : torc__sim_getxattr(file->inode, name, pointer(sqe->addr2), sqe->len);
}

/* ---- Names ---- */

static void translate_openat(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){SYS_openat,
                               {signed_argument(sqe->fd), sqe->addr, sqe->open_flags, sqe->len}};
}

static void translate_openat2(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){SYS_openat2,
                               {signed_argument(sqe->fd), sqe->addr, sqe->addr2, sqe->len}};
}

static void translate_statx(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){
        SYS_statx, {signed_argument(sqe->fd), sqe->addr, sqe->statx_flags, sqe->len, sqe->off}};
}

static void translate_renameat(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){SYS_renameat2,
                               {signed_argument(sqe->fd), sqe->addr, signed_argument((int)sqe->len),
                                sqe->addr2, sqe->rename_flags}};
}

static void translate_unlinkat(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){SYS_unlinkat,
                               {signed_argument(sqe->fd), sqe->addr, sqe->unlink_flags}};
}

static void translate_mkdirat(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){SYS_mkdirat, {signed_argument(sqe->fd), sqe->addr, sqe->len}};
}

static void translate_symlinkat(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){SYS_symlinkat, {sqe->addr, signed_argument(sqe->fd), sqe->addr2}};
}

static void translate_linkat(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){SYS_linkat,
                               {signed_argument(sqe->fd), sqe->addr, signed_argument((int)sqe->len),
                                sqe->addr2, sqe->hardlink_flags}};
}

/* ---- Extended attributes ---- */

static void translate_setxattr(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){SYS_setxattr,
                               {sqe->addr3, sqe->addr, sqe->addr2, sqe->len, sqe->xattr_flags}};
}

static void translate_getxattr(const struct io_uring_sqe *sqe, struct translation *to)
{
    *to = (struct translation){SYS_getxattr, {sqe->addr3, sqe->addr, sqe->addr2, sqe->len}};
}

/* ---- All of them ---- */

/* What an operation waits for, besides the processor. */
enum wait {
    WAIT_NOTHING,
    WAIT_NAME,  /* it may have to read a directory, or write to the journal */
    WAIT_FLUSH, /* it goes to the medium */
};

/* Of open files, `otherwise` is the error if it is no file of a disk. */
static const struct {
    void (*translate)(const struct io_uring_sqe *sqe, struct translation *to);
    on_file_fn *on_file;
    int otherwise;
    enum wait wait;
} by_opcode[] = {
    [IORING_OP_FSYNC] = {NULL, do_fsync, -EINVAL, WAIT_FLUSH},
    [IORING_OP_SYNC_FILE_RANGE] = {NULL, do_sync_file_range, -ESPIPE, WAIT_FLUSH},
    [IORING_OP_FALLOCATE] = {NULL, do_fallocate, -ESPIPE, WAIT_NAME},
    [IORING_OP_OPENAT] = {translate_openat, NULL, 0, WAIT_NAME},
    [IORING_OP_OPENAT2] = {translate_openat2, NULL, 0, WAIT_NAME},
    [IORING_OP_STATX] = {translate_statx, NULL, 0, WAIT_NAME},
    [IORING_OP_FADVISE] = {NULL, do_fadvise, -ESPIPE, WAIT_NOTHING},
    [IORING_OP_RENAMEAT] = {translate_renameat, NULL, 0, WAIT_NAME},
    [IORING_OP_UNLINKAT] = {translate_unlinkat, NULL, 0, WAIT_NAME},
    [IORING_OP_MKDIRAT] = {translate_mkdirat, NULL, 0, WAIT_NAME},
    [IORING_OP_SYMLINKAT] = {translate_symlinkat, NULL, 0, WAIT_NAME},
    [IORING_OP_LINKAT] = {translate_linkat, NULL, 0, WAIT_NAME},
    [IORING_OP_FSETXATTR] = {NULL, do_fsetxattr, -EOPNOTSUPP, WAIT_NAME},
    [IORING_OP_SETXATTR] = {translate_setxattr, NULL, 0, WAIT_NAME},
    [IORING_OP_FGETXATTR] = {NULL, do_fgetxattr, -EOPNOTSUPP, WAIT_NAME},
    [IORING_OP_GETXATTR] = {translate_getxattr, NULL, 0, WAIT_NAME},
    [KERNEL_OP_FTRUNCATE] = {NULL, do_ftruncate, -EINVAL, WAIT_NAME},
};

static bool is_known(unsigned opcode)
{
    return opcode < ARRAY_LENGTH(by_opcode) &&
           (by_opcode[opcode].translate != NULL || by_opcode[opcode].on_file != NULL);
}

static int execute_on_file(struct sim_file *file, const struct io_uring_sqe *sqe)
{
    struct sim_disk_file *disk_file;

    if (file == NULL || (file->flags & O_PATH))
        return -EBADF;
    disk_file = torc__sim_disk_file(file);
    if (disk_file == NULL)
        return by_opcode[sqe->opcode].otherwise;
    torc__sim_disk_age(disk_file->inode->disk);
    return (int)by_opcode[sqe->opcode].on_file(disk_file, sqe);
}

int torc__sim_disk_execute(struct sim_host *host, struct sim_file *file,
                           const struct io_uring_sqe *sqe)
{
    struct translation translation;

    if (!is_known(sqe->opcode))
        return -EINVAL;
    if (sqe->flags & IOSQE_FIXED_FILE)
        return -EBADF;
    if (by_opcode[sqe->opcode].on_file != NULL)
        return execute_on_file(file, sqe);
    if ((sqe->opcode == IORING_OP_OPENAT || sqe->opcode == IORING_OP_OPENAT2) &&
        sqe->file_index != 0)
        return -ENXIO;
    by_opcode[sqe->opcode].translate(sqe, &translation);
    return (int)torc__sim_disk_call(host, translation.number, translation.arguments);
}

/* ---- How long it takes ---- */

/* One read of so many finds its data not in the cache. */
#define CACHE_MISS_RATE 100000u /* of a million */

/* What a transfer waits for. */
static enum wait wait_of_transfer(struct sim_disk *disk, struct sim_file *file,
                                  const struct io_uring_sqe *sqe)
{
    const bool reads = sqe->opcode == IORING_OP_READ || sqe->opcode == IORING_OP_READV;

    if (file == NULL || torc__sim_disk_file(file) == NULL)
        return WAIT_NOTHING;
    if (!reads && (file->flags & (O_SYNC | O_DSYNC) || sqe->rw_flags & (RWF_SYNC | RWF_DSYNC)))
        return WAIT_FLUSH;
    if (file->flags & O_DIRECT)
        return WAIT_NAME;
    return reads && torc__sim_chance(disk->world, CACHE_MISS_RATE) ? WAIT_NAME : WAIT_NOTHING;
}

static enum wait wait_of(struct sim_disk *disk, struct sim_file *file,
                         const struct io_uring_sqe *sqe)
{
    switch (sqe->opcode) {
    case IORING_OP_READ:
    case IORING_OP_READV:
    case IORING_OP_WRITE:
    case IORING_OP_WRITEV:
        return wait_of_transfer(disk, file, sqe);
    default:
        return is_known(sqe->opcode) ? by_opcode[sqe->opcode].wait : WAIT_NOTHING;
    }
}

uint64_t torc__sim_disk_duration(struct sim_host *host, struct sim_file *file,
                                 const struct io_uring_sqe *sqe)
{
    struct sim_disk *disk = host->disk;
    const struct torc_sim_chaos *chaos = &disk->world->chaos;
    const enum wait wait = wait_of(disk, file, sqe);
    uint64_t duration_ns;

    if (wait == WAIT_NOTHING)
        return 0;
    duration_ns = torc__sim_duration(disk->world, wait == WAIT_FLUSH ? &chaos->disk_flush_latency
                                                                     : &chaos->disk_latency);
    if (torc__sim_disk_fault(disk, "disk: stalls", chaos->disk_stall_rate))
        duration_ns += torc__sim_below(disk->world, NS_PER_SECOND);
    return duration_ns;
}
