/* SPDX-License-Identifier: MIT */
/*
 * dict.c - a hash table of byte strings that grows, and shrinks, little by little.
 */
#include "dict.h"
#include <stdlib.h>
#include <string.h>

#define SIZE_LEAST ((size_t)16)
#define STEP_EMPTY 16u /* of so many empty buckets a step does not take notice */

/* ---- SipHash-1-3 ---- */

static inline uint64_t rotate(uint64_t value, unsigned by)
{
    return value << by | value >> (64 - by);
}

static inline __attribute__((always_inline)) void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline __attribute__((always_inline)) void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

static uint32_t hash_of(const struct dict *dict, struct slice key)
{
    uint64_t v[4] = {
        dict->seed[0] ^ UINT64_C(0x736f6d6570736575),
        dict->seed[1] ^ UINT64_C(0x646f72616e646f6d),
        dict->seed[0] ^ UINT64_C(0x6c7967656e657261),
        dict->seed[1] ^ UINT64_C(0x7465646279746573),
    };
    uint64_t last = (uint64_t)key.length << 56;
    uint64_t word;
    size_t at = 0;

    for (; at + 8 <= key.length; at += 8) {
        memcpy(&word, key.at + at, 8);
        sip_word(v, word);
    }
    for (unsigned shift = 0; at < key.length; at++, shift += 8)
        last |= (uint64_t)(unsigned char)key.at[at] << shift;
    sip_word(v, last);
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    word = v[0] ^ v[1] ^ v[2] ^ v[3];
    return (uint32_t)(word ^ word >> 32);
}

/* ---- Changing the size ---- */

static bool is_moving(const struct dict *dict)
{
    return dict->tables[1].size > 0;
}

static struct entry **bucket_of(const struct dict_table *table, uint32_t hash)
{
    return &table->buckets[hash & (table->size - 1)];
}

/* Without memory for it everything stays as it is, and only gets slower. */
static void resize(struct dict *dict, size_t size)
{
    struct entry **buckets = calloc(size, sizeof(struct entry *));

    if (buckets == NULL)
        return;
    dict->tables[dict->tables[0].size > 0 ? 1 : 0] = (struct dict_table){buckets, size};
    dict->moved = 0;
}

static void move_bucket(struct dict *dict, struct entry **bucket)
{
    struct entry *entry = *bucket;

    *bucket = NULL;
    while (entry != NULL) {
        struct entry *next = entry->next;
        struct entry **to = bucket_of(&dict->tables[1], entry->hash);

        entry->next = *to;
        *to = entry;
        entry = next;
    }
}

/* Move the next bucket that is not empty, unless many in a row are. */
static void step(struct dict *dict)
{
    struct dict_table *old = &dict->tables[0];

    for (unsigned i = 0; i < STEP_EMPTY && dict->moved < old->size; i++) {
        struct entry **bucket = &old->buckets[dict->moved++];

        if (*bucket != NULL) {
            move_bucket(dict, bucket);
            break;
        }
    }
    if (dict->moved < old->size)
        return;
    free(old->buckets);
    dict->tables[0] = dict->tables[1];
    dict->tables[1] = (struct dict_table){0};
}

void dict_tend(struct dict *dict)
{
    if (is_moving(dict)) {
        step(dict);
    } else if (dict->tables[0].size > SIZE_LEAST && dict->count < dict->tables[0].size / 8) {
        resize(dict, dict->tables[0].size / 4);
    }
}

/* ---- Entries ---- */

static struct entry **find_in(const struct dict_table *table, struct slice key, uint32_t hash)
{
    struct entry **link = bucket_of(table, hash);

    for (; *link != NULL; link = &(*link)->next) {
        const struct entry *entry = *link;

        if (entry->hash == hash && entry->length == key.length &&
            memcmp(entry->key, key.at, key.length) == 0)
            return link;
    }
    return NULL;
}

struct entry **dict_find(struct dict *dict, struct slice key)
{
    struct entry **link;
    uint32_t hash;

    if (dict->count == 0)
        return NULL;
    hash = hash_of(dict, key);
    if (is_moving(dict))
        step(dict);
    link = find_in(&dict->tables[0], key, hash);
    return link == NULL && is_moving(dict) ? find_in(&dict->tables[1], key, hash) : link;
}

struct entry *dict_add(struct dict *dict, struct slice key)
{
    struct entry *entry;
    struct entry **bucket;

    if (!is_moving(dict) && 2 * dict->count >= dict->tables[0].size)
        resize(dict, dict->tables[0].size > 0 ? 2 * dict->tables[0].size : SIZE_LEAST);
    if (dict->tables[0].size == 0)
        return NULL;
    entry = malloc(sizeof(*entry) + key.length);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.hash = hash_of(dict, key), .length = (uint32_t)key.length};
    memcpy(entry->key, key.at, key.length);
    bucket = bucket_of(&dict->tables[is_moving(dict) ? 1 : 0], entry->hash);
    entry->next = *bucket;
    *bucket = entry;
    dict->count++;
    return entry;
}

struct entry *dict_take(struct dict *dict, struct entry **link)
{
    struct entry *entry = *link;

    *link = entry->next;
    dict->count--;
    return entry;
}

size_t dict_sweep(struct dict *dict, size_t *cursor, size_t buckets,
                  bool (*drop)(const struct entry *entry, const void *arg), const void *arg,
                  void (*drop_entry)(struct entry *entry))
{
    size_t dropped = 0;

    for (; buckets > 0; buckets--) {
        const size_t first = dict->tables[0].size;
        struct entry **link;

        if (*cursor >= first + dict->tables[1].size) {
            *cursor = 0;
            break;
        }
        link = *cursor < first ? &dict->tables[0].buckets[*cursor]
                               : &dict->tables[1].buckets[*cursor - first];
        ++*cursor;
        while (*link != NULL) {
            if (!drop(*link, arg)) {
                link = &(*link)->next;
                continue;
            }
            drop_entry(dict_take(dict, link));
            dropped++;
        }
    }
    return dropped;
}

void dict_finish(struct dict *dict)
{
    free(dict->tables[0].buckets);
    free(dict->tables[1].buckets);
    memset(dict->tables, 0, sizeof(dict->tables));
}
