/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_call_test.c - the model of a disk does what the kernel does: random system calls on
 * both, whose results are compared, and in the end all there is.
 */
#include "unit/driver/sim_disk_tree.h"
#include <ftw.h>
#include <grp.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#define FILES_MAX 6 /* open at a time */
#define DATA_MAX  9000
#define STEPS     400

/* Both sides of the comparison. */
static struct rig rig;
static int kernel_fds[FILES_MAX];
static int model_fds[FILES_MAX];

static char directory[256];
static bool has_xattrs;
static bool has_temporary_files;
static bool has_openat2;         /* it may be forbidden */
static unsigned fallocate_modes; /* a bit for each of those below */

static const int modes[] = {0,
                            FALLOC_FL_KEEP_SIZE,
                            FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            FALLOC_FL_ZERO_RANGE,
                            FALLOC_FL_COLLAPSE_RANGE,
                            FALLOC_FL_INSERT_RANGE};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- The two places ---- */

static bool is_known_file_system(void)
{
    struct statfs about;

    EXPECT_INT(statfs(".", &about), ==, 0);
    return about.f_type == EXT4_SUPER_MAGIC || about.f_type == TMPFS_MAGIC ||
           about.f_type == XFS_SUPER_MAGIC || about.f_type == BTRFS_SUPER_MAGIC ||
           about.f_type == OVERLAYFS_SUPER_MAGIC;
}

/* What this file system can do, and the model need not be asked for otherwise. */
static void probe(void)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC};
    struct stat about;
    int fd = open("probe", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    EXPECT_INT(fd, >=, 0);
    has_xattrs = fsetxattr(fd, "user.probe", "1", 1, 0) == 0;
    fallocate_modes = 0;
    for (unsigned i = 0; i < COUNT(modes); i++) {
        EXPECT_INT(ftruncate(fd, 3 * 65536), ==, 0);
        if (fallocate(fd, modes[i], 4096, 4096) == 0)
            fallocate_modes |= 1u << i;
    }
    close(fd);
    EXPECT_INT(unlink("probe"), ==, 0);
    EXPECT_INT(mkdir("probe", 0700), ==, 0);
    EXPECT_INT(mkdir("probe/below", 0700), ==, 0);
    EXPECT_INT(stat("probe", &about), ==, 0);
    tree_counts_links = about.st_nlink == 3;
    EXPECT_INT(rmdir("probe/below"), ==, 0);
    EXPECT_INT(rmdir("probe"), ==, 0);
    fd = open(".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    has_temporary_files = fd >= 0;
    if (fd >= 0)
        close(fd);
    fd = (int)syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof(how));
    has_openat2 = fd >= 0;
    if (fd >= 0)
        close(fd);
}

/* Both begin in an empty directory that is not the top of theirs. */
static bool enter(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(directory, sizeof(directory), "%s/torc-test-XXXXXX", base != NULL ? base : "/tmp");
    EXPECT(mkdtemp(directory) != NULL);
    EXPECT_INT(chdir(directory), ==, 0);
    return is_known_file_system();
}

static int remove_visited(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static int open_visited(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)where;
    return type == FTW_D || type == FTW_DNR ? chmod(path, 0700) : 0;
}

/* Directories that may not be entered have to be opened first, level by level. */
static void remove_tree(const char *path)
{
    for (unsigned i = 0; i < 20; i++)
        (void)nftw(path, open_visited, 16, FTW_PHYS);
    EXPECT_INT(nftw(path, remove_visited, 16, FTW_DEPTH | FTW_PHYS), ==, 0);
}

static void leave(void)
{
    EXPECT_INT(chdir("/"), ==, 0);
    remove_tree(directory);
}

/* Where both sides begin: below a directory that is empty besides. Both can be entered again. */
static void go_to_top(void)
{
    EXPECT_INT(chdir(directory), ==, 0);
    EXPECT_INT(chmod("base", 0755), ==, 0);
    EXPECT_INT(chmod("base/top", 0755), ==, 0);
    EXPECT_INT(RIG_CALL(&rig, SYS_fchmodat, RIG_CWD, (uintptr_t) "/tmp/base", 0755), ==, 0);
    EXPECT_INT(RIG_CALL(&rig, SYS_fchmodat, RIG_CWD, (uintptr_t) "/tmp/base/top", 0755), ==, 0);
    EXPECT_INT(chdir("base/top"), ==, 0);
    EXPECT_INT(RIG_CALL(&rig, SYS_chdir, (uintptr_t) "/tmp/base/top"), ==, 0);
}

