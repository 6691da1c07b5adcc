/* SPDX-License-Identifier: MIT */
/*
 * torc/dir.h - what is in a directory, and in the tree below it.
 *
 * Iterators in the caller's memory, of 4 KiB and 12 KiB, both of which fit on a fiber's stack:
 *
 *     struct torc_dir dir;
 *     struct torc_dir_entry entry;
 *
 *     result = torc_dir_open(&dir, AT_FDCWD, "/etc");
 *     if (result < 0)
 *         return result;
 *     while ((result = torc_dir_next(&dir, &entry)) > 0)
 *         puts(entry.name);
 *     torc_dir_close(&dir);
 *
 * What is made or removed meanwhile is told or not, as with readdir(3). What torc/file.h says of
 * paths and threads holds here.
 */
#ifndef TORC_DIR_H
#define TORC_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

#define TORC_DIR_BUFFER 4096

/* All fields are private. */
struct torc_dir {
    int _fd;
    uint32_t _at;
    uint32_t _filled;
    uint64_t _buffer[TORC_DIR_BUFFER / 8];
};

struct torc_dir_entry {
    const char *name; /* valid up to the next call with the same iterator */
    uint64_t inode;
    uint8_t type; /* DT_DIR, DT_REG, DT_LNK ... (<dirent.h>); DT_UNKNOWN on some file systems */
};

/* Open a directory to be read. Suspends. On success torc_dir_close() has to follow. */
TORC_CHECK int torc_dir_open(struct torc_dir *dir, int dirfd, const char *path);

/*
 * The next entry; "." and ".." are left out. Suspends once per buffer. Returns 1, 0 at the end, or
 * an error.
 */
TORC_CHECK int torc_dir_next(struct torc_dir *dir, struct torc_dir_entry *ret_entry);

/* The descriptor of the directory, to be used as `dirfd`; the iterator's. */
TORC_API int torc_dir_fd(const struct torc_dir *dir);

/* End. Suspends; not cancellable. */
TORC_API void torc_dir_close(struct torc_dir *dir);

/* ---- Trees ---- */

/* How many directories below each other a walk enters at most, each of which is kept open. */
#define TORC_WALK_DEPTH_MAX 256

#define TORC_WALK_PATH_MAX 4096

struct torc_walk_level {
    int64_t _resume; /* where in the directory to go on ... */
    int _fd;
    bool _moved; /* ... if the buffer is another's by now */
};

/* All fields are private. */
struct torc_walk {
    struct torc_dir _dir; /* of the innermost level, whose descriptor it has */
    struct torc_walk_level _levels[TORC_WALK_DEPTH_MAX];
    unsigned _depth;
    unsigned _depth_max;
    uint32_t _path_length;
    uint8_t _state;
    bool _has_limit; /* the caller's, so that what is deeper is no failure */
    char _path[TORC_WALK_PATH_MAX];
};

/* What a walk has come to. */
enum torc_walk_visit {
    TORC_WALK_ENTRY,  /* anything but a directory */
    TORC_WALK_ENTER,  /* a directory, before what is in it */
    TORC_WALK_LEAVE,  /* a directory, after what is in it */
    TORC_WALK_FAILED, /* a directory that could not be read, or not to its end: see `error` */
};

struct torc_walk_entry {
    enum torc_walk_visit visit;
    int error;        /* of FAILED: -EACCES, -EMFILE, -ELOOP (too deep), -ENAMETOOLONG ... */
    const char *path; /* from where the walk began; valid, as `name`, up to the next call */
    const char *name; /* the last part of the path */
    int dirfd;        /* the directory that has `name` */
    unsigned depth;   /* 1: an entry of the directory that the walk began with */
    uint8_t type;     /* DT_ (<dirent.h>); DT_UNKNOWN only if it cannot be found out */
};

/*
 * Begin to walk the tree below a directory. Suspends. Symbolic links in it are entries, never
 * followed. Directories at a depth of `depth_max` are not gone into; 0 means all are, and those at
 * TORC_WALK_DEPTH_MAX fail. On success torc_walk_close() has to follow.
 *
 * -EINVAL     depth_max is more than TORC_WALK_DEPTH_MAX.
 */
TORC_CHECK int torc_walk_open(struct torc_walk *walk, int dirfd, const char *path,
                              unsigned depth_max);

/*
 * The next entry. Suspends. Returns 1; 0 when all has been visited; or an error: the scope's
 * reason, after which the walk can go on, or that of the directory it began with. Each directory
 * that is entered is left, or fails, after all below it; so a tree can be removed on the way.
 */
TORC_CHECK int torc_walk_next(struct torc_walk *walk, struct torc_walk_entry *ret_entry);

/* After an ENTER: do not go into that directory; the next visit leaves it. */
TORC_API void torc_walk_skip(struct torc_walk *walk);

/* End. Suspends; not cancellable. */
TORC_API void torc_walk_close(struct torc_walk *walk);

/*
 * Remove whatever `path` names, with all that is below it. Suspends. Symbolic links are removed and
 * not followed. Nothing there is no error.
 *
 * Others  the first thing that could not be removed; the rest is.
 */
TORC_CHECK int torc_remove_all(int dirfd, const char *path);

TORC_END_C
#endif
