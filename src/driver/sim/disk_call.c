/* SPDX-License-Identifier: MIT */
/*
 * disk_call.c - system calls on files and names, by their numbers.
 *
 * One function per call, which knows where it has its arguments.
 */
#include "base/compiler.h"
#include "driver/sim/disk.h"
#include "driver/sim/disk_attribute.h"
#include "driver/sim/disk_file.h"
#include "driver/sim/disk_names.h"
#include "driver/sim/disk_open.h"
#include "driver/sim/disk_status.h"
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int64_t call_fn(struct sim_disk *disk, const uintptr_t *a);

/* ---- Descriptors and paths ---- */

/* The disk's file of a descriptor; `otherwise` is the error for files that are none. */
static int file_at(struct sim_disk *disk, uintptr_t fd, int otherwise,
                   struct sim_disk_file **ret_file)
{
    struct sim_file *file = torc__sim_fd_file(disk->host, (int)fd);

    if (file == NULL)
        return -EBADF;
    *ret_file = torc__sim_disk_file(file);
    return *ret_file != NULL ? 0 : otherwise;
}

/* The same, not opened by O_PATH only. */
static int inode_at(struct sim_disk *disk, uintptr_t fd, struct sim_inode **ret_inode)
{
    struct sim_disk_file *file;
    int result = file_at(disk, fd, -EINVAL, &file);

    if (result < 0)
        return result;
    if (file->file.flags & O_PATH)
        return -EBADF;
    *ret_inode = file->inode;
    return 0;
}

/* What the name of an attribute belongs to, which is looked at first. */
static int find_named(struct sim_disk *disk, const uintptr_t *a, bool is_descriptor,
                      struct sim_inode **ret_inode)
{
    int result = torc__sim_xattr_check((const char *)a[1]);

    if (result < 0)
        return result;
    return is_descriptor ? inode_at(disk, a[0], ret_inode)
                         : torc__sim_find(disk, AT_FDCWD, (const char *)a[0], 0, ret_inode);
}

static int find_here(struct sim_disk *disk, uintptr_t path, struct sim_inode **ret_inode)
{
    return torc__sim_find(disk, AT_FDCWD, (const char *)path, 0, ret_inode);
}

/* ---- Open files ---- */

static int64_t call_lseek(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -ESPIPE, &file);

    return result < 0 ? result : torc__sim_file_seek(file, (int64_t)a[1], (int)a[2]);
}

static int64_t call_fsync(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -EINVAL, &file);

    return result < 0 ? result : torc__sim_file_sync(file, false);
}

static int64_t call_fdatasync(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -EINVAL, &file);

    return result < 0 ? result : torc__sim_file_sync(file, true);
}

static int64_t call_sync(struct sim_disk *disk, const uintptr_t *a)
{
    (void)a;
    torc__sim_disk_sync(disk->host);
    return 0;
}

static int64_t call_syncfs(struct sim_disk *disk, const uintptr_t *a)
{
    if (torc__sim_file_of(disk, (int)a[0], false) == NULL)
        return -EBADF;
    torc__sim_disk_sync(disk->host);
    return 0;
}

static int64_t call_sync_file_range(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -ESPIPE, &file);

    return result < 0
               ? result
               : torc__sim_file_sync_range(file, (int64_t)a[1], (int64_t)a[2], (unsigned)a[3]);
}

static int64_t call_fallocate(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -ESPIPE, &file);

    return result < 0 ? result
                      : torc__sim_file_allocate(file, (int)a[1], (int64_t)a[2], (int64_t)a[3]);
}

static int64_t call_fadvise64(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -ESPIPE, &file);

    return result < 0 ? result
                      : torc__sim_file_advise(file, (int64_t)a[1], (int64_t)a[2], (int)a[3]);
}

static int64_t call_ftruncate(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -EINVAL, &file);

    return result < 0 ? result : torc__sim_file_truncate(file, (int64_t)a[1]);
}

static int64_t call_getdents64(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -ENOTDIR, &file);

    return result < 0 ? result : torc__sim_file_entries(file, (void *)a[1], a[2]);
}

