/* SPDX-License-Identifier: MIT */
/*
 * transfer.h - move everything, by as many short transfers as it takes.
 */
#ifndef IO_TRANSFER_H
#define IO_TRANSFER_H

#include "io/await.h"
#include <sys/types.h>
#include <sys/uio.h>

/* One transfer: the count, 0 at the end, or a negative errno. */
typedef ssize_t torc__move_fn(int fd, void *buffer, size_t length);
typedef ssize_t torc__move_vector_fn(int fd, const struct iovec *vector, int count);

/* 0 once `length` bytes have moved; -ENODATA at the end; or an error. *ret_done (may be NULL) is
 * set in all cases. */
int torc__move_all(torc__move_fn *move, int fd, void *buffer, size_t length, size_t *ret_done);

/* The same for a vector, which is not changed. */
int torc__move_vector(torc__move_vector_fn *move, int fd, const struct iovec *vector, int count,
                      size_t *ret_done);

/*
 * Where a transfer of `length` bytes at the position of `fd` is to be made: -1 for there, or at
 * this offset, and then torc__moved_direct() is to follow. See driver/position.h.
 */
off_t torc__direct_position(int fd, size_t length);

/* The same, of a vector. */
off_t torc__direct_position_of(int fd, const struct iovec *vector, int count);

/* Such a transfer has come to this result. */
void torc__moved_direct(int fd, off_t position, ssize_t result);

/* A write of `length` bytes at the position of `fd` has come to this result. */
void torc__wrote(int fd, ssize_t result, size_t length);

/* The same, of a vector. */
void torc__wrote_vector(int fd, ssize_t result, const struct iovec *vector, int count);

#endif
