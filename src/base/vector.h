/* SPDX-License-Identifier: MIT */
/*
 * vector.h - pieces of memory that are moved together.
 */
#ifndef BASE_VECTOR_H
#define BASE_VECTOR_H

#include <stddef.h>
#include <sys/uio.h>

/* How many bytes the pieces of a vector have in all. */
static inline size_t torc__vector_size(const struct iovec *vector, size_t count)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++)
        size += vector[i].iov_len;
    return size;
}

#endif
