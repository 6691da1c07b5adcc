/* SPDX-License-Identifier: MIT */
/*
 * table.c - a hash table that grows by one bucket at a time, so that no call takes long.
 *
 * That is linear hashing: the buckets from size on do not exist yet, and what would be there is in
 * those that have the number without its highest bit. To grow is to split one of these.
 */
#include "kv.h"
#include <stdlib.h>
#include <string.h>

#define SIZE_LEAST 16u

static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Nobody who does not know the seed can choose keys that collide. */
static uint32_t hash_of(const struct table *table, struct slice key)
{
    uint64_t hash = table->seed[0] ^ key.length;
    uint64_t word;

    for (; key.length > 8; key.at += 8, key.length -= 8) {
        memcpy(&word, key.at, 8);
        hash = mix(hash ^ word, table->seed[1]);
    }
    word = 0;
    memcpy(&word, key.at, key.length);
    hash = mix(mix(hash ^ word, table->seed[1]), table->seed[0]);
    return (uint32_t)(hash ^ hash >> 32);
}

static struct entry **bucket_of(const struct table *table, uint32_t hash)
{
    const size_t index = hash & table->mask;

    return &table->buckets[index < table->size ? index : hash & table->mask >> 1];
}

struct entry *table_find(const struct table *table, struct slice key)
{
    struct entry *entry;
    uint32_t hash;

    if (table->count == 0)
        return NULL;
    hash = hash_of(table, key);
    for (entry = *bucket_of(table, hash); entry != NULL; entry = entry->next) {
        if (entry->hash == hash && entry->length == key.length &&
            memcmp(entry->key, key.at, key.length) == 0)
            break;
    }
    return entry;
}

/* Have room for twice as many buckets: the kernel moves large arrays without copying them. */
static bool extend(struct table *table)
{
    const size_t room = table->size > 0 ? 2 * table->size : SIZE_LEAST;
    struct entry **larger = realloc(table->buckets, room * sizeof(struct entry *));

    if (larger == NULL)
        return table->size > 0; /* Then it only gets slower. */
    if (table->size == 0)
        memset(larger, 0, (table->size = SIZE_LEAST) * sizeof(struct entry *));
    table->buckets = larger;
    table->mask = room - 1;
    return true;
}

/* Split the next bucket in two. */
static void grow(struct table *table)
{
    struct entry **link = &table->buckets[table->size & table->mask >> 1];
    struct entry **added = &table->buckets[table->size++];
    struct entry *entry;

    *added = NULL;
    while ((entry = *link) != NULL) {
        if (bucket_of(table, entry->hash) != added) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        entry->next = *added;
        *added = entry;
    }
}

struct entry *table_add(struct table *table, struct slice key)
{
    struct entry *entry = malloc(sizeof(*entry) + key.length);
    struct entry **bucket;

    if (entry == NULL)
        return NULL;
    if (table->count >= table->size && (table->size & table->mask) == 0 && !extend(table)) {
        free(entry);
        return NULL;
    }
    if (table->count >= table->size && table->size <= table->mask)
        grow(table);
    *entry = (struct entry){.hash = hash_of(table, key), .length = (uint32_t)key.length};
    memcpy(entry->key, key.at, key.length);
    bucket = bucket_of(table, entry->hash);
    entry->next = *bucket;
    *bucket = entry;
    table->count++;
    return entry;
}

void table_take(struct table *table, struct entry *entry)
{
    struct entry **link = bucket_of(table, entry->hash);

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    table->count--;
    free(entry->value);
    free(entry);
}

void table_clear(struct table *table)
{
    for (size_t i = 0; i < table->size; i++) {
        while (table->buckets[i] != NULL)
            table_take(table, table->buckets[i]);
    }
    free(table->buckets);
    *table = (struct table){.seed = {table->seed[0], table->seed[1]}};
}
