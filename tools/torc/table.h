/* SPDX-License-Identifier: MIT */
/*
 * table.h - from a 64-bit key to a number; grows, and forgets nothing.
 */
#ifndef TORC_TOOL_TABLE_H
#define TORC_TOOL_TABLE_H

#include <stdint.h>

#define TABLE_NONE UINT32_MAX

struct table_entry {
    uint64_t key;
    uint32_t value; /* TABLE_NONE: the entry is free */
};

/* All zero is an empty table. */
struct table {
    struct table_entry *entries;
    uint32_t room; /* a power of two, or 0 */
    uint32_t count;
};

void table_finish(struct table *table);

/* The number of a key; TABLE_NONE if there is none. */
uint32_t table_find(const struct table *table, uint64_t key);

/* Give a key a number, also anew. Ends the program without memory. */
void table_set(struct table *table, uint64_t key, uint32_t value);

/* realloc() for `count` elements of `size`; ends the program without memory. */
void *table_grow(void *array, uint64_t count, uint64_t size);

#endif