static void make_top(void)
{
    EXPECT_INT(mkdir("base", 0755), ==, 0);
    EXPECT_INT(mkdir("base/top", 0755), ==, 0);
    EXPECT_INT(rig_mkdir(&rig, "/tmp/base"), ==, 0);
    EXPECT_INT(rig_mkdir(&rig, "/tmp/base/top"), ==, 0);
    go_to_top();
}

static void remove_top(void)
{
    EXPECT_INT(chdir(directory), ==, 0);
    remove_tree("base");
}

/* ---- Calls ---- */

static int64_t call_kernel(int number, const uintptr_t *a)
{
    const int64_t result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);

    return result < 0 ? -errno : result;
}

/* The same call on both; a descriptor among the arguments is told by its place. */
static void compare(const char *what, int number, const uintptr_t *kernel, const uintptr_t *model)
{
    const int64_t expected = call_kernel(number, kernel);
    const int64_t result = torc__sim_disk_call(rig.host, number, model);

    EXPECT_MSG(result == expected, "%s: %lld, and the kernel says %lld", what, (long long)result,
               (long long)expected);
}

/* One without descriptors and results in memory. */
#define SAME(what, number, ...)                       \
    do {                                              \
        const uintptr_t arguments[6] = {__VA_ARGS__}; \
        compare(what, number, arguments, arguments);  \
    } while (0)

/* ---- Paths ---- */

static const char *any_name(void)
{
    static const char *const names[] = {"a", "b", "c", "d"};

    return names[rig_any(COUNT(names))];
}

/*
 * Some path. At most one ".." in it, and none in targets of links: so no path leads out of the
 * directory above.
 */
static const char *any_path(bool may_go_up)
{
    static char paths[4][64];
    static unsigned next;
    char *path = paths[next++ % 4];
    const unsigned depth = 1 + rig_any(3);
    size_t length = 0;

    path[0] = '\0';
    if (rig_any(100) == 0)
        return path;
    for (unsigned i = 0; i < depth; i++) {
        const char *part = rig_any(20) == 0 ? "." : any_name();

        if (may_go_up && rig_any(20) == 0) {
            part = "..";
            may_go_up = false;
        }
        length += (size_t)snprintf(path + length, sizeof(paths[0]) - length, "%s%s",
                                   i > 0 ? rig_any(10) == 0 ? "//" : "/" : "", part);
    }
    if (rig_any(12) == 0)
        snprintf(path + length, sizeof(paths[0]) - length, "/");
    return path;
}

static uintptr_t path_argument(bool may_go_up)
{
    return (uintptr_t)any_path(may_go_up);
}

/* ---- What is done: names ---- */

static void do_mkdir(void)
{
    SAME("mkdir", SYS_mkdirat, RIG_CWD, path_argument(true), rig_any(4) == 0 ? 0500 : 0755);
}

static void do_unlink(void)
{
    SAME("unlink", SYS_unlinkat, RIG_CWD, path_argument(true), rig_any(3) == 0 ? AT_REMOVEDIR : 0);
}

static void do_rename(void)
{
    static const unsigned flags[] = {0, 0, 0, 1, 2, 3};

    SAME("rename", SYS_renameat2, RIG_CWD, path_argument(true), RIG_CWD, path_argument(true),
         flags[rig_any(COUNT(flags))]);
}

static void do_link(void)
{
    SAME("link", SYS_linkat, RIG_CWD, path_argument(true), RIG_CWD, path_argument(true),
         rig_any(2) == 0 ? AT_SYMLINK_FOLLOW : 0);
}

static void do_symlink(void)
{
    const char *target = any_path(false);

    SAME("symlink", SYS_symlinkat, (uintptr_t)target, RIG_CWD, path_argument(true));
}

static void do_mknod(void)
{
    SAME("mknod", SYS_mknodat, RIG_CWD, path_argument(true),
         (rig_any(2) ? S_IFREG : S_IFIFO) | 0640, 0);
}

