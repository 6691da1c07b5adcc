/* SPDX-License-Identifier: MIT */
/*
 * disk_attribute.c - what files have beside data: rights, owners, times, and named attributes.
 */
#include "driver/sim/disk_attribute.h"
#include "driver/sim/disk_watch.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NS_MAX 999999999

static int begin(const struct sim_inode *inode)
{
    return inode->disk->is_read_only ? -EROFS : 0;
}

static void finish(struct sim_inode *inode)
{
    torc__sim_inode_changed(inode);
    torc__sim_tell_inode(inode, IN_ATTRIB);
}

/* ---- Rights and owners ---- */

int torc__sim_chmod(struct sim_inode *inode, mode_t mode)
{
    const struct sim_disk *disk = inode->disk;
    int result = begin(inode);

    if (result < 0)
        return result;
    if (S_ISLNK(inode->live.mode))
        return -EOPNOTSUPP;
    if (!torc__sim_inode_is_owned(inode))
        return -EPERM;
    if (disk->user != 0 && disk->group != inode->live.group)
        mode &= ~(mode_t)S_ISGID;
    inode->live.mode = (inode->live.mode & S_IFMT) | (mode & 07777);
    finish(inode);
    return 0;
}

int torc__sim_chown(struct sim_inode *inode, uid_t user, gid_t group)
{
    const struct sim_disk *disk = inode->disk;
    struct sim_attributes *live = &inode->live;
    int result = begin(inode);

    if (result < 0)
        return result;
    if (disk->user != 0) {
        if (user != (uid_t)-1 && (user != live->user || disk->user != live->user))
            return -EPERM;
        if (group != (gid_t)-1 &&
            (disk->user != live->user || (group != live->group && group != disk->group)))
            return -EPERM;
    }
    live->user = user != (uid_t)-1 ? user : live->user;
    live->group = group != (gid_t)-1 ? group : live->group;
    if (!S_ISDIR(live->mode)) { /* It would run as somebody else from now on. */
        live->mode &= ~(mode_t)S_ISUID;
        if (live->mode & S_IXGRP)
            live->mode &= ~(mode_t)S_ISGID;
    }
    finish(inode);
    return 0;
}

/* ---- Times ---- */

static int check_times(const struct timespec *times)
{
    for (unsigned i = 0; i < 2; i++) {
        const long ns = times[i].tv_nsec;

        if (ns != UTIME_NOW && ns != UTIME_OMIT && (ns < 0 || ns > NS_MAX))
            return -EINVAL;
    }
    return 0;
}

static void set_time(struct timespec *to, const struct timespec *from, const struct timespec *now)
{
    if (from->tv_nsec == UTIME_NOW) {
        *to = *now;
    } else if (from->tv_nsec != UTIME_OMIT) {
        *to = *from;
    }
}

