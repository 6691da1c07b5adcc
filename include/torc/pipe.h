/* SPDX-License-Identifier: MIT */
/*
 * torc/pipe.h - pipes, and bytes that go from one descriptor to another.
 *
 * torc_read() and torc_write() (torc/io.h) use a pipe. torc_splice() and torc_tee() are the twins
 * of splice(2) and tee(2), which move pages by reference. The kernel always hands them to a thread
 * of its own (io-wq), which costs some 10 us per call over a read and a write of a few KiB: they
 * pay for large transfers. One that waits holds such a thread, so wait by torc_poll() first, as
 * torc_copy does, where many may wait at once.
 *
 * torc_copy moves bytes between any two descriptors: files, sockets, pipes, terminals. It splices
 * through a pipe of the shard's where it can, and reads and writes where not.
 */
#ifndef TORC_PIPE_H
#define TORC_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <torc/api.h>
TORC_BEGIN_C

/*
 * A pipe, close-on-exec: [0] is read, [1] is written, both are the caller's. `size` is how many
 * bytes it holds, rounded up to a power of two pages; 0 = the system's default, mostly 64 KiB.
 *
 * -EPERM      larger than /proc/sys/fs/pipe-max-size.
 * -EINVAL     larger than 2 GiB.
 */
TORC_CHECK int torc_pipe(int ret_fds[2], size_t size);

/* How many bytes a pipe holds. -EBADF if it is none. */
TORC_CHECK int torc_pipe_size(int fd);

/*
 * Change that to at least `size`. Returns what it is now. As torc_pipe(), and
 * -EBUSY      there is more in it.
 */
TORC_CHECK int torc_pipe_set_size(int fd, size_t size);

/*
 * Move up to `length` bytes from `in` to `out`, one of which is a pipe. Suspends. An offset of -1
 * means the file's own position, and is the only one for what has none. `flags` are those of
 * splice(2); SPLICE_F_NONBLOCK gives -EAGAIN instead of waiting for a pipe, or, since Linux 6.5,
 * for a socket's room. Returns the count, which may be short, 0 at the end of `in`.
 *
 * -EINVAL     neither is a pipe, `out` was opened with O_APPEND, one of them cannot be spliced, or
 *             Linux is older than 5.7. Read and write, then.
 */
TORC_CHECK ssize_t torc_splice(int in, int64_t in_offset, int out, int64_t out_offset,
                               size_t length, unsigned flags);

/*
 * Copy up to `length` bytes that are in the pipe `in` to the pipe `out`, where they stay readable
 * as well. Suspends. Otherwise as torc_splice(). Linux 5.8.
 */
TORC_CHECK ssize_t torc_tee(int in, int out, size_t length, unsigned flags);

/* ---- Copying ---- */

/* A copy under way, in the caller's memory. Fields with an underscore are private. */
struct torc_copy {
    int in;
    int out;
    int64_t in_offset;  /* where the next bytes are in `in`; -1: at the file's own position */
    uint64_t taken;     /* bytes from `in`, so far; may be set to 0 */
    uint64_t delivered; /* and to `out`; the rest is held, for the next run */
    bool ended;         /* `in` has come to its end */
    uint8_t _way;
    uint16_t _buffer_start; /* what is held in _buffer goes before what is held in the pipe */
    uint16_t _buffer_end;
    uint32_t _piped;
    int _pipe[2];
    uint32_t _pipe_size;
    char _buffer[8192]; /* untouched where splicing is possible */
};

/* Prepare to copy from `in` to `out`, which stay the caller's. Costs no system call. */
TORC_API void torc_copy_init(struct torc_copy *copy, int in, int out);

/*
 * Copy `length` bytes, or all up to the end for UINT64_MAX. Suspends. Returns 0 when they have all
 * been delivered, or `in` has ended before (`ended`); or an error of either side.
 *
 * Nothing is lost if it fails or is cancelled: `taken` and `delivered` are exact, and what lies
 * between them is delivered first by the next run (of length 0, for no more than that), then to
 * another `out` perhaps, which may be changed between two runs. The end of `in` is not passed on:
 * shut `out` down, or close it.
 *
 * -EMFILE     no descriptors are free for a pipe.
 */
TORC_CHECK int torc_copy_run(struct torc_copy *copy, uint64_t length);

/* Give back what the copy uses. Bytes it still holds are gone. Any number of times. */
TORC_API void torc_copy_finish(struct torc_copy *copy);

/* What a copy has moved. */
struct torc_copied {
    uint64_t taken;
    uint64_t delivered;
};

/*
 * A copy in one call: init, run, finish. Suspends. `*ret_copied` (may be NULL) is set whatever is
 * returned; bytes taken and not delivered are lost, so where that matters use torc_copy.
 */
TORC_CHECK int torc_copy_fd(int in, int out, uint64_t length, struct torc_copied *ret_copied);

TORC_END_C
#endif
