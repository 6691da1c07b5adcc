/* SPDX-License-Identifier: MIT */
/*
 * table.c - from a 64-bit key to a number: open addressing, at most half full.
 */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>

void *table_grow(void *array, uint64_t count, uint64_t size)
{
    void *grown = reallocarray(array, count > 0 ? count : 1, size);

    if (grown == NULL) {
        fputs("torc: there is no memory\n", stderr);
        exit(1);
    }
    return grown;
}

void table_finish(struct table *table)
{
    free(table->entries);
    *table = (struct table){0};
}

/* The entry of a key, or the free one where it would be. */
static struct table_entry *place(const struct table *table, uint64_t key)
{
    uint32_t i = (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (table->room - 1);

    while (table->entries[i].value != TABLE_NONE && table->entries[i].key != key)
        i = (i + 1) & (table->room - 1);
    return &table->entries[i];
}

uint32_t table_find(const struct table *table, uint64_t key)
{
    return table->room == 0 ? TABLE_NONE : place(table, key)->value;
}

static void enlarge(struct table *table)
{
    const struct table old = *table;

    table->room = old.room > 0 ? old.room * 2 : 64;
    table->entries = table_grow(NULL, table->room, sizeof(table->entries[0]));
    for (uint32_t i = 0; i < table->room; i++)
        table->entries[i].value = TABLE_NONE;
    for (uint32_t i = 0; i < old.room; i++) {
        if (old.entries[i].value != TABLE_NONE)
            *place(table, old.entries[i].key) = old.entries[i];
    }
    free(old.entries);
}

void table_set(struct table *table, uint64_t key, uint32_t value)
{
    struct table_entry *entry;

    if (table->count * 2 >= table->room)
        enlarge(table);
    entry = place(table, key);
    table->count += entry->value == TABLE_NONE;
    *entry = (struct table_entry){key, value};
}