static int64_t call_copy_file_range(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *in;
    struct sim_disk_file *out;
    int result = file_at(disk, a[0], -EINVAL, &in);

    if (result == 0)
        result = file_at(disk, a[2], -EINVAL, &out);
    return result < 0 ? result
                      : torc__sim_file_copy(in, (int64_t *)a[1], out, (int64_t *)a[3], a[4],
                                            (unsigned)a[5]);
}

static int64_t call_flock(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -EBADF, &file);

    return result < 0 ? result : torc__sim_file_flock(file, (int)a[1]);
}

static int64_t call_fcntl(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -EINVAL, &file);

    if (result < 0)
        return result;
    if ((int)a[1] != F_OFD_SETLK && (int)a[1] != F_OFD_GETLK)
        return -EINVAL;
    return torc__sim_file_lock(file, (int)a[1], (struct flock *)a[2]);
}

/* ---- Attributes ---- */

static int64_t call_truncate(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result;

    if ((int64_t)a[1] < 0)
        return -EINVAL;
    result = find_here(disk, a[0], &inode);
    if (result < 0)
        return result;
    if (!S_ISREG(inode->live.mode))
        return torc__sim_is_directory(inode) ? -EISDIR : -EINVAL;
    result = torc__sim_inode_permits(inode, W_OK);
    return result < 0 ? result : torc__sim_inode_truncate(inode, (int64_t)a[1]);
}

static int64_t call_fchmod(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = inode_at(disk, a[0], &inode);

    return result < 0 ? result : torc__sim_chmod(inode, (mode_t)a[1]);
}

static int64_t call_fchmodat(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = torc__sim_find(disk, (int)a[0], (const char *)a[1], 0, &inode);

    return result < 0 ? result : torc__sim_chmod(inode, (mode_t)a[2]);
}

static int64_t call_fchown(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = inode_at(disk, a[0], &inode);

    return result < 0 ? result : torc__sim_chown(inode, (uid_t)a[1], (gid_t)a[2]);
}

