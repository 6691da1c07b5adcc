/* SPDX-License-Identifier: MIT */
/*
 * dir.c - what is in a directory, and in the tree below it.
 *
 * A walk has one descriptor per level and one buffer. Going down gives the buffer to the new
 * level; coming back, the old one goes on behind the entry that it had reached (`_resume`), for
 * which every file system has a number. So memory does not grow with the depth.
 */
#include "base/compiler.h"
#include "base/kernel_abi.h"
#include "io/await.h"
#include "io/blocking.h"
#include "io/temporary.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <torc/dir.h>
#include <torc/file.h>
#include <torc/fs.h>
#include <torc/io.h>
#include <unistd.h>

static void dir_init(struct torc_dir *dir, int fd)
{
    dir->_fd = fd;
    dir->_at = 0;
    dir->_filled = 0;
}

static int open_directory(int dirfd, const char *path, int flags)
{
    return torc_openat(dirfd, path, O_RDONLY | O_DIRECTORY | flags, 0);
}

/* 1, 0 at the end, which is also that of a directory removed meanwhile; or an error. */
static int refill(struct torc_dir *dir)
{
    int result = (int)torc__file_call(
        SYS_getdents64,
        (uintptr_t[6]){(uintptr_t)dir->_fd, (uintptr_t)dir->_buffer, sizeof(dir->_buffer)});

    if (result <= 0)
        return result == -ENOENT ? 0 : result;
    dir->_at = 0;
    dir->_filled = (uint32_t)result;
    return 1;
}

