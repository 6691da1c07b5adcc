/* SPDX-License-Identifier: MIT */
/*
 * dict.h - a hash table of byte strings that grows, and shrinks, little by little.
 *
 * While it changes its size there are two tables, and every call moves a bucket from the old one to
 * the new one: so no call takes long. The hash is SipHash with a key of the table's own, so nobody
 * can choose keys that collide.
 */
#ifndef KV_DICT_H
#define KV_DICT_H

#include "reply.h"

struct entry {
    struct entry *next;
    void *value;
    int64_t expires_ms; /* of the clock of the world; 0: never */
    uint32_t hash;
    uint32_t length;
    char key[];
};

struct dict_table {
    struct entry **buckets;
    size_t size; /* 0 or a power of two */
};

/* Zeroed but for the seed is empty, and ready. */
struct dict {
    struct dict_table tables[2]; /* the second is where entries go while the size changes */
    size_t moved;                /* so many buckets of the first are empty by now */
    size_t count;
    uint64_t seed[2];
};

/* What points to the entry with this key, until the next call; NULL if there is none. */
struct entry **dict_find(struct dict *dict, struct slice key);

/* Add a key that is not there. NULL without memory. */
struct entry *dict_add(struct dict *dict, struct slice key);

/* Take an entry out, by what dict_find() returned. It is the caller's, who frees it by free(). */
struct entry *dict_take(struct dict *dict, struct entry **link);

/* Move some buckets; begin to shrink if few are in use. */
void dict_tend(struct dict *dict);

/*
 * Look at the entries of up to `buckets` buckets from *cursor on, which is 0 again at the end. An
 * entry for which `drop` says true is taken out and given to `drop_entry`. Returns how many were.
 * While the size changes some may be missed, or met twice.
 */
size_t dict_sweep(struct dict *dict, size_t *cursor, size_t buckets,
                  bool (*drop)(const struct entry *entry, const void *arg), const void *arg,
                  void (*drop_entry)(struct entry *entry));

/* Free the tables of an empty dict. */
void dict_finish(struct dict *dict);

#endif