static int64_t call_fchownat(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result;

    if ((int)a[4] & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    result = torc__sim_find(disk, (int)a[0], (const char *)a[1], (int)a[4], &inode);
    return result < 0 ? result : torc__sim_chown(inode, (uid_t)a[2], (gid_t)a[3]);
}

static int64_t call_utimensat(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result;

    if ((int)a[3] & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    result = a[1] == 0 ? inode_at(disk, a[0], &inode)
                       : torc__sim_find(disk, (int)a[0], (const char *)a[1], (int)a[3], &inode);
    return result < 0 ? result : torc__sim_utimens(inode, (const struct timespec *)a[2]);
}

static int64_t call_listxattr(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = find_here(disk, a[0], &inode);

    return result < 0 ? result : torc__sim_listxattr(inode, (char *)a[1], a[2]);
}

static int64_t call_flistxattr(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = inode_at(disk, a[0], &inode);

    return result < 0 ? result : torc__sim_listxattr(inode, (char *)a[1], a[2]);
}

static int64_t call_getxattr(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = find_named(disk, a, false, &inode);

    return result < 0 ? result : torc__sim_getxattr(inode, (const char *)a[1], (void *)a[2], a[3]);
}

static int64_t call_fgetxattr(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = find_named(disk, a, true, &inode);

    return result < 0 ? result : torc__sim_getxattr(inode, (const char *)a[1], (void *)a[2], a[3]);
}

static int64_t call_setxattr(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = find_named(disk, a, false, &inode);

    return result < 0
               ? result
               : torc__sim_setxattr(inode, (const char *)a[1], (const void *)a[2], a[3], (int)a[4]);
}

static int64_t call_fsetxattr(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = find_named(disk, a, true, &inode);

    return result < 0
               ? result
               : torc__sim_setxattr(inode, (const char *)a[1], (const void *)a[2], a[3], (int)a[4]);
}

static int64_t call_removexattr(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = find_named(disk, a, false, &inode);

    return result < 0 ? result : torc__sim_removexattr(inode, (const char *)a[1]);
}

static int64_t call_fremovexattr(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = find_named(disk, a, true, &inode);

    return result < 0 ? result : torc__sim_removexattr(inode, (const char *)a[1]);
}

/* ---- Names ---- */

static int64_t call_openat(struct sim_disk *disk, const uintptr_t *a)
{
    return torc__sim_openat(disk, (int)a[0], (const char *)a[1], (int)a[2], (mode_t)a[3]);
}

static int64_t call_openat2(struct sim_disk *disk, const uintptr_t *a)
{
    if (a[3] < sizeof(struct open_how))
        return -EINVAL;
    return torc__sim_openat2(disk, (int)a[0], (const char *)a[1], (const struct open_how *)a[2]);
}

static int64_t call_statx(struct sim_disk *disk, const uintptr_t *a)
{
    const struct sim_place place = {(int)a[0], (const char *)a[1]};

    return torc__sim_statx(disk, &place, (int)a[2], (unsigned)a[3], (struct statx *)a[4]);
}

static int64_t call_readlinkat(struct sim_disk *disk, const uintptr_t *a)
{
    return torc__sim_readlinkat(disk, (int)a[0], (const char *)a[1], (char *)a[2], a[3]);
}

static int64_t call_faccessat(struct sim_disk *disk, const uintptr_t *a)
{
    return torc__sim_accessat(disk, (int)a[0], (const char *)a[1], (int)a[2], 0);
}

static int64_t call_mkdirat(struct sim_disk *disk, const uintptr_t *a)
{
    return torc__sim_mkdirat(disk, (int)a[0], (const char *)a[1], (mode_t)a[2]);
}

static int64_t call_mknodat(struct sim_disk *disk, const uintptr_t *a)
{
    return torc__sim_mknodat(disk, (int)a[0], (const char *)a[1], (mode_t)a[2]);
}

static int64_t call_symlinkat(struct sim_disk *disk, const uintptr_t *a)
{
    return torc__sim_symlinkat(disk, (const char *)a[0], (int)a[1], (const char *)a[2]);
}

static int64_t call_linkat(struct sim_disk *disk, const uintptr_t *a)
{
    const struct sim_place from = {(int)a[0], (const char *)a[1]};
    const struct sim_place to = {(int)a[2], (const char *)a[3]};

    return torc__sim_linkat(disk, &from, &to, (int)a[4]);
}

static int64_t call_renameat2(struct sim_disk *disk, const uintptr_t *a)
{
    const struct sim_place from = {(int)a[0], (const char *)a[1]};
    const struct sim_place to = {(int)a[2], (const char *)a[3]};

    return torc__sim_renameat(disk, &from, &to, (unsigned)a[4]);
}

static int64_t call_unlinkat(struct sim_disk *disk, const uintptr_t *a)
{
    return torc__sim_unlinkat(disk, (int)a[0], (const char *)a[1], (int)a[2]);
}

/* ---- The process ---- */

static int64_t go_to(struct sim_disk *disk, struct sim_inode *inode)
{
    struct sim_inode *before = disk->working;
    int result;

    if (!torc__sim_is_directory(inode))
        return -ENOTDIR;
    result = torc__sim_inode_permits(inode, X_OK);
    if (result < 0)
        return result;
    inode->users++;
    disk->working = inode;
    torc__sim_inode_release(before);
    return 0;
}

static int64_t call_chdir(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_inode *inode;
    int result = find_here(disk, a[0], &inode);

    return result < 0 ? result : go_to(disk, inode);
}

static int64_t call_fchdir(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_disk_file *file;
    int result = file_at(disk, a[0], -ENOTDIR, &file);

    return result < 0 ? result : go_to(disk, file->inode);
}

/* As the system call: the length with the final NUL. */
static int64_t call_getcwd(struct sim_disk *disk, const uintptr_t *a)
{
    const int64_t length = torc__sim_path_of(disk->working, (char *)a[0], a[1]);

    return length < 0 ? length : length + 1;
}

static int64_t call_umask(struct sim_disk *disk, const uintptr_t *a)
{
    const mode_t before = disk->umask;

    disk->umask = (mode_t)a[0] & 0777;
    return before;
}

/* Of RLIMIT_FSIZE only. */
static int64_t call_prlimit64(struct sim_disk *disk, const uintptr_t *a)
{
    const struct rlimit *new = (const struct rlimit *)a[2];
    struct rlimit *old = (struct rlimit *)a[3];

    if (a[1] != RLIMIT_FSIZE)
        return -EINVAL;
    if (old != NULL)
        *old = (struct rlimit){.rlim_cur = disk->file_size_max, .rlim_max = RLIM_INFINITY};
    if (new != NULL)
        disk->file_size_max = new->rlim_cur;
    return 0;
}

/* ---- inotify ---- */

static int64_t call_inotify_init1(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_file *file;
    int result = torc__sim_inotify_open(disk->host, (int)a[0], &file);

    if (result < 0)
        return result;
    result = torc__sim_fd_open(disk->host, file);
    if (result < 0)
        torc__sim_file_release(file);
    return result;
}

static int64_t call_inotify_add_watch(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_file *file = torc__sim_fd_file(disk->host, (int)a[0]);

    return file == NULL ? -EBADF : torc__sim_inotify_add(file, (const char *)a[1], (uint32_t)a[2]);
}

static int64_t call_inotify_rm_watch(struct sim_disk *disk, const uintptr_t *a)
{
    struct sim_file *file = torc__sim_fd_file(disk->host, (int)a[0]);

    return file == NULL ? -EBADF : torc__sim_inotify_remove(file, (int)a[1]);
}

/* ---- All of them ---- */

static const struct {
    int number;
    call_fn *call;
} calls[] = {
    {SYS_lseek, call_lseek},
    {SYS_getdents64, call_getdents64},
    {SYS_readlinkat, call_readlinkat},
    {SYS_statx, call_statx},
    {SYS_openat, call_openat},
    {SYS_openat2, call_openat2},
    {SYS_flock, call_flock},
    {SYS_fcntl, call_fcntl},
    {SYS_fsync, call_fsync},
    {SYS_fdatasync, call_fdatasync},
    {SYS_sync, call_sync},
    {SYS_syncfs, call_syncfs},
    {SYS_sync_file_range, call_sync_file_range},
    {SYS_fallocate, call_fallocate},
    {SYS_fadvise64, call_fadvise64},
    {SYS_truncate, call_truncate},
    {SYS_ftruncate, call_ftruncate},
    {SYS_copy_file_range, call_copy_file_range},
    {SYS_fchmod, call_fchmod},
    {SYS_fchmodat, call_fchmodat},
    {SYS_fchown, call_fchown},
    {SYS_fchownat, call_fchownat},
    {SYS_utimensat, call_utimensat},
    {SYS_getxattr, call_getxattr},
    {SYS_fgetxattr, call_fgetxattr},
    {SYS_setxattr, call_setxattr},
    {SYS_fsetxattr, call_fsetxattr},
    {SYS_listxattr, call_listxattr},
    {SYS_flistxattr, call_flistxattr},
    {SYS_removexattr, call_removexattr},
    {SYS_fremovexattr, call_fremovexattr},
    {SYS_faccessat, call_faccessat},
    {SYS_mkdirat, call_mkdirat},
    {SYS_mknodat, call_mknodat},
    {SYS_symlinkat, call_symlinkat},
    {SYS_linkat, call_linkat},
    {SYS_renameat2, call_renameat2},
    {SYS_unlinkat, call_unlinkat},
    {SYS_chdir, call_chdir},
    {SYS_fchdir, call_fchdir},
    {SYS_getcwd, call_getcwd},
    {SYS_umask, call_umask},
    {SYS_prlimit64, call_prlimit64},
    {SYS_inotify_init1, call_inotify_init1},
    {SYS_inotify_add_watch, call_inotify_add_watch},
    {SYS_inotify_rm_watch, call_inotify_rm_watch},
};

int64_t torc__sim_disk_call(struct sim_host *host, int number, const uintptr_t arguments[6])
{
    torc__sim_disk_age(host->disk);
    for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
        if (calls[i].number == number)
            return calls[i].call(host->disk, arguments);
    }
    return -ENOSYS;
}
