/* SPDX-License-Identifier: MIT */
/*
 * posix.c - system calls of tests, which go to the simulated host if one is tested.
 *
 * A call on a descriptor goes where the descriptor has come from: those of simulated hosts have
 * numbers that no real one has. A call that opens or names something goes where the test runs.
 */
#define HARNESS_POSIX_REAL
#include "harness/posix.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <torc/sim.h>

/* The numbers of simulated descriptors begin there: see src/driver/sim/host.h. */
#define SIMULATED_FIRST (1 << 20)

static bool is_simulated(int fd)
{
    return fd >= SIMULATED_FIRST;
}

/* As the C library has it: -1 and errno. */
static int64_t finish(int64_t result)
{
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

#define A(argument) ((uintptr_t)(argument))
#define SIM(...)    finish(torc_sim_syscall(__VA_ARGS__, A(0), A(0), A(0), A(0), A(0), A(0)))
/* Where something is simulated, do that; otherwise what is real. */
#define EITHER(simulated, sim, real) ((simulated) ? SIM sim : (real))

/* ---- Descriptors ---- */

int harness_close(int fd)
{
    return (int)EITHER(is_simulated(fd), (SYS_close, A(fd)), close(fd));
}

ssize_t harness_read(int fd, void *buffer, size_t size)
{
    return EITHER(is_simulated(fd), (SYS_read, A(fd), A(buffer), A(size)), read(fd, buffer, size));
}

ssize_t harness_write(int fd, const void *buffer, size_t size)
{
    return EITHER(is_simulated(fd), (SYS_write, A(fd), A(buffer), A(size)),
                  write(fd, buffer, size));
}

int harness_pipe2(int fds[2], int flags)
{
    return (int)EITHER(harness_is_simulated(), (SYS_pipe2, A(fds), A(flags)), pipe2(fds, flags));
}

int harness_eventfd(unsigned count, int flags)
{
    return (int)EITHER(harness_is_simulated(), (SYS_eventfd2, A(count), A(flags)),
                       eventfd(count, flags));
}

int harness_dup(int fd)
{
    const bool is_standard = harness_is_simulated() && fd >= 0 && fd <= STDERR_FILENO;

    return (int)EITHER(is_simulated(fd) || is_standard, (SYS_dup, A(fd)), dup(fd));
}

int harness_dup2(int fd, int to)
{
    return (int)EITHER(is_simulated(fd) && fd != to, (SYS_dup3, A(fd), A(to), A(0)), dup2(fd, to));
}

int harness_fcntl(int fd, int command, ...)
{
    va_list list;
    uintptr_t argument;

    va_start(list, command);
    argument = va_arg(list, uintptr_t); /* Of either size, in a register of its own. */
    va_end(list);
    return (int)EITHER(is_simulated(fd), (SYS_fcntl, A(fd), A(command), argument),
                       fcntl(fd, command, argument));
}

int harness_ioctl(int fd, unsigned long request, void *arg)
{
    return (int)EITHER(is_simulated(fd), (SYS_ioctl, A(fd), A(request), A(arg)),
                       ioctl(fd, request, arg));
}

int harness_poll(struct pollfd *fds, nfds_t count, int milliseconds)
{
    const struct timespec time = {.tv_sec = milliseconds / 1000,
                                  .tv_nsec = milliseconds % 1000 * 1000000L};

    return (int)EITHER(
        is_simulated(fds[0].fd),
        (SYS_ppoll, A(fds), A(count), A(milliseconds < 0 ? NULL : &time), A(0), A(0)),
        poll(fds, count, milliseconds));
}

/* ---- Sockets ---- */

int harness_socket(int family, int type, int protocol)
{
    return (int)EITHER(harness_is_simulated(), (SYS_socket, A(family), A(type), A(protocol)),
                       socket(family, type, protocol));
}

int harness_socketpair(int family, int type, int protocol, int fds[2])
{
    return (int)EITHER(harness_is_simulated(),
                       (SYS_socketpair, A(family), A(type), A(protocol), A(fds)),
                       socketpair(family, type, protocol, fds));
}

int harness_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return (int)EITHER(is_simulated(fd), (SYS_bind, A(fd), A(address), A(length)),
                       bind(fd, address, length));
}

int harness_listen(int fd, int backlog)
{
    return (int)EITHER(is_simulated(fd), (SYS_listen, A(fd), A(backlog)), listen(fd, backlog));
}

int harness_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return (int)EITHER(is_simulated(fd), (SYS_connect, A(fd), A(address), A(length)),
                       connect(fd, address, length));
}