static void do_chdir(void)
{
    if (rig_any(4) != 0) {
        SAME("chdir", SYS_chdir, path_argument(false));
        return;
    }
    go_to_top();
}

static void do_readlink(void)
{
    const uintptr_t path = path_argument(true);
    const size_t size = rig_any(10);
    char expected[16] = "";
    char target[16] = "";
    const uintptr_t kernel[6] = {RIG_CWD, path, (uintptr_t)expected, size};
    const uintptr_t model[6] = {RIG_CWD, path, (uintptr_t)target, size};

    compare("readlink", SYS_readlinkat, kernel, model);
    EXPECT_MEM(target, expected, sizeof(target));
}

static void do_statx(void)
{
    const uintptr_t path = path_argument(true);
    const uintptr_t flags = rig_any(2) ? AT_SYMLINK_NOFOLLOW : 0;
    struct statx expected = {.stx_mode = 0};
    struct statx status = {.stx_mode = 0};
    const uintptr_t kernel[6] = {RIG_CWD, path, flags, STATX_BASIC_STATS, (uintptr_t)&expected};
    const uintptr_t model[6] = {RIG_CWD, path, flags, STATX_BASIC_STATS, (uintptr_t)&status};

    compare("statx", SYS_statx, kernel, model);
    tree_expect_same_status((const char *)path, &status, &expected);
}

static void do_access(void)
{
    SAME("faccessat", SYS_faccessat, RIG_CWD, path_argument(true), rig_any(8));
}

static void do_chmod(void)
{
    static const mode_t some[] = {0, 0444, 0200, 0644, 0755, 0700, 0111, 0300, 06755, 01777};

    SAME("chmod", SYS_fchmodat, RIG_CWD, path_argument(true), some[rig_any(COUNT(some))]);
}

static void do_chown(void)
{
    static const uid_t some[] = {(uid_t)-1, 0, 65534};

    SAME("chown", SYS_fchownat, RIG_CWD, path_argument(true), some[rig_any(3)], some[rig_any(3)],
         rig_any(2) ? AT_SYMLINK_NOFOLLOW : 0);
}

static void do_utimens(void)
{
    struct timespec times[2] = {{.tv_sec = rig_any(1000), .tv_nsec = rig_any(2) ? 5 : UTIME_OMIT},
                                {.tv_sec = 7, .tv_nsec = rig_any(4) ? UTIME_NOW : 2000000000}};

    SAME("utimens", SYS_utimensat, RIG_CWD, path_argument(true), rig_any(3) ? (uintptr_t)times : 0,
         rig_any(2) ? AT_SYMLINK_NOFOLLOW : 0);
}

static void do_truncate(void)
{
    SAME("truncate", SYS_truncate, path_argument(true),
         rig_any(20) == 0 ? UINTPTR_MAX : rig_any(DATA_MAX));
}

/* ---- What is done: attributes ---- */

static const char *any_attribute(void)
{
    static const char *const names[] = {"user.a", "user.b", "user.c", "other.x"};

    return names[rig_any(COUNT(names))];
}

static void do_setxattr(void)
{
    if (has_xattrs)
        SAME("setxattr", SYS_setxattr, path_argument(true), (uintptr_t)any_attribute(),
             (uintptr_t) "0123456789", rig_any(11), rig_any(4));
}

static void do_getxattr(void)
{
    const uintptr_t path = path_argument(true);
    const uintptr_t name = (uintptr_t)any_attribute();
    const size_t size = rig_any(14);
    char expected[16] = "";
    char value[16] = "";
    const uintptr_t kernel[6] = {path, name, (uintptr_t)expected, size};
    const uintptr_t model[6] = {path, name, (uintptr_t)value, size};

    if (!has_xattrs)
        return;
    compare("getxattr", SYS_getxattr, kernel, model);
    EXPECT_MEM(value, expected, sizeof(value));
}

static void do_removexattr(void)
{
    if (has_xattrs)
        SAME("removexattr", SYS_removexattr, path_argument(true), (uintptr_t)any_attribute());
}

/* ---- What is done: open files ---- */

