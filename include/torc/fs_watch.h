/* SPDX-License-Identifier: MIT */
/*
 * torc/fs_watch.h - what changes in a tree of directories: inotify(7), for all below one.
 *
 * Directories that are made in the tree, or moved into it, are followed: what is found in them is
 * told as created. Between that and the kernel's own telling an entry may be told twice, but none
 * is left out. Directories that get another name in the tree stay followed, under that name; of
 * those that are exchanged (RENAME_EXCHANGE) or moved again and again while events are not taken,
 * something that happens inside meanwhile may be missed.
 *
 * When more happens than the kernel keeps, an event IN_Q_OVERFLOW says so: then the tree has to be
 * looked at anew; all directories are followed by that time.
 *
 * Symbolic links are not followed. For one fiber at a time.
 */
#ifndef TORC_FS_WATCH_H
#define TORC_FS_WATCH_H

#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

struct torc_fs_watch;

struct torc_fs_watch_event {
    uint32_t mask;    /* IN_CREATE, IN_ISDIR ... (<sys/inotify.h>) */
    uint32_t cookie;  /* the same for the IN_MOVED_FROM and the IN_MOVED_TO of one rename */
    const char *path; /* from the directory watched, which is ""; valid up to the next call */
};

/*
 * Begin to watch a directory and all below it for the events in `mask`. Suspends. Allocates, about
 * 100 bytes for each directory besides 20 KiB. The watch is the caller's: torc_fs_watch_close().
 *
 * -ENOTDIR    it is none.
 * -ENOSPC     more directories than fs.inotify.max_user_watches allows.
 * -EMFILE     more watches than fs.inotify.max_user_instances allows, or no descriptor is free.
 * -EINVAL     `mask` has no events.
 */
TORC_CHECK int torc_fs_watch_open(const char *path, uint32_t mask,
                                  struct torc_fs_watch **ret_watch);

/*
 * Wait for the next event. Suspends. Returns 0 or an error; no event is lost by the scope's reason.
 *
 * -ENOSPC     a new directory is not followed, since there are too many; the others still are.
 * -ENOENT     the directory watched is gone, or has another path now, it or one above it: then a
 *             new watch is needed. That one above it was renamed shows when a directory is made.
 */
TORC_CHECK int torc_fs_watch_next(struct torc_fs_watch *watch,
                                  struct torc_fs_watch_event *ret_event);

/* End. Suspends; not cancellable. NULL is ignored. */
TORC_API void torc_fs_watch_close(struct torc_fs_watch *watch);

TORC_END_C
#endif
