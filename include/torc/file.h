/* SPDX-License-Identifier: MIT */
/*
 * torc/file.h - open files: the twins of open(2), pread(2), fsync(2), fallocate(2) and their like.
 *
 * A file is a plain descriptor, so torc/io.h reads, writes and closes it. Here is what only files
 * have: names to open them by, offsets, room, durability, locks. torc/fs.h has names and
 * directories.
 *
 * No call here keeps the shard waiting. What the kernel's ring can do goes there, other calls run
 * on a thread of the pool (torc/blocking.h). A call that a kernel thread or one of the pool has
 * begun is waited for, also in a cancelled scope.
 *
 * Open a FIFO with O_RDWR, or with O_NONBLOCK: whether open(2) waits for its other end otherwise
 * depends on the ring (Linux 6.18: only sometimes), and a thread of the pool that does so could not
 * be interrupted.
 *
 * Paths are borrowed until the call returns. A name over 255 bytes, or a path over 4,095, gives
 * -ENAMETOOLONG. `dirfd` is where relative paths begin: a directory, or AT_FDCWD (<fcntl.h>) for
 * the working directory, which functions without it mean.
 *
 * Writing beyond RLIMIT_FSIZE gives -EFBIG, and no SIGXFSZ.
 */
#ifndef TORC_FILE_H
#define TORC_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <torc/api.h>
TORC_BEGIN_C

struct open_how;
struct statx;

/* ---- Opening ---- */

/*
 * open(2), close-on-exec. Suspends. Returns the descriptor, which is the caller's; or an error.
 *
 * -EINTR      only with O_EXCL, where a server has the files (FUSE, SMB): it may be there by now.
 */
TORC_CHECK int torc_open(const char *path, int flags, mode_t mode);

/* openat(2), close-on-exec. Suspends. */
TORC_CHECK int torc_openat(int dirfd, const char *path, int flags, mode_t mode);

/*
 * openat2(2), close-on-exec: `how` is of <linux/openat2.h>, and its resolve flags say where a path
 * may lead (RESOLVE_BENEATH and others; -EXDEV, -ELOOP if elsewhere). Suspends.
 */
TORC_CHECK int torc_openat2(int dirfd, const char *path, const struct open_how *how);

/* ---- Reading and writing at an offset ---- */

/*
 * preadv2(2): scatter input from `offset`, or from the file's position if that is -1; RWF_ `flags`.
 * Suspends. The count, 0 at the end, or an error.
 */
TORC_CHECK ssize_t torc_preadv(int fd, const struct iovec *vector, int count, off_t offset,
                               int flags);

/* pwritev2(2), likewise. Suspends. The count, which may be short, or an error. */
TORC_CHECK ssize_t torc_pwritev(int fd, const struct iovec *vector, int count, off_t offset,
                                int flags);

/*
 * Read exactly `length` bytes from `offset`. Suspends. Returns 0 or an error; `*ret_done`, which
 * may be NULL, receives the number of bytes read in both cases.
 *
 * -ENODATA    the file ended before, perhaps since it was cut meanwhile.
 */
TORC_CHECK int torc_pread_all(int fd, void *buffer, size_t length, off_t offset, size_t *ret_done);

/* Write exactly `length` bytes at `offset`. Suspends. As torc_pread_all(). */
TORC_CHECK int torc_pwrite_all(int fd, const void *buffer, size_t length, off_t offset,
                               size_t *ret_done);

/*
 * Write at the end of the file, wherever that is by then, and whatever its position. Suspends. The
 * count, which is short only if there is no room, or an error.
 */
TORC_CHECK ssize_t torc_append(int fd, const void *buffer, size_t length);

/*
 * lseek(2), SEEK_DATA and SEEK_HOLE included. Suspends, since file systems may: calls with an
 * offset are quicker. Returns the new position, or an error.
 */
TORC_CHECK off_t torc_seek(int fd, off_t offset, int whence);

/* ---- Room and durability ---- */

/* fsync(2): data and metadata have reached the device. Suspends. */
TORC_CHECK int torc_fsync(int fd);

/* fdatasync(2): data, and what is needed to find it. Suspends. */
TORC_CHECK int torc_fdatasync(int fd);

/* sync_file_range(2), which promises no durability. Suspends. */
TORC_CHECK int torc_sync_file_range(int fd, off_t offset, off_t length, unsigned flags);

/*
 * fallocate(2). Suspends.
 *
 * -EINTR      only with FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE, which are not begun
 *             again, since the data might move twice: where a server has the file (SMB), a part may
 *             have been done.
 */
TORC_CHECK int torc_fallocate(int fd, int mode, off_t offset, off_t length);

/* posix_fadvise(2). Suspends. */
TORC_CHECK int torc_fadvise(int fd, off_t offset, off_t length, int advice);

/* Make the file exactly `length` bytes long: ftruncate(2). Suspends. */
TORC_CHECK int torc_ftruncate(int fd, off_t length);

/* truncate(2). Suspends. */
TORC_CHECK int torc_truncate(const char *path, off_t length);

/* statx(2) of an open file, with `mask` of STATX_ (<sys/stat.h>). Suspends. */
TORC_CHECK int torc_fstatx(int fd, unsigned mask, struct statx *ret_status);

/* fchmod(2). Suspends. */
TORC_CHECK int torc_fchmod(int fd, mode_t mode);

/* fchown(2); -1 leaves one as it is. Suspends. */
TORC_CHECK int torc_fchown(int fd, uid_t user, gid_t group);

/*
 * copy_file_range(2), at positions of the files where the offsets are NULL. Suspends. The count,
 * which may be short, 0 at the end; or an error, such as -EXDEV between some file systems.
 */
TORC_CHECK ssize_t torc_copy_file_range(int in, off_t *in_offset, int out, off_t *out_offset,
                                        size_t length);

/* ---- Locks ---- */

/*
 * flock(2) with LOCK_SH, LOCK_EX, LOCK_UN. Suspends; interruptible at all times. No thread is kept
 * by those that wait: they ask again and again, after 1 ms at first and 64 ms at last, so one that
 * comes later may be served earlier. Letting go (LOCK_UN) is not cancellable.
 *
 * -EAGAIN     only with LOCK_NB: somebody else has the lock.
 */
TORC_CHECK int torc_flock(int fd, int operation);

/*
 * Lock `length` bytes from `start` (0: to the end, wherever that is) for reading (F_RDLCK) or
 * writing (F_WRLCK), or release them (F_UNLCK). Suspends; waits as torc_flock() does. The lock is
 * that of the open file (F_OFD_SETLK, see fcntl(2)), not of the process: it ends when the last
 * descriptor of that is closed, and two of them lock each other out in one process too. Releasing
 * is not cancellable.
 */
TORC_CHECK int torc_lock(int fd, int type, off_t start, off_t length);

/* The same without waiting for others. Suspends. -EAGAIN: somebody else has a lock there. */
TORC_CHECK int torc_try_lock(int fd, int type, off_t start, off_t length);

/* ---- Direct I/O ---- */

/* What files opened with O_DIRECT demand; powers of two. */
struct torc_direct {
    uint32_t memory_alignment; /* of the buffer's address, for aligned_alloc() */
    uint32_t offset_alignment; /* of offset and length */
};

/*
 * What to align to for direct I/O on `fd`: as the kernel says (STATX_DIOALIGN, 6.1), else 4,096,
 * which does everywhere. Suspends.
 *
 * -EOPNOTSUPP    the file system has no direct I/O for this file.
 */
TORC_CHECK int torc_direct_alignment(int fd, struct torc_direct *ret_direct);

TORC_END_C
#endif
