/* SPDX-License-Identifier: MIT */
/*
 * shared_memory.h - memory that another process may map, too.
 */
#ifndef BASE_SHARED_MEMORY_H
#define BASE_SHARED_MEMORY_H

#include <stddef.h>

/*
 * Map `size` bytes, all 0, of a memfd that is called `name`; it is its owner's alone, nobody can
 * change its size, and children made by fork() do not have it mapped. *ret_fd is -1 where there can
 * be no memfd: then it is memory like any other. NULL without memory.
 */
void *torc__shared_create(const char *name, size_t size, int *ret_fd);

void torc__shared_destroy(void *memory, size_t size, int fd);

#endif