int torc__sim_utimens(struct sim_inode *inode, const struct timespec *times)
{
    static const struct timespec both_now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    const struct timespec now = torc__sim_disk_now(inode->disk);
    bool are_now;
    int result;

    if (times == NULL)
        times = both_now;
    result = check_times(times);
    if (result == 0 && times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
        return 0;
    if (result == 0)
        result = begin(inode);
    if (result < 0)
        return result;
    are_now = times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW;
    if (!torc__sim_inode_is_owned(inode)) {
        if (!are_now)
            return -EPERM;
        result = torc__sim_inode_permits(inode, W_OK);
        if (result < 0)
            return result;
    }
    set_time(&inode->live.accessed, &times[0], &now);
    set_time(&inode->live.modified, &times[1], &now);
    torc__sim_inode_changed(inode);
    torc__sim_tell_inode(inode, times[0].tv_nsec == UTIME_OMIT   ? IN_MODIFY
                                : times[1].tv_nsec == UTIME_OMIT ? IN_ACCESS
                                                                 : IN_ATTRIB);
    return 0;
}

/* ---- Named attributes ---- */

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

int torc__sim_xattr_check(const char *name)
{
    size_t length;

    if (name == NULL)
        return -EFAULT;
    length = strnlen(name, XATTR_NAME_MAX + 1);
    return length == 0 || length > XATTR_NAME_MAX ? -ERANGE : 0;
}

/* Whether the process may have to do with an attribute of that name. */
static int check_name(const struct sim_inode *inode, const char *name, int access)
{
    const mode_t mode = inode->live.mode;
    const bool writes = access == W_OK;

    if (writes && inode->disk->is_read_only)
        return -EROFS;
    if (begins_with(name, "trusted.")) {
        if (inode->disk->user != 0)
            return writes ? -EPERM : -ENODATA;
        return name[strlen("trusted.")] != '\0' ? 0 : -EINVAL;
    }
    if (!begins_with(name, "user.")) {
        int result = torc__sim_inode_permits(inode, access);

        return result < 0 ? result : -EOPNOTSUPP;
    }
    if (!S_ISREG(mode) && !S_ISDIR(mode))
        return writes ? -EPERM : -ENODATA;
    if (name[strlen("user.")] == '\0')
        return -EINVAL;
    if (S_ISDIR(mode) && (mode & S_ISVTX) && writes && !torc__sim_inode_is_owned(inode))
        return -EPERM;
    return torc__sim_inode_permits(inode, access);
}

static struct sim_xattr **find(struct sim_xattr **link, const char *name)
{
    while (*link != NULL && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

static struct sim_xattr *make(const char *name, const void *value, size_t size)
{
    struct sim_xattr *xattr = torc__sim_allocate(sizeof(*xattr));
    const size_t length = strlen(name);

    xattr->name = torc__sim_allocate(length + 1);
    memcpy(xattr->name, name, length);
    xattr->value = torc__sim_allocate(size + 1);
    if (size > 0)
        memcpy(xattr->value, value, size);
    xattr->size = size;
    return xattr;
}

/* The list is about to change: what is durable keeps the old one. */
static void make_own_list(struct sim_inode *inode)
{
    struct sim_xattr **link = &inode->live.xattrs;

    if (inode->live.xattrs == NULL || inode->live.xattrs != inode->durable.xattrs)
        return;
    for (const struct sim_xattr *old = inode->durable.xattrs; old != NULL; old = old->next) {
        *link = make(old->name, old->value, old->size);
        link = &(*link)->next;
    }
}

static void remove_at(struct sim_xattr **link)
{
    struct sim_xattr *gone = *link;

    *link = gone->next;
    gone->next = NULL;
    torc__sim_xattrs_free(gone);
}

int64_t torc__sim_getxattr(const struct sim_inode *inode, const char *name, void *value,
                           size_t size)
{
    struct sim_xattr *first = inode->live.xattrs;
    const struct sim_xattr *xattr;
    int result = check_name(inode, name, R_OK);

    if (result < 0)
        return result;
    xattr = *find(&first, name);
    if (xattr == NULL)
        return -ENODATA;
    if (size == 0)
        return (int64_t)xattr->size;
    if (size < xattr->size)
        return -ERANGE;
    memcpy(value, xattr->value, xattr->size);
    return (int64_t)xattr->size;
}

int torc__sim_setxattr(struct sim_inode *inode, const char *name, const void *value, size_t size,
                       int flags)
{
    struct sim_xattr **link;
    struct sim_xattr *new;
    int result;

    if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    result = check_name(inode, name, W_OK);
    if (result < 0)
        return result;
    link = find(&inode->live.xattrs, name);
    if (*link != NULL && (flags & XATTR_CREATE))
        return -EEXIST;
    if (*link == NULL && (flags & XATTR_REPLACE))
        return -ENODATA;
    make_own_list(inode);
    link = find(&inode->live.xattrs, name);
    new = make(name, value, size);
    if (*link != NULL)
        remove_at(link);
    new->next = *link;
    *link = new;
    finish(inode);
    return 0;
}

int64_t torc__sim_listxattr(const struct sim_inode *inode, char *names, size_t size)
{
    size_t length = 0;

    for (const struct sim_xattr *xattr = inode->live.xattrs; xattr != NULL; xattr = xattr->next) {
        const size_t part = strlen(xattr->name) + 1;

        if (begins_with(xattr->name, "trusted.") && inode->disk->user != 0)
            continue;
        if (size > 0 && length + part > size)
            return -ERANGE;
        if (size > 0)
            memcpy(names + length, xattr->name, part);
        length += part;
    }
    return (int64_t)length;
}

int torc__sim_removexattr(struct sim_inode *inode, const char *name)
{
    int result = check_name(inode, name, W_OK);

    if (result < 0)
        return result;
    if (*find(&inode->live.xattrs, name) == NULL)
        return -ENODATA;
    make_own_list(inode);
    remove_at(find(&inode->live.xattrs, name));
    finish(inode);
    return 0;
}