int harness_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return (int)EITHER(is_simulated(fd), (SYS_accept4, A(fd), A(address), A(length), A(flags)),
                       accept4(fd, address, length, flags));
}

int harness_shutdown(int fd, int how)
{
    return (int)EITHER(is_simulated(fd), (SYS_shutdown, A(fd), A(how)), shutdown(fd, how));
}

int harness_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    return (int)EITHER(is_simulated(fd), (SYS_getsockname, A(fd), A(address), A(length)),
                       getsockname(fd, address, length));
}

int harness_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    return (int)EITHER(is_simulated(fd),
                       (SYS_setsockopt, A(fd), A(level), A(name), A(value), A(length)),
                       setsockopt(fd, level, name, value, length));
}

int harness_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    return (int)EITHER(is_simulated(fd),
                       (SYS_getsockopt, A(fd), A(level), A(name), A(value), A(length)),
                       getsockopt(fd, level, name, value, length));
}

ssize_t harness_send(int fd, const void *data, size_t size, int flags)
{
    return EITHER(is_simulated(fd), (SYS_sendto, A(fd), A(data), A(size), A(flags), A(0), A(0)),
                  send(fd, data, size, flags));
}

ssize_t harness_recv(int fd, void *data, size_t size, int flags)
{
    return EITHER(is_simulated(fd), (SYS_recvfrom, A(fd), A(data), A(size), A(flags), A(0), A(0)),
                  recv(fd, data, size, flags));
}

/* ---- Files ---- */