static bool is_self_or_parent(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static int next_raw(struct torc_dir *dir, const struct kernel_dirent **ret_entry)
{
    const struct kernel_dirent *entry;

    do {
        if (dir->_at == dir->_filled) {
            int result = refill(dir);

            if (result <= 0)
                return result;
        }
        entry = (const struct kernel_dirent *)(const void *)((const char *)dir->_buffer + dir->_at);
        dir->_at += entry->size;
    } while (is_self_or_parent(entry->name));
    *ret_entry = entry;
    return 1;
}

int torc_dir_open(struct torc_dir *dir, int dirfd, const char *path)
{
    int fd = open_directory(dirfd, path, 0);

    if (fd < 0)
        return fd;
    dir_init(dir, fd);
    return 0;
}

int torc_dir_next(struct torc_dir *dir, struct torc_dir_entry *ret_entry)
{
    const struct kernel_dirent *raw;
    int result = next_raw(dir, &raw);

    if (result > 0) {
        *ret_entry =
            (struct torc_dir_entry){.name = raw->name, .inode = raw->inode, .type = raw->type};
    }
    return result;
}

int torc_dir_fd(const struct torc_dir *dir)
{
    return dir->_fd;
}

void torc_dir_close(struct torc_dir *dir)
{
    (void)torc_close(dir->_fd);
}

/* ---- Trees ---- */

/*
 * What the path of a walk ends with, beside the names of the directories it is in:
 *
 *     READING --takes an entry--> TOLD or, if that is a directory, ENTERED
 *     ENTERED --can be opened--> READING, a level deeper      --cannot--> TOLD (FAILED)
 *        +----torc_walk_skip()--> SKIPPED --> TOLD (LEAVE)
 *     READING --at the end--> TOLD (LEAVE), a level higher
 *     TOLD --> READING
 */
enum walk_state {
    WALK_READING, /* nothing */
    WALK_TOLD,    /* a name that has been told, and is done with */
    WALK_ENTERED, /* the name of a directory to go into */
    WALK_SKIPPED, /* the name of a directory not to go into */
};

static struct torc_walk_level *innermost(struct torc_walk *walk)
{
    return &walk->_levels[walk->_depth - 1];
}

static void push_level(struct torc_walk *walk, int fd)
{
    walk->_levels[walk->_depth++] = (struct torc_walk_level){._fd = fd};
    dir_init(&walk->_dir, fd);
}

static void pop_level(struct torc_walk *walk)
{
    (void)torc_close(innermost(walk)->_fd);
    walk->_depth--;
    dir_init(&walk->_dir, innermost(walk)->_fd);
}

/* Add a name to the path; false if there is no room. */
static bool append_name(struct torc_walk *walk, const char *name)
{
    const size_t length = strlen(name);

    if (walk->_path_length + length + 2 > sizeof(walk->_path))
        return false;
    if (walk->_path_length > 0)
        walk->_path[walk->_path_length++] = '/';
    memcpy(walk->_path + walk->_path_length, name, length + 1);
    walk->_path_length += (uint32_t)length;
    return true;
}

/* Where the last name in the path begins. */
static uint32_t last_name(const struct torc_walk *walk)
{
    const char *slash = memrchr(walk->_path, '/', walk->_path_length);

    return slash == NULL ? 0 : (uint32_t)(slash + 1 - walk->_path);
}

static void cut_name(struct torc_walk *walk)
{
    const uint32_t name = last_name(walk);

    walk->_path_length = name == 0 ? 0 : name - 1;
    walk->_path[walk->_path_length] = '\0';
}

/* Tell of the last name in the path, which stands in the innermost directory. */
static int tell(struct torc_walk *walk, enum torc_walk_visit visit, uint8_t type,
                struct torc_walk_entry *ret_entry)
{
    walk->_state = visit == TORC_WALK_ENTER ? WALK_ENTERED : WALK_TOLD;
    *ret_entry = (struct torc_walk_entry){.visit = visit,
                                          .path = walk->_path,
                                          .name = walk->_path + last_name(walk),
                                          .dirfd = innermost(walk)->_fd,
                                          .depth = walk->_depth,
                                          .type = type};
    return 1;
}

/* Tell that a directory is done with, be it by an error; but the scope's reason ends the walk. */
static int tell_left(struct torc_walk *walk, int error, struct torc_walk_entry *ret_entry)
{
    (void)tell(walk, error < 0 ? TORC_WALK_FAILED : TORC_WALK_LEAVE, DT_DIR, ret_entry);
    ret_entry->error = error;
    return 1;
}

static bool is_reason(int error)
{
    return error == -ECANCELED || error == -ETIME;
}

/* Go into the directory that the path ends with. Returns 0, or why not. */
static int enter(struct torc_walk *walk)
{
    int fd;

    if (walk->_depth == walk->_depth_max)
        return -ELOOP;
    fd = open_directory(innermost(walk)->_fd, walk->_path + last_name(walk), O_NOFOLLOW);
    if (fd < 0)
        return fd;
    innermost(walk)->_moved = true;
    push_level(walk, fd);
    walk->_state = WALK_READING;
    return 0;
}

/* What stands at `path`, for file systems that do not say it with the name. */
static int find_type(struct torc_walk *walk, uint8_t *type)
{
    struct statx status;
    int result;

    if (*type != DT_UNKNOWN)
        return 0;
    result = torc_statx(innermost(walk)->_fd, walk->_path + last_name(walk), AT_SYMLINK_NOFOLLOW,
                        STATX_TYPE, &status);
    if (result == 0)
        *type = IFTODT(status.stx_mode);
    return is_reason(result) ? result : 0;
}

/* Go on where the innermost directory was left. Returns 1, 0 if it was removed, or an error. */
static int resume(struct torc_walk *walk)
{
    struct torc_walk_level *level = innermost(walk);
    const off_t at = torc_seek(level->_fd, level->_resume, SEEK_SET);

    if (at == -EINVAL) { /* ext4 says so of one that was removed; reading it tells. */
        const int result = refill(&walk->_dir);

        return result > 0 ? -EINVAL : result;
    }
    if (at < 0)
        return (int)at;
    level->_moved = false;
    return 1;
}

/* The next entry of the innermost directory. Returns 1, 0 at its end, or an error. */
static int read_entry(struct torc_walk *walk, struct torc_walk_entry *ret_entry)
{
    struct torc_walk_level *level = innermost(walk);
    const struct kernel_dirent *raw;
    uint8_t type;
    int result = level->_moved ? resume(walk) : 1;

    if (result <= 0)
        return result;
    result = next_raw(&walk->_dir, &raw);
    if (result <= 0)
        return result;
    if (!append_name(walk, raw->name))
        return -ENAMETOOLONG;
    type = raw->type;
    result = find_type(walk, &type);
    if (result < 0) {
        walk->_dir._at -= raw->size; /* It is still the next one. */
        cut_name(walk);
        return result;
    }
    level->_resume = raw->resume;
    return tell(walk, type == DT_DIR ? TORC_WALK_ENTER : TORC_WALK_ENTRY, type, ret_entry);
}

int torc_walk_next(struct torc_walk *walk, struct torc_walk_entry *ret_entry)
{
    int result = 0;

    if (walk->_state == WALK_SKIPPED)
        return tell_left(walk, 0, ret_entry);
    if (walk->_state == WALK_ENTERED)
        result = enter(walk);
    if (is_reason(result))
        return result;
    if (result < 0)
        return tell_left(walk, result == -ELOOP && walk->_has_limit ? 0 : result, ret_entry);
    if (walk->_state == WALK_TOLD)
        cut_name(walk);
    walk->_state = WALK_READING;
    result = read_entry(walk, ret_entry);
    if (result > 0 || walk->_depth == 1 || is_reason(result))
        return result;
    pop_level(walk);
    return tell_left(walk, result, ret_entry);
}

static int walk_init(struct torc_walk *walk, int fd, unsigned depth_max)
{
    if (fd < 0)
        return fd;
    walk->_depth = 0;
    walk->_has_limit = depth_max != 0;
    walk->_depth_max = depth_max != 0 ? depth_max : TORC_WALK_DEPTH_MAX;
    walk->_path_length = 0;
    walk->_path[0] = '\0';
    walk->_state = WALK_READING;
    push_level(walk, fd);
    return 0;
}

int torc_walk_open(struct torc_walk *walk, int dirfd, const char *path, unsigned depth_max)
{
    if (depth_max > TORC_WALK_DEPTH_MAX)
        return -EINVAL;
    return walk_init(walk, open_directory(dirfd, path, 0), depth_max);
}

void torc_walk_skip(struct torc_walk *walk)
{
    if (walk->_state == WALK_ENTERED)
        walk->_state = WALK_SKIPPED;
}

void torc_walk_close(struct torc_walk *walk)
{
    while (walk->_depth > 0)
        (void)torc_close(walk->_levels[--walk->_depth]._fd);
}

/* ---- Removing a tree ---- */

/*
 * File systems that number their entries by counting pass some over when others are removed: they
 * are found by the next pass.
 */
#define REMOVE_PASSES 100

/* Remove a name, be it twice: who does not find it any more is content. */
static int remove_name(int dirfd, const char *name, int flags)
{
    int result;

    do {
        result = torc_unlinkat(dirfd, name, flags);
    } while (torc__is_disturbed(result));
    return result;
}

/* Whether a directory was too far from where the walk began, by its depth or its path. */
static bool is_far(const struct torc_walk_entry *entry)
{
    return entry->error == -ELOOP || entry->error == -ENAMETOOLONG;
}

/* Move it to there, under a name of its own, where this pass finds it again, or the next one. */
static int bring_near(const struct torc_walk_entry *entry, int top)
{
    char name[TEMPORARY_LENGTH + 1];

    torc__temporary_name(name);
    return torc_renameat(entry->dirfd, entry->name, top, name, RENAME_NOREPLACE);
}

/* `top` is the directory that the walk began with. */
static int remove_visited(const struct torc_walk_entry *entry, int top)
{
    int result;

    if (entry->visit == TORC_WALK_ENTER || (is_far(entry) && bring_near(entry, top) == 0))
        return 0;
    result =
        remove_name(entry->dirfd, entry->name, entry->visit == TORC_WALK_ENTRY ? 0 : AT_REMOVEDIR);
    if (result == -ENOENT || (result == -ENOTEMPTY && entry->visit == TORC_WALK_LEAVE))
        return 0; /* Somebody else was faster; or the next pass will find what is left. */
    return result < 0 && entry->error < 0 ? entry->error : result;
}

/* Remove what is in a directory. Returns the first failure. */
static int empty_directory(int dirfd, const char *path)
{
    struct torc_walk walk;
    struct torc_walk_entry entry;
    int failure = 0;
    int result = walk_init(&walk, open_directory(dirfd, path, O_NOFOLLOW), 0);

    if (result < 0)
        return result;
    while ((result = torc_walk_next(&walk, &entry)) > 0) {
        int removed = remove_visited(&entry, walk._levels[0]._fd);

        if (failure == 0)
            failure = removed;
    }
    torc_walk_close(&walk);
    return result < 0 ? result : failure;
}

int torc_remove_all(int dirfd, const char *path)
{
    int result = remove_name(dirfd, path, 0);
    int failure = 0;

    if (result != -EISDIR)
        return result == -ENOENT ? 0 : result;
    for (int i = 0; i < REMOVE_PASSES; i++) {
        failure = empty_directory(dirfd, path);
        if (failure == -ENOENT)
            return 0;
        result = remove_name(dirfd, path, AT_REMOVEDIR);
        if (result == 0 || result == -ENOENT)
            return 0;
        if (failure < 0 || result != -ENOTEMPTY)
            break;
    }
    return failure < 0 ? failure : result;
}
