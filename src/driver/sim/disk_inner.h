/* SPDX-License-Identifier: MIT */
/*
 * disk_inner.h - what the parts of a simulated disk share.
 *
 * Everything exists twice. What is `live` is what programs see: the page cache, and the names as
 * they are now. What is `durable` is what the medium has, and what a crash leaves. In between there
 * is what a crash decides about by chance:
 *
 *     data         pages whose live and durable halves differ: by sectors, in any order
 *     attributes   size; and the rest, as one
 *     names        operations in the journal: in their order in each directory, or in any order
 *
 * An inode stays as long as it has links (live names), users (open files, directories below it) or
 * pins (durable names, and changes of names on their way there).
 */
#ifndef DRIVER_SIM_DISK_INNER_H
#define DRIVER_SIM_DISK_INNER_H

#include "driver/sim/disk.h"
#include "driver/sim/file.h"
#include <time.h>

#define SIM_PAGE            4096u
#define SIM_SECTOR          512u /* what is written whole or not at all */
#define SIM_NAME_SIZE       255u
#define SIM_LINK_DEPTH      40u    /* symbolic links on the way of one path */
#define SIM_LINKS_MAX       32000u /* hard links */
#define SIM_JOURNAL_SIZE    1024u  /* operations; then all of them are written */
#define SIM_FILE_MAX        INT64_MAX
#define SIM_WATCH_QUEUE_MAX 16384u /* events of inotify */

/* Memory of real life, cleared. Without it there is no simulation: this never fails. */
void *torc__sim_allocate(size_t size);
void *torc__sim_reallocate(void *memory, size_t size);
void torc__sim_free(void *memory);

/* ---- Data ---- */

/* A page; what it lacks is zero. `live` and `durable` are the same pointer if it is clean. */
struct sim_page {
    uint8_t *live;
    uint8_t *durable;
    bool is_dirty;    /* To be written; not so if that has failed: see torc__sim_data_sync(). */
    bool is_reserved; /* It has its room on the medium though it has no live data. */
};

/* Pages by number, sparse. */
struct sim_pages {
    void *root;
    unsigned height;
};

struct sim_page *torc__sim_pages_find(const struct sim_pages *pages, uint64_t number);
struct sim_page *torc__sim_pages_add(struct sim_pages *pages, uint64_t number);
/* The page is freed, which has no data any more. */
void torc__sim_pages_remove(struct sim_pages *pages, uint64_t number);
/* The first page from `*number` on, whose number that becomes; NULL if there is none. */
struct sim_page *torc__sim_pages_next(const struct sim_pages *pages, uint64_t *number);

/* ---- Inodes ---- */

struct sim_xattr {
    struct sim_xattr *next;
    char *name;
    uint8_t *value;
    size_t size;
};

/* What is synchronised as one. */
struct sim_attributes {
    mode_t mode;
    uid_t user;
    gid_t group;
    struct timespec accessed;
    struct timespec modified;
    struct timespec changed;
    struct sim_xattr *xattrs; /* the same list, live and durable, as long as it is the same */
};

struct sim_watch; /* of inotify: disk_watch.c */
struct sim_disk_file;
struct sim_watch_mark;

struct sim_inode {
    struct sim_disk *disk;
    struct sim_inode *next; /* of the disk, in the order in which they were made */
    struct sim_inode **link;
    uint64_t number;
    unsigned links; /* live names; of directories 2 and those below; 0: it is removed */
    unsigned users;
    unsigned pins;

    struct sim_attributes live;
    struct sim_attributes durable;
    uint64_t size;
    uint64_t durable_size;
    struct timespec born;

    struct sim_pages pages;
    uint64_t pages_used;  /* that count as room */
    uint64_t dirty_first; /* No page outside of [first, end) is dirty. */
    uint64_t dirty_end;
    uint64_t errors;    /* failures to write its data so far */
    bool error_is_seen; /* the last of them, by some fsync */
    bool is_linkable;   /* It may get a name although it has none: O_TMPFILE. */

    struct sim_directory *directory;       /* of a directory */
    char *target;                          /* of a symbolic link */
    dev_t device;                          /* of a device */
    const struct sim_generator *generator; /* a file whose content is made when it is opened */

    struct sim_disk_file *files; /* open */
    struct sim_watch_mark *marks;
    struct sim_inode *reached_next; /* while a crash is sorted out */
    bool is_reached;
};

/* A name in a directory: now, on the medium, or both. */
struct sim_entry {
    uint64_t hash;
    struct sim_inode *live;
    struct sim_inode *durable;
    unsigned changes; /* of it that are in the journal */
    uint8_t length;
    char name[];
};

struct sim_directory {
    struct sim_entry **entries; /* by hash, then by name */
    size_t count;
    size_t room;
    size_t live_count;
    /* Of which this is a user; the root's is itself, and no user. NULL: removed, and not in use. */
    struct sim_inode *parent;
};

/* A file whose content the simulator makes up, as those of /proc. */
struct sim_generator {
    /* Writes the content, at most `size` bytes; how many. */
    size_t (*make)(struct sim_host *host, char *to, size_t size);
};

