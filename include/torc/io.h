/* SPDX-License-Identifier: MIT */
/*
 * torc/io.h - reading and writing descriptors: the twins of read(2), write(2), poll(2), close(2).
 *
 * Descriptors are plain ints. Whether one is O_NONBLOCK makes no difference on current kernels: the
 * fiber waits, and never the shard. (Older ones give -EAGAIN for it: leave descriptors blocking.)
 * One fiber may read while another writes the same descriptor.
 *
 * Buffers, vectors and addresses are borrowed until the call returns. Lengths above 2 GiB - 4 KiB
 * are cut to that, as the kernel does (MAX_RW_COUNT); the `_all` functions then go on.
 *
 * SIGPIPE is never raised: a shard's thread has it blocked, and the error is -EPIPE. Nor do reads,
 * writes and their like ever give -EINTR.
 */
#ifndef TORC_IO_H
#define TORC_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <torc/api.h>
TORC_BEGIN_C

/* Read at the file's own position. Suspends. The count, 0 at the end, or an error of read(2). */
TORC_CHECK ssize_t torc_read(int fd, void *buffer, size_t length);

/* Write at the file's own position. Suspends. The count, which may be short, or an error. */
TORC_CHECK ssize_t torc_write(int fd, const void *buffer, size_t length);

/* Like torc_read() at `offset`, which the file's position does not follow. Suspends. */
TORC_CHECK ssize_t torc_pread(int fd, void *buffer, size_t length, off_t offset);

/* Like torc_write() at `offset`, which the file's position does not follow. Suspends. */
TORC_CHECK ssize_t torc_pwrite(int fd, const void *buffer, size_t length, off_t offset);

/* Scatter input over up to IOV_MAX buffers. Suspends. The count, 0 at the end, or an error. */
TORC_CHECK ssize_t torc_readv(int fd, const struct iovec *vector, int count);

/* Gather output from up to IOV_MAX buffers. Suspends. The count, may be short; or an error. */
TORC_CHECK ssize_t torc_writev(int fd, const struct iovec *vector, int count);

/*
 * Read exactly `length` bytes. Suspends. Returns 0 or an error; `*ret_done`, which may be NULL,
 * receives the number of bytes read in both cases, so that nothing is lost.
 *
 * -ENODATA    the input ended before.
 */
TORC_CHECK int torc_read_all(int fd, void *buffer, size_t length, size_t *ret_done);

/* Write exactly `length` bytes. Suspends. As torc_read_all(). */
TORC_CHECK int torc_write_all(int fd, const void *buffer, size_t length, size_t *ret_done);

/* Fill all buffers of a vector of any count >= 0. Suspends. As torc_read_all(). */
TORC_CHECK int torc_readv_all(int fd, const struct iovec *vector, int count, size_t *ret_done);

/* Write all buffers of a vector of any count >= 0. Suspends. As torc_read_all(). */
TORC_CHECK int torc_writev_all(int fd, const struct iovec *vector, int count, size_t *ret_done);

/*
 * Wait until one of `events` (POLLIN, POLLOUT, POLLPRI, POLLRDHUP ...) holds for `fd`. Suspends.
 * Returns the events that do, POLLERR and POLLHUP among them whether asked for or not; > 0.
 *
 * -EMFILE, -ENFILE    no descriptor is free: a ring may need one where the peer has ended the
 *                     stream, which is not what was asked.
 */
TORC_CHECK int torc_poll(int fd, unsigned events);

/*
 * Close `fd`. Suspends; not cancellable. The descriptor is gone whatever is returned, which is
 * close(2)'s report of an earlier write's failure (-EIO, -EDQUOT, -ENOSPC), or -EBADF.
 *
 * It does not end the waits of other fibers on `fd`: shut the connection down, or cancel them,
 * first.
 */
TORC_API int torc_close(int fd);

TORC_END_C
#endif