static int any_flags(void)
{
    static const int access[] = {O_RDONLY, O_WRONLY, O_RDWR};
    static const int others[] = {O_CREAT,    O_CREAT | O_EXCL, O_TRUNC, O_APPEND,
                                 O_NOFOLLOW, O_PATH,           0,       0};
    int flags =
        access[rig_any(3)] | others[rig_any(COUNT(others))] | others[rig_any(COUNT(others))];

    if (rig_any(6) == 0 && !(flags & O_CREAT))
        flags |= O_DIRECTORY;
    if (rig_any(30) == 0 && has_temporary_files)
        flags = O_TMPFILE | O_RDWR;
    return flags | O_NONBLOCK | O_CLOEXEC; /* Or a FIFO would be waited for. */
}

/* Whether a path names a FIFO, which the model of a disk alone cannot open. */
static bool is_fifo(int dirfd, const char *path)
{
    struct stat about;

    return fstatat(dirfd, path, &about, 0) == 0 && S_ISFIFO(about.st_mode);
}

static void close_slot(unsigned slot)
{
    if (kernel_fds[slot] < 0)
        return;
    EXPECT_INT(close(kernel_fds[slot]), ==, 0);
    rig_shut(&rig, model_fds[slot]);
    kernel_fds[slot] = -1;
}

/* What both have opened, or not, is in that slot now. */
static void put_slot(unsigned slot, const char *what, int64_t expected, int64_t result)
{
    EXPECT_MSG(expected < 0 ? result == expected : result >= 0,
               "open %s: %lld, and the kernel says %lld", what, (long long)result,
               (long long)expected);
    kernel_fds[slot] = (int)expected;
    model_fds[slot] = (int)result;
}

static void do_open(void)
{
    const unsigned slot = rig_any(FILES_MAX);
    const char *path = any_path(false);
    const int flags = any_flags();
    int64_t expected;

    if (is_fifo(AT_FDCWD, path))
        return;
    close_slot(slot);
    expected = openat(AT_FDCWD, path, flags, 0640);
    put_slot(slot, path, expected < 0 ? -errno : expected,
             RIG_CALL(&rig, SYS_openat, RIG_CWD, (uintptr_t)path, (uintptr_t)flags, 0640));
}

/* Below a directory that is open, if the slot has one, and perhaps confined to it. */
static void do_openat2(void)
{
    static const uint64_t resolves[] = {0, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS,
                                        RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};
    const struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC,
                                 .resolve = resolves[rig_any(COUNT(resolves))]};
    const unsigned slot = rig_any(FILES_MAX);
    const unsigned at = rig_any(FILES_MAX);
    const bool goes_up = how.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT);
    const char *path = any_path(goes_up);
    int64_t expected;

    if (!has_openat2 || slot == at || kernel_fds[at] < 0 || is_fifo(kernel_fds[at], path))
        return;
    close_slot(slot);
    expected = syscall(SYS_openat2, kernel_fds[at], path, &how, sizeof(how));
    put_slot(slot, path, expected < 0 ? -errno : expected,
             RIG_CALL(&rig, SYS_openat2, (uintptr_t)model_fds[at], (uintptr_t)path, (uintptr_t)&how,
                      sizeof(how)));
}

static void do_close(void)
{
    close_slot(rig_any(FILES_MAX));
}

static char model_data[DATA_MAX];
static char kernel_data[DATA_MAX];

static void do_read(void)
{
    const unsigned slot = rig_any(FILES_MAX);
    const size_t size = rig_any(DATA_MAX);
    const off_t offset = rig_any(3) == 0 ? -1 : (off_t)rig_any(DATA_MAX);
    const struct iovec vector = {kernel_data, size};
    ssize_t expected;

    if (kernel_fds[slot] < 0)
        return;
    expected = preadv2(kernel_fds[slot], &vector, 1, offset, 0);
    if (expected < 0)
        expected = -errno;
    EXPECT_INT(rig_read(&rig, model_fds[slot], model_data, size, offset), ==, expected);
    if (expected > 0)
        EXPECT_MEM(model_data, kernel_data, (size_t)expected);
}

