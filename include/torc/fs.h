/* SPDX-License-Identifier: MIT */
/*
 * torc/fs.h - names of files: the twins of stat(2), rename(2), mkdir(2) and their like;
 * directories and trees of them; files as a whole.
 *
 * What torc/file.h says of paths, of `dirfd` and of threads holds here. The forms without `dirfd`
 * begin relative paths at the working directory. Functions with paths of their own, and those for
 * trees and whole files, use up to 24 KiB of stack.
 *
 * -EINTR, though nobody has cancelled anything, comes of the functions for one name that would find
 * their own work if they began again (rename, link, symlink, unlink, mkdir, removing attributes;
 * XATTR_CREATE), and only where a server has the files (FUSE, SMB): look whether it was done. All
 * others begin again by themselves.
 */
#ifndef TORC_FS_H
#define TORC_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <torc/api.h>
TORC_BEGIN_C

struct statx;
struct timespec;

/* ---- Names ---- */

/*
 * statx(2): AT_ `flags`, such as AT_SYMLINK_NOFOLLOW; `mask` of STATX_ (<sys/stat.h>). Suspends.
 */
TORC_CHECK int torc_statx(int dirfd, const char *path, int flags, unsigned mask,
                          struct statx *ret_status);

/* rename(2): `to`, if it exists, is replaced. Suspends. */
TORC_CHECK int torc_rename(const char *from, const char *to);

/* renameat2(2) with RENAME_ `flags`, such as RENAME_NOREPLACE. Suspends. */
TORC_CHECK int torc_renameat(int from_dirfd, const char *from, int to_dirfd, const char *to,
                             unsigned flags);

/* link(2). Suspends. */
TORC_CHECK int torc_link(const char *from, const char *to);

/* linkat(2). Suspends. */
TORC_CHECK int torc_linkat(int from_dirfd, const char *from, int to_dirfd, const char *to,
                           int flags);

/* symlink(2): `path` becomes a link to `target`. Suspends. */
TORC_CHECK int torc_symlink(const char *target, const char *path);

/* symlinkat(2). Suspends. */
TORC_CHECK int torc_symlinkat(const char *target, int dirfd, const char *path);

/*
 * readlink(2), but with a final NUL. Suspends. Returns the length without it, at most size - 1.
 *
 * -ERANGE     the target is longer than that.
 */
TORC_CHECK ssize_t torc_readlink(const char *path, char *target, size_t size);

/* The same, beginning at `dirfd`. Suspends. */
TORC_CHECK ssize_t torc_readlinkat(int dirfd, const char *path, char *target, size_t size);

/*
 * The absolute path of an existing file, without links, "." and "..": realpath(3). Suspends. As
 * torc_readlink(); PATH_MAX (4,096) bytes are always enough.
 */
TORC_CHECK ssize_t torc_realpath(const char *path, char *resolved, size_t size);

/* unlink(2). Suspends. */
TORC_CHECK int torc_unlink(const char *path);

/* rmdir(2). Suspends. */
TORC_CHECK int torc_rmdir(const char *path);

/* unlinkat(2): with AT_REMOVEDIR, a directory. Suspends. */
TORC_CHECK int torc_unlinkat(int dirfd, const char *path, int flags);

/* mkdir(2). Suspends. */
TORC_CHECK int torc_mkdir(const char *path, mode_t mode);

/* mkdirat(2). Suspends. */
TORC_CHECK int torc_mkdirat(int dirfd, const char *path, mode_t mode);

/*
 * Make a directory and those above it, all with `mode`; those that exist, or come to exist
 * meanwhile, are as good. Suspends. What was made stays if a later one fails.
 *
 * -ENOTDIR, -EEXIST    something that is no directory is in the way, or is at its end.
 */
TORC_CHECK int torc_mkdir_all(const char *path, mode_t mode);

/* chmod(2). Suspends. */
TORC_CHECK int torc_chmod(const char *path, mode_t mode);

/* fchownat(2), with AT_ `flags`; -1 leaves one as it is. Suspends. */
TORC_CHECK int torc_chown(const char *path, uid_t user, gid_t group, int flags);

/* utimensat(2): the two times of last access and change; NULL is now. Suspends. */
TORC_CHECK int torc_utimens(const char *path, const struct timespec *times, int flags);

/* ---- Extended attributes ---- */

/* getxattr(2). Suspends. The length of the value, also if size is 0; -ERANGE if it is larger. */
TORC_CHECK ssize_t torc_getxattr(const char *path, const char *name, void *value, size_t size);

/* The same, of an open file. Suspends. */
TORC_CHECK ssize_t torc_fgetxattr(int fd, const char *name, void *value, size_t size);

/* setxattr(2) with XATTR_ `flags`. Suspends. */
TORC_CHECK int torc_setxattr(const char *path, const char *name, const void *value, size_t size,
                             int flags);

/* The same, of an open file. Suspends. */
TORC_CHECK int torc_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);

/* listxattr(2): names, each with its NUL. Suspends. As torc_getxattr(). */
TORC_CHECK ssize_t torc_listxattr(const char *path, char *names, size_t size);

/* The same, of an open file. Suspends. */
TORC_CHECK ssize_t torc_flistxattr(int fd, char *names, size_t size);

/* removexattr(2). Suspends. */
TORC_CHECK int torc_removexattr(const char *path, const char *name);

/* The same, of an open file. Suspends. */
TORC_CHECK int torc_fremovexattr(int fd, const char *name);

/* ---- Files as a whole ---- */

/*
 * Read a whole file into `buffer`, whatever size it says to have, so also those of /proc. Suspends.
 * Returns how many bytes it had.
 *
 * -EFBIG      it has more than `size` bytes; that many are in the buffer.
 */
TORC_CHECK ssize_t torc_read_file(const char *path, void *buffer, size_t size);

/*
 * Read a whole file of at most `limit` bytes into memory that becomes the caller's, who frees it by
 * free(). A NUL that does not count follows the data. Suspends. Allocates.
 *
 * -EFBIG      it has more than `limit` bytes.
 * -ENOMEM     no memory for so many.
 */
TORC_CHECK int torc_load_file(const char *path, size_t limit, char **ret_data, size_t *ret_length);

/*
 * Replace a file, or make it, in such a way that whoever opens it at any time, be it after a crash,
 * finds either all of the old data or all of the new. Suspends. The data go to a temporary file
 * beside it (".torc-" and a number), which is synchronised and renamed; a failure leaves what was.
 * The file has permissions `mode`, less the umask; it is replaced, so other links to it, and its
 * owner and attributes, are not kept.
 */
TORC_CHECK int torc_save_file(const char *path, const void *data, size_t length, mode_t mode);

/*
 * Copy the data and the permissions of a file into a new one, or in the place of an existing one,
 * in the way of torc_save_file(), and as cp(1) without the set-user-ID bit and its like. Suspends.
 * Where the file system can, it shares the blocks.
 *
 * -EISDIR, -EINVAL    `from` is a directory, or something else that is no regular file.
 */
TORC_CHECK int torc_copy_file(const char *from, const char *to);

TORC_END_C
#endif