/* A new inode without links, which has one user: the caller. */
struct sim_inode *torc__sim_inode_create(struct sim_disk *disk, mode_t mode);
void torc__sim_inode_destroy(struct sim_inode *inode);
/* After something has been taken from it: free it if nothing holds it any more. */
void torc__sim_inode_settle(struct sim_inode *inode);
/* Give back the caller's use. */
void torc__sim_inode_release(struct sim_inode *inode);
/* Whether the process may (R_OK, W_OK, X_OK). 0, -EACCES, or -EROFS. */
int torc__sim_inode_permits(const struct sim_inode *inode, int access);
bool torc__sim_inode_is_owned(const struct sim_inode *inode);
/* Its content, or its attributes (`changed` alone), are other ones from now on. */
void torc__sim_inode_modified(struct sim_inode *inode);
void torc__sim_inode_changed(struct sim_inode *inode);
/* The data of a file have changed: who watches is told, and it loses what writing takes away. */
void torc__sim_inode_written(struct sim_inode *inode);
void torc__sim_inode_accessed(struct sim_inode *inode);
struct timespec torc__sim_disk_now(const struct sim_disk *disk);
void torc__sim_xattrs_free(struct sim_xattr *first);
/* What is live becomes durable, names aside. Never fails. */
void torc__sim_inode_write_back(struct sim_inode *inode);
void torc__sim_inode_sync_attributes(struct sim_inode *inode);
void torc__sim_inode_stat(const struct sim_inode *inode, struct statx *ret_about);
/* What direct I/O demands; 0: that is not told. */
void torc__sim_stat_direct(struct statx *about, uint32_t alignment);

static inline bool torc__sim_is_directory(const struct sim_inode *inode)
{
    return S_ISDIR(inode->live.mode);
}

/* ---- Names ---- */

/* Where a path begins, and the path. */
struct sim_place {
    int dirfd; /* a simulated descriptor, or AT_FDCWD */
    const char *path;
};

/* NULL: it has never been there, or is forgotten. */
struct sim_entry *torc__sim_entry_find(const struct sim_inode *directory, const char *name,
                                       size_t length);
struct sim_entry *torc__sim_entry_add(struct sim_inode *directory, const char *name, size_t length);
/* Free it if nothing holds it. */
void torc__sim_entry_settle(struct sim_inode *directory, struct sim_entry *entry);
/* Change what programs see; counts links. */
void torc__sim_entry_set(struct sim_inode *directory, struct sim_entry *entry,
                         struct sim_inode *inode);
void torc__sim_directory_set_parent(struct sim_inode *directory, struct sim_inode *parent);
/* The first live entry whose hash is at least that; NULL at the end. */
struct sim_entry *torc__sim_entry_from(const struct sim_inode *directory, uint64_t hash);

struct sim_change {
    struct sim_inode *directory;
    struct sim_entry *entry;
    struct sim_inode *target; /* NULL: the name is no more */
};

/* Changes that a crash keeps or loses together. */
struct sim_operation {
    struct sim_change changes[2];
    unsigned count;
    bool moves_directory;
    bool is_marked;
};

/*
 * The changes have been made, live; they are to become durable one day. That may be now: then an
 * entry is gone that stands for nothing any more.
 */
void torc__sim_journal_add(struct sim_disk *disk, const struct sim_change *changes, unsigned count);
/* Make durable what concerns a directory, or the names of a file; and all that was before. */
void torc__sim_journal_write_directory(struct sim_disk *disk, const struct sim_inode *directory);
void torc__sim_journal_write_names(struct sim_disk *disk, const struct sim_inode *inode);
void torc__sim_journal_write_all(struct sim_disk *disk);
/* Keep some, forget the others, by chance. Leaves it empty. */
void torc__sim_journal_crash(struct sim_disk *disk);

/* ---- The disk ---- */

struct sim_disk {
    struct sim_host *host;
    struct sim_world *world;
    struct sim_inode *inodes;
    struct sim_inode **inodes_last;
    struct sim_inode *root;
    struct sim_inode *working; /* directory; the disk is a user of it and of the root */
    uint64_t next_number;
    uint64_t inode_count;
    uint64_t name_key; /* by which names are hashed, and so the order in directories */
    uint64_t pages_used;
    uint64_t pages_max;
    uint64_t write_back_ns; /* when all is written at the latest; 0: there is nothing */
    bool is_read_only;
    bool is_quiet; /* While it makes itself, nothing fails. */
    uid_t user;    /* of the process */
    gid_t group;
    mode_t umask;
    uint64_t file_size_max; /* RLIMIT_FSIZE */
    uint32_t next_cookie;   /* of inotify */
    struct sim_watch *watches;
    unsigned journal_count;
    struct sim_operation journal[SIM_JOURNAL_SIZE];
};

/* There is something to be written back now. */
void torc__sim_disk_dirtied(struct sim_disk *disk);
/* Write back if it is high time. Every call begins with it. */
void torc__sim_disk_age(struct sim_disk *disk);
/* Whether a fault happens: see torc__sim_fault(). */
bool torc__sim_disk_fault(struct sim_disk *disk, const char *name, uint32_t per_million);

#endif
