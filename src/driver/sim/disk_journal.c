/* SPDX-License-Identifier: MIT */
/*
 * disk_journal.c - changes of names on their way to the medium.
 *
 * The journal holds what happened, in order. An operation becomes durable together with those
 * before it that it depends on: all those in the same directories; or, where the file system may
 * write in any order, those of the same names. Moves of directories are in order in any case: a
 * directory would be in two places else, or below itself.
 */
#include "base/log.h"
#include "driver/sim/disk_inner.h"
#include <string.h>

/* ---- What depends on what ---- */

static bool is_in(const struct sim_operation *operation, const struct sim_inode *directory)
{
    return operation->changes[0].directory == directory ||
           (operation->count > 1 && operation->changes[1].directory == directory);
}

static bool is_about(const struct sim_operation *operation, const struct sim_entry *entry)
{
    return operation->changes[0].entry == entry ||
           (operation->count > 1 && operation->changes[1].entry == entry);
}

static bool names(const struct sim_operation *operation, const struct sim_inode *inode)
{
    return operation->changes[0].target == inode ||
           (operation->count > 1 && operation->changes[1].target == inode);
}

static bool depends(const struct sim_disk *disk, const struct sim_operation *later,
                    const struct sim_operation *earlier)
{
    const bool in_any_order = disk->world->chaos.disk_any_order != 0;

    if (later->moves_directory && earlier->moves_directory)
        return true;
    for (unsigned i = 0; i < later->count; i++) {
        const struct sim_change *change = &later->changes[i];

        if (in_any_order ? is_about(earlier, change->entry) : is_in(earlier, change->directory))
            return true;
    }
    return false;
}

/* ---- Adding ---- */

static bool is_move(const struct sim_change *changes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (count > 1 && changes[i].target != NULL && changes[i].target->directory != NULL)
            return true;
    }
    return false;
}

void torc__sim_journal_add(struct sim_disk *disk, const struct sim_change *changes, unsigned count)
{
    struct sim_operation *operation = &disk->journal[disk->journal_count++];

    *operation = (struct sim_operation){.count = count, .moves_directory = is_move(changes, count)};
    memcpy(operation->changes, changes, count * sizeof(*changes));
    for (unsigned i = 0; i < count; i++) {
        changes[i].entry->changes++;
        changes[i].directory->pins++;
        if (changes[i].target != NULL)
            changes[i].target->pins++;
    }
    torc__sim_disk_dirtied(disk);
    if (disk->journal_count == SIM_JOURNAL_SIZE)
        torc__sim_journal_write_all(disk);
}

/* ---- Writing ---- */

static void unpin(struct sim_inode *inode)
{
    if (inode == NULL)
        return;
    inode->pins--;
    torc__sim_inode_settle(inode);
}

/* The change is no longer on its way: it is on the medium, or `is_lost`. */
static void finish(const struct sim_change *change, bool is_lost)
{
    struct sim_entry *entry = change->entry;
    struct sim_inode *gone = change->target;

    if (!is_lost) { /* The pin of the target becomes that of the name. */
        gone = entry->durable;
        entry->durable = change->target;
    }
    entry->changes--;
    torc__sim_entry_settle(change->directory, entry);
    unpin(gone);
    unpin(change->directory);
}

/* Write those that are marked, and take them out. */
static void write_marked(struct sim_disk *disk)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < disk->journal_count; i++) {
        const struct sim_operation *operation = &disk->journal[i];

        if (!operation->is_marked) {
            disk->journal[kept++] = *operation;
            continue;
        }
        for (unsigned j = 0; j < operation->count; j++)
            finish(&operation->changes[j], false);
    }
    disk->journal_count = kept;
}

/* Mark whatever those that are marked depend on. */
static void mark_dependencies(struct sim_disk *disk)
{
    for (unsigned i = disk->journal_count; i-- > 1;) {
        if (!disk->journal[i].is_marked)
            continue;
        for (unsigned j = 0; j < i; j++) {
            struct sim_operation *earlier = &disk->journal[j];

            earlier->is_marked |= depends(disk, &disk->journal[i], earlier);
        }
    }
}

void torc__sim_journal_write_directory(struct sim_disk *disk, const struct sim_inode *directory)
{
    for (unsigned i = 0; i < disk->journal_count; i++)
        disk->journal[i].is_marked = is_in(&disk->journal[i], directory);
    mark_dependencies(disk);
    write_marked(disk);
}

void torc__sim_journal_write_names(struct sim_disk *disk, const struct sim_inode *inode)
{
    for (unsigned i = 0; i < disk->journal_count; i++)
        disk->journal[i].is_marked = names(&disk->journal[i], inode);
    mark_dependencies(disk);
    write_marked(disk);
}

void torc__sim_journal_write_all(struct sim_disk *disk)
{
    for (unsigned i = 0; i < disk->journal_count; i++)
        disk->journal[i].is_marked = true;
    write_marked(disk);
}

/* ---- Losing the power ---- */

void torc__sim_journal_crash(struct sim_disk *disk)
{
    struct sim_world *world = disk->world;

    for (unsigned i = 0; i < disk->journal_count; i++) {
        struct sim_operation *operation = &disk->journal[i];

        operation->is_marked = !torc__sim_chance(world, world->chaos.crash_lose_rate);
        for (unsigned j = 0; j < i && operation->is_marked; j++) {
            if (!disk->journal[j].is_marked && depends(disk, operation, &disk->journal[j]))
                operation->is_marked = false;
        }
    }
    write_marked(disk);
    for (unsigned i = 0; i < disk->journal_count; i++) {
        const struct sim_operation *operation = &disk->journal[i];

        for (unsigned j = 0; j < operation->count; j++)
            finish(&operation->changes[j], true);
    }
    disk->journal_count = 0;
}