int harness_open(const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;

    va_start(list, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return (int)EITHER(harness_is_simulated(),
                       (SYS_openat, A(AT_FDCWD), A(path), A(flags), A(mode)),
                       open(path, flags, mode));
}

off_t harness_lseek(int fd, off_t offset, int whence)
{
    return EITHER(is_simulated(fd), (SYS_lseek, A(fd), A(offset), A(whence)),
                  lseek(fd, offset, whence));
}

int harness_ftruncate(int fd, off_t length)
{
    return (int)EITHER(is_simulated(fd), (SYS_ftruncate, A(fd), A(length)), ftruncate(fd, length));
}

static void from_statx(const struct statx *about, struct stat *status)
{
    memset(status, 0, sizeof(*status));
    status->st_dev = makedev(about->stx_dev_major, about->stx_dev_minor);
    status->st_rdev = makedev(about->stx_rdev_major, about->stx_rdev_minor);
    status->st_blksize = (blksize_t)about->stx_blksize;
    status->st_mode = about->stx_mode;
    status->st_ino = about->stx_ino;
    status->st_nlink = about->stx_nlink;
    status->st_uid = about->stx_uid;
    status->st_gid = about->stx_gid;
    status->st_size = (off_t)about->stx_size;
    status->st_blocks = (blkcnt_t)about->stx_blocks;
    status->st_mtim = (struct timespec){about->stx_mtime.tv_sec, about->stx_mtime.tv_nsec};
    status->st_atim = (struct timespec){about->stx_atime.tv_sec, about->stx_atime.tv_nsec};
    status->st_ctim = (struct timespec){about->stx_ctime.tv_sec, about->stx_ctime.tv_nsec};
}

static int stat_simulated(int fd, const char *path, int flags, struct stat *status)
{
    struct statx about;
    const int result =
        (int)SIM(SYS_statx, A(fd), A(path), A(flags), A(STATX_BASIC_STATS), A(&about));

    if (result == 0)
        from_statx(&about, status);
    return result;
}

int harness_fstat(int fd, struct stat *status)
{
    return is_simulated(fd) ? stat_simulated(fd, "", AT_EMPTY_PATH, status) : fstat(fd, status);
}

int harness_stat(const char *path, struct stat *status)
{
    return harness_is_simulated() ? stat_simulated(AT_FDCWD, path, 0, status) : stat(path, status);
}

int harness_lstat(const char *path, struct stat *status)
{
    return harness_is_simulated() ? stat_simulated(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, status)
                                  : lstat(path, status);
}

int harness_fstatat(int fd, const char *path, struct stat *status, int flags)
{
    return harness_is_simulated() ? stat_simulated(fd, path, flags, status)
                                  : fstatat(fd, path, status, flags);
}

int harness_access(const char *path, int mode)
{
    return (int)EITHER(harness_is_simulated(), (SYS_faccessat, A(AT_FDCWD), A(path), A(mode)),
                       access(path, mode));
}

int harness_chmod(const char *path, mode_t mode)
{
    return (int)EITHER(harness_is_simulated(), (SYS_fchmodat, A(AT_FDCWD), A(path), A(mode)),
                       chmod(path, mode));
}

int harness_mkdir(const char *path, mode_t mode)
{
    return (int)EITHER(harness_is_simulated(), (SYS_mkdirat, A(AT_FDCWD), A(path), A(mode)),
                       mkdir(path, mode));
}

int harness_mkfifo(const char *path, mode_t mode)
{
    return (int)EITHER(harness_is_simulated(),
                       (SYS_mknodat, A(AT_FDCWD), A(path), A(mode | S_IFIFO), A(0)),
                       mkfifo(path, mode));
}

int harness_rmdir(const char *path)
{
    return (int)EITHER(harness_is_simulated(),
                       (SYS_unlinkat, A(AT_FDCWD), A(path), A(AT_REMOVEDIR)), rmdir(path));
}

int harness_unlink(const char *path)
{
    return (int)EITHER(harness_is_simulated(), (SYS_unlinkat, A(AT_FDCWD), A(path), A(0)),
                       unlink(path));
}

int harness_rename(const char *from, const char *to)
{
    return (int)EITHER(harness_is_simulated(),
                       (SYS_renameat2, A(AT_FDCWD), A(from), A(AT_FDCWD), A(to), A(0)),
                       rename(from, to));
}

int harness_symlink(const char *target, const char *path)
{
    return (int)EITHER(harness_is_simulated(), (SYS_symlinkat, A(target), A(AT_FDCWD), A(path)),
                       symlink(target, path));
}

int harness_link(const char *from, const char *to)
{
    return (int)EITHER(harness_is_simulated(),
                       (SYS_linkat, A(AT_FDCWD), A(from), A(AT_FDCWD), A(to), A(0)),
                       link(from, to));
}

int harness_chdir(const char *path)
{
    return (int)EITHER(harness_is_simulated(), (SYS_chdir, A(path)), chdir(path));
}

/* Of what is no link, and stands in the working directory. */
char *harness_realpath(const char *path, char *resolved)
{
    size_t length;

    if (!harness_is_simulated())
        return realpath(path, resolved);
    if (SIM(SYS_getcwd, A(resolved), A(PATH_MAX)) < 0)
        return NULL;
    length = strlen(resolved);
    snprintf(resolved + length, PATH_MAX - length, "/%s", path);
    return resolved;
}

/* In a simulation nobody else makes directories: any number will do. */
char *harness_mkdtemp(char *path)
{
    static unsigned number;

    if (!harness_is_simulated())
        return mkdtemp(path);
    snprintf(path + strlen(path) - 6, 7, "%06u", ++number);
    return harness_mkdir(path, 0700) == 0 ? path : NULL;
}

int harness_mkostemp(char *path, int flags)
{
    static unsigned number;

    if (!harness_is_simulated())
        return mkostemp(path, flags);
    snprintf(path + strlen(path) - 6, 7, "%06u", ++number);
    return harness_open(path, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
}

int harness_memfd_create(const char *name, unsigned flags)
{
    return harness_is_simulated() ? harness_open("/tmp", O_TMPFILE | O_RDWR, 0600)
                                  : memfd_create(name, flags);
}

/* ---- Others ---- */

int harness_clock_gettime(clockid_t clock, struct timespec *time)
{
    return (int)EITHER(harness_is_simulated(), (SYS_clock_gettime, A(clock), A(time)),
                       clock_gettime(clock, time));
}

/* A signal to the process may hit any thread, of which only this one is simulated. */
int harness_kill(pid_t process, int number)
{
    return harness_is_simulated() && process == getpid() ? raise(number) : kill(process, number);
}

time_t harness_time(time_t *ret_time)
{
    struct timespec now;

    harness_clock_gettime(CLOCK_REALTIME, &now);
    if (ret_time != NULL)
        *ret_time = now.tv_sec;
    return now.tv_sec;
}

static bool is_simulated_limit(int resource)
{
    return harness_is_simulated() && (resource == RLIMIT_NOFILE || resource == RLIMIT_FSIZE);
}

int harness_getrlimit(int resource, struct rlimit *limit)
{
    return (int)EITHER(is_simulated_limit(resource),
                       (SYS_prlimit64, A(0), A(resource), A(0), A(limit)),
                       getrlimit((__rlimit_resource_t)resource, limit));
}

int harness_setrlimit(int resource, const struct rlimit *limit)
{
    return (int)EITHER(is_simulated_limit(resource),
                       (SYS_prlimit64, A(0), A(resource), A(limit), A(0)),
                       setrlimit((__rlimit_resource_t)resource, limit));
}
