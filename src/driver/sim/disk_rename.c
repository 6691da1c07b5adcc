/* SPDX-License-Identifier: MIT */
/*
 * disk_rename.c - names are moved and exchanged.
 */
#include "driver/sim/disk_names.h"
#include "driver/sim/disk_watch.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE  (1 << 1)
#endif

struct side {
    struct sim_walk walk;
    struct sim_inode *inode; /* NULL: no such name yet */
};

struct renaming {
    struct side from;
    struct side to;
    bool exchanges;
    bool may_replace;
};

static bool is_below(const struct sim_inode *directory, const struct sim_inode *top)
{
    while (directory != top && directory != directory->disk->root)
        directory = directory->directory->parent;
    return directory == top;
}

static int walk_side(struct side *side, struct sim_disk *disk, const struct sim_place *place)
{
    int result = torc__sim_walk_init(&side->walk, disk, place->dirfd, place->path, 0);

    return result < 0 ? result : torc__sim_walk_parent(&side->walk);
}

/* Whether there are two names, and the flags allow it. 0 or an error. */
static int look_up(struct renaming *renaming)
{
    struct side *from = &renaming->from;
    struct side *to = &renaming->to;
    int result;

    if (from->walk.last != SIM_LAST_NAME)
        return -EBUSY;
    if (to->walk.last != SIM_LAST_NAME)
        return renaming->may_replace ? -EBUSY : -EEXIST;
    if (from->walk.disk->is_read_only)
        return -EROFS;
    result = torc__sim_walk_last(&from->walk, &from->inode);
    if (result == 0 && from->inode == NULL)
        result = -ENOENT;
    if (result == 0)
        result = torc__sim_walk_last(&to->walk, &to->inode);
    if (result < 0)
        return result;
    if (to->inode != NULL && !renaming->may_replace)
        return -EEXIST;
    return to->inode == NULL && renaming->exchanges ? -ENOENT : 0;
}

/* Slashes are for directories; and none goes into itself. */
static int check_kinds(const struct renaming *renaming)
{
    const struct side *from = &renaming->from;
    const struct side *to = &renaming->to;

    if (renaming->exchanges && to->walk.has_slash && !torc__sim_is_directory(to->inode))
        return -ENOTDIR;
    if (!torc__sim_is_directory(from->inode) &&
        (from->walk.has_slash || (!renaming->exchanges && to->walk.has_slash)))
        return -ENOTDIR;
    if (torc__sim_is_directory(from->inode) && is_below(to->walk.at, from->inode))
        return -EINVAL;
    if (to->inode != NULL && torc__sim_is_directory(to->inode) &&
        is_below(from->walk.at, to->inode))
        return renaming->exchanges ? -EINVAL : -ENOTEMPTY;
    return 0;
}

/* A directory may be given another parent only by who may write to it. */
static int may_be_moved(const struct renaming *renaming, const struct sim_inode *inode)
{
    if (!torc__sim_is_directory(inode) || renaming->from.walk.at == renaming->to.walk.at)
        return 0;
    return torc__sim_inode_permits(inode, W_OK);
}

static int check_rights(const struct renaming *renaming)
{
    const struct side *from = &renaming->from;
    const struct side *to = &renaming->to;
    const bool is_directory = torc__sim_is_directory(from->inode);
    int result = torc__sim_may_delete(from->walk.at, from->inode);

    if (result == 0 && to->inode == NULL && to->walk.at->links == 0)
        result = -ENOENT;
    if (result == 0)
        result = to->inode != NULL ? torc__sim_may_delete(to->walk.at, to->inode)
                                   : torc__sim_inode_permits(to->walk.at, W_OK | X_OK);
    if (result == 0 && to->inode != NULL && !renaming->exchanges &&
        is_directory != torc__sim_is_directory(to->inode))
        result = is_directory ? -ENOTDIR : -EISDIR;
    if (result == 0)
        result = may_be_moved(renaming, from->inode);
    if (result == 0 && renaming->exchanges)
        result = may_be_moved(renaming, to->inode);
    if (result == 0 && to->inode != NULL && !renaming->exchanges && is_directory &&
        to->inode->directory->live_count > 0)
        result = -ENOTEMPTY;
    return result;
}

/* One name has come from another. */
static void tell_move(struct sim_inode *inode, const struct sim_change *from,
                      const struct sim_change *to, struct sim_inode *replaced)
{
    const uint32_t cookie = ++inode->disk->next_cookie;

    torc__sim_tell_name(from->directory, from->entry, inode, IN_MOVED_FROM, cookie);
    torc__sim_tell_name(to->directory, to->entry, inode, IN_MOVED_TO, cookie);
    if (replaced != NULL)
        torc__sim_tell_self(replaced, IN_ATTRIB);
    torc__sim_tell_self(inode, IN_MOVE_SELF);
}

static void move(struct renaming *renaming)
{
    struct sim_walk *from = &renaming->from.walk;
    struct sim_walk *to = &renaming->to.walk;
    struct sim_inode *inode = renaming->from.inode;
    struct sim_inode *other = renaming->to.inode;
    struct sim_entry *old = torc__sim_entry_find(from->at, from->name, from->length);
    struct sim_entry *new = torc__sim_entry_add(to->at, to->name, to->length);
    const struct sim_change changes[2] = {{from->at, old, renaming->exchanges ? other : NULL},
                                          {to->at, new, inode}};

    inode->users++;
    if (other != NULL)
        other->users++;
    torc__sim_journal_add(from->disk, changes, 2);
    torc__sim_entry_set(to->at, new, inode);
    torc__sim_entry_set(from->at, old, renaming->exchanges ? other : NULL);
    torc__sim_inode_modified(from->at);
    torc__sim_inode_modified(to->at);
    torc__sim_inode_changed(inode);
    tell_move(inode, &changes[0], &changes[1], renaming->exchanges ? NULL : other);
    if (renaming->exchanges)
        tell_move(other, &changes[1], &changes[0], NULL);
    torc__sim_inode_release(inode);
    if (other == NULL)
        return;
    other->users--;
    if (renaming->exchanges) {
        torc__sim_inode_changed(other);
    } else {
        torc__sim_inode_unlinked(other);
    }
}

int torc__sim_renameat(struct sim_disk *disk, const struct sim_place *from,
                       const struct sim_place *to, unsigned flags)
{
    struct renaming renaming = {.exchanges = flags & RENAME_EXCHANGE,
                                .may_replace = !(flags & RENAME_NOREPLACE)};
    int result;

    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) ||
        (renaming.exchanges && !renaming.may_replace))
        return -EINVAL;
    result = walk_side(&renaming.from, disk, from);
    if (result == 0)
        result = walk_side(&renaming.to, disk, to);
    if (result == 0)
        result = look_up(&renaming);
    if (result == 0)
        result = check_kinds(&renaming);
    if (result < 0 || renaming.from.inode == renaming.to.inode)
        return result;
    result = check_rights(&renaming);
    if (result < 0)
        return result;
    if (torc__sim_disk_fault(disk, "disk: no room for a name", disk->world->chaos.disk_full_rate))
        return -ENOSPC;
    move(&renaming);
    return 0;
}