static void do_write(void)
{
    const unsigned slot = rig_any(FILES_MAX);
    const size_t size = rig_any(3) == 0 ? rig_any(DATA_MAX) : rig_any(100);
    const off_t offset = rig_any(2) == 0 ? -1 : (off_t)rig_any(3 * DATA_MAX);
    const struct iovec vector = {kernel_data, size};
    ssize_t expected;

    if (kernel_fds[slot] < 0)
        return;
    for (size_t i = 0; i < size; i++)
        kernel_data[i] = (char)('A' + (i * 7 + (size_t)offset) % 50);
    expected = pwritev2(kernel_fds[slot], &vector, 1, offset, 0);
    if (expected < 0)
        expected = -errno;
    EXPECT_INT(rig_write(&rig, model_fds[slot], kernel_data, size, offset), ==, expected);
}

/* The same call on both, with the descriptor of a slot as the first argument. */
static void compare_slot(const char *what, int number, uintptr_t a, uintptr_t b, uintptr_t c)
{
    const unsigned slot = rig_any(FILES_MAX);
    const uintptr_t kernel[6] = {(uintptr_t)kernel_fds[slot], a, b, c};
    const uintptr_t model[6] = {(uintptr_t)model_fds[slot], a, b, c};

    if (kernel_fds[slot] >= 0)
        compare(what, number, kernel, model);
}

/* Positions in directories mean nothing, and what is a hole is each file system's own affair. */
static void do_seek(void)
{
    const unsigned slot = rig_any(FILES_MAX);
    const int whence = rig_any(8) == 0 ? 77 : (int)rig_any(3);
    const off_t offset = (off_t)rig_any(DATA_MAX) - 1000;
    struct stat about;

    if (kernel_fds[slot] < 0 || fstat(kernel_fds[slot], &about) < 0 || S_ISDIR(about.st_mode))
        return;
    compare("lseek", SYS_lseek,
            (const uintptr_t[6]){(uintptr_t)kernel_fds[slot], (uintptr_t)offset, (uintptr_t)whence},
            (const uintptr_t[6]){(uintptr_t)model_fds[slot], (uintptr_t)offset, (uintptr_t)whence});
}

static void do_ftruncate(void)
{
    const unsigned most = rig_any(4) == 0 ? 250000 : 4 * DATA_MAX;

    compare_slot("ftruncate", SYS_ftruncate, rig_any(20) == 0 ? UINTPTR_MAX : rig_any(most), 0, 0);
}

/* Whether the file of a slot has that many bytes. */
static bool has_bytes(unsigned slot, uint64_t count)
{
    struct stat about;

    return kernel_fds[slot] >= 0 && fstat(kernel_fds[slot], &about) == 0 &&
           S_ISREG(about.st_mode) && (uint64_t)about.st_size >= count;
}

/*
 * Parts in the middle are taken out, or pushed in. Not every file system has blocks of 4,096 bytes:
 * take what all can do, and what they refuse leaves some with their file half changed.
 */
static void do_shift(int mode)
{
    const unsigned slot = rig_any(FILES_MAX);
    const uint64_t offset = rig_any(2) * UINT64_C(65536);
    const uint64_t length = (1 + rig_any(2)) * UINT64_C(65536);

    if (has_bytes(slot, offset + length + 1))
        compare("fallocate", SYS_fallocate,
                (const uintptr_t[6]){(uintptr_t)kernel_fds[slot], (uintptr_t)mode, offset, length},
                (const uintptr_t[6]){(uintptr_t)model_fds[slot], (uintptr_t)mode, offset, length});
}

static void do_fallocate(void)
{
    const unsigned mode = rig_any(COUNT(modes));

    if (!(fallocate_modes & 1u << mode))
        return;
    if (modes[mode] & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) {
        do_shift(modes[mode]);
    } else {
        compare_slot("fallocate", SYS_fallocate, (uintptr_t)modes[mode], rig_any(2 * DATA_MAX),
                     rig_any(DATA_MAX));
    }
}

static void do_fchmod(void)
{
    compare_slot("fchmod", SYS_fchmod, rig_any(2) ? 0640 : 0604, 0, 0);
}

static void do_flock(void)
{
    static const int operations[] = {LOCK_SH, LOCK_EX, LOCK_UN, 77};

    compare_slot("flock", SYS_flock, (uintptr_t)(operations[rig_any(4)] | LOCK_NB), 0, 0);
}

