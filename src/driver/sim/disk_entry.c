/* SPDX-License-Identifier: MIT */
/*
 * disk_entry.c - the names in a directory.
 *
 * They are ordered by a hash of the name that is different on each disk: so programs meet them in
 * an order of no meaning, as on most file systems, and a position in a directory is a hash, which
 * holds whatever comes and goes.
 */
#include "base/log.h"
#include "driver/sim/disk_inner.h"
#include <string.h>

#define ROOM_FIRST 8u
/* Positions are positive; those of "." and ".." come first. */
#define HASH_MASK  (UINT64_MAX >> 2)
#define HASH_FIRST 2u

static uint64_t hash_name(const struct sim_disk *disk, const char *name, size_t length)
{
    uint64_t hash = disk->name_key;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
    hash = (hash ^ (hash >> 32)) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ (hash >> 29)) & HASH_MASK;
    return hash < HASH_FIRST ? hash + HASH_FIRST : hash;
}

static int compare(const struct sim_entry *entry, uint64_t hash, const char *name, size_t length)
{
    if (entry->hash != hash)
        return entry->hash < hash ? -1 : 1;
    if (entry->length != length)
        return entry->length < length ? -1 : 1;
    return memcmp(entry->name, name, length);
}

/* The first place whose entry does not stand before that name. */
static size_t place_of(const struct sim_directory *directory, uint64_t hash, const char *name,
                       size_t length)
{
    size_t low = 0;
    size_t high = directory->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (compare(directory->entries[middle], hash, name, length) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct sim_entry *torc__sim_entry_find(const struct sim_inode *directory, const char *name,
                                       size_t length)
{
    const struct sim_directory *here = directory->directory;
    const uint64_t hash = hash_name(directory->disk, name, length);
    const size_t place = place_of(here, hash, name, length);

    if (place == here->count || compare(here->entries[place], hash, name, length) != 0)
        return NULL;
    return here->entries[place];
}

struct sim_entry *torc__sim_entry_from(const struct sim_inode *directory, uint64_t hash)
{
    const struct sim_directory *here = directory->directory;
    size_t place = place_of(here, hash, "", 0);

    while (place < here->count && here->entries[place]->live == NULL)
        place++;
    return place < here->count ? here->entries[place] : NULL;
}

struct sim_entry *torc__sim_entry_add(struct sim_inode *directory, const char *name, size_t length)
{
    struct sim_directory *here = directory->directory;
    struct sim_entry *entry = torc__sim_entry_find(directory, name, length);
    size_t place;

    if (entry != NULL)
        return entry;
    entry = torc__sim_allocate(sizeof(*entry) + length + 1);
    entry->hash = hash_name(directory->disk, name, length);
    entry->length = (uint8_t)length;
    memcpy(entry->name, name, length);
    if (here->count == here->room) {
        here->room = here->room > 0 ? 2 * here->room : ROOM_FIRST;
        here->entries =
            torc__sim_reallocate(here->entries, here->room * sizeof(struct sim_entry *));
    }
    place = place_of(here, entry->hash, name, length);
    memmove(here->entries + place + 1, here->entries + place,
            (here->count - place) * sizeof(struct sim_entry *));
    here->entries[place] = entry;
    here->count++;
    return entry;
}

void torc__sim_entry_settle(struct sim_inode *directory, struct sim_entry *entry)
{
    struct sim_directory *here = directory->directory;
    size_t place;

    if (entry->live != NULL || entry->durable != NULL || entry->changes > 0)
        return;
    place = place_of(here, entry->hash, entry->name, entry->length);
    here->count--;
    memmove(here->entries + place, here->entries + place + 1,
            (here->count - place) * sizeof(struct sim_entry *));
    torc__sim_free(entry);
}

void torc__sim_directory_set_parent(struct sim_inode *directory, struct sim_inode *parent)
{
    struct sim_inode *before = directory->directory->parent;

    if (before == parent)
        return;
    parent->users++;
    directory->directory->parent = parent;
    if (before != NULL)
        torc__sim_inode_release(before);
}

/* A name has gone (-1) or has come (1). */
static void count_link(struct sim_inode *directory, struct sim_inode *inode, int change)
{
    directory->directory->live_count += (size_t)change;
    inode->links += (unsigned)change;
    if (inode->directory == NULL)
        return;
    directory->links += (unsigned)change; /* By its "..". */
    inode->links += (unsigned)change;     /* By its ".". */
}

void torc__sim_entry_set(struct sim_inode *directory, struct sim_entry *entry,
                         struct sim_inode *inode)
{
    if (entry->live != NULL)
        count_link(directory, entry->live, -1);
    entry->live = inode;
    if (inode == NULL)
        return;
    count_link(directory, inode, 1);
    if (inode->directory != NULL)
        torc__sim_directory_set_parent(inode, directory);
}