static void do_lock(void)
{
    static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK, 77};
    struct flock lock = {.l_type = types[rig_any(4)],
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)rig_any(50) - 1,
                         .l_len = (off_t)rig_any(30) - 5};

    compare_slot("fcntl", SYS_fcntl, F_OFD_SETLK, (uintptr_t)&lock, 0);
}

static void do_copy(void)
{
    const unsigned in = rig_any(FILES_MAX);
    const unsigned out = rig_any(FILES_MAX);
    off_t from[2] = {rig_any(DATA_MAX), 0};
    off_t to[2] = {rig_any(DATA_MAX), 0};
    const size_t size = rig_any(2 * DATA_MAX);

    if (kernel_fds[in] < 0 || kernel_fds[out] < 0)
        return;
    from[1] = from[0];
    to[1] = to[0];
    compare("copy_file_range", SYS_copy_file_range,
            (const uintptr_t[6]){(uintptr_t)kernel_fds[in], (uintptr_t)&from[0],
                                 (uintptr_t)kernel_fds[out], (uintptr_t)&to[0], size},
            (const uintptr_t[6]){(uintptr_t)model_fds[in], (uintptr_t)&from[1],
                                 (uintptr_t)model_fds[out], (uintptr_t)&to[1], size});
    EXPECT_INT(from[1], ==, from[0]);
    EXPECT_INT(to[1], ==, to[0]);
}

static void do_fsync(void)
{
    if (rig_any(100) == 0) /* It takes real time. */
        compare_slot("fsync", rig_any(2) ? SYS_fsync : SYS_fdatasync, 0, 0, 0);
}

/* ---- All of it ---- */

static void (*const actions[])(void) = {
    do_mkdir,     do_mkdir,     do_unlink,   do_rename,   do_rename,   do_link,        do_symlink,
    do_mknod,     do_chdir,     do_readlink, do_statx,    do_access,   do_chmod,       do_chown,
    do_utimens,   do_truncate,  do_setxattr, do_getxattr, do_setxattr, do_removexattr, do_open,
    do_open,      do_open,      do_open,     do_open,     do_openat2,  do_openat2,     do_close,
    do_read,      do_read,      do_write,    do_write,    do_write,    do_seek,        do_seek,
    do_ftruncate, do_fallocate, do_fchmod,   do_flock,    do_lock,     do_lock,        do_copy,
    do_fsync,
};

static void run_once(uint64_t seed)
{
    struct torc_sim_chaos chaos = rig_chaos();

    rig_set_dice(seed);
    rig_open(&rig, seed, &chaos);
    make_top();
    memset(kernel_fds, -1, sizeof(kernel_fds));
    for (unsigned i = 0; i < STEPS; i++)
        actions[rig_any(COUNT(actions))]();
    for (unsigned i = 0; i < FILES_MAX; i++)
        close_slot(i);
    go_to_top();
    tree_expect_same(&rig, ".");
    remove_top();
    rig_close(&rig);
}

static void run(void)
{
    umask(022);
    probe();
    for (unsigned i = 0; i < harness_scaled(30); i++)
        run_once(i);
    leave();
}

TEST(the_model_answers_as_the_kernel_does)
{
    if (!enter()) {
        leave();
        SKIP("nobody knows what this file system does");
    }
    run();
}

TEST(the_model_answers_as_the_kernel_does_to_who_has_no_rights)
{
    if (geteuid() != 0)
        SKIP("that is what the other test does");
    if (!enter()) {
        leave();
        SKIP("nobody knows what this file system does");
    }
    EXPECT_INT(chown(".", 65534, 65534), ==, 0);
    EXPECT_INT(setgroups(0, NULL), ==, 0);
    EXPECT_INT(setresgid(65534, 65534, 0), ==, 0);
    EXPECT_INT(setresuid(65534, 65534, 0), ==, 0);
    run();
    /* As it was, and open to whoever looks for leaks. */
    EXPECT_INT(setresuid(0, 0, 0), ==, 0);
    EXPECT_INT(setresgid(0, 0, 0), ==, 0);
    EXPECT_INT(prctl(PR_SET_DUMPABLE, 1), ==, 0);
}
