/* SPDX-License-Identifier: MIT */
/*
 * posix.h - system calls that tests make themselves. Where the simulated driver is tested, those on
 * its descriptors and files go to the simulated host; all others are what they are.
 *
 * Included before all else, by the compiler's command line: so that tests are written with the
 * names that everybody knows. The headers come first, whose declarations have these names too.
 */
#ifndef HARNESS_POSIX_H
#define HARNESS_POSIX_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Whether TORC_DRIVER=sim. */
bool harness_is_simulated(void);

int harness_close(int fd);
ssize_t harness_read(int fd, void *buffer, size_t size);
ssize_t harness_write(int fd, const void *buffer, size_t size);
int harness_socket(int family, int type, int protocol);
int harness_socketpair(int family, int type, int protocol, int fds[2]);
int harness_bind(int fd, const struct sockaddr *address, socklen_t length);
int harness_listen(int fd, int backlog);
int harness_connect(int fd, const struct sockaddr *address, socklen_t length);
int harness_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
int harness_shutdown(int fd, int how);
int harness_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int harness_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int harness_getsockopt(int fd, int level, int name, void *value, socklen_t *length);
ssize_t harness_send(int fd, const void *data, size_t size, int flags);
ssize_t harness_recv(int fd, void *data, size_t size, int flags);
int harness_pipe2(int fds[2], int flags);
int harness_eventfd(unsigned count, int flags);
int harness_dup(int fd);
int harness_dup2(int fd, int to);
int harness_fcntl(int fd, int command, ...);
int harness_ioctl(int fd, unsigned long request, void *arg);
int harness_poll(struct pollfd *fds, nfds_t count, int milliseconds);
int harness_open(const char *path, int flags, ...);
off_t harness_lseek(int fd, off_t offset, int whence);
int harness_ftruncate(int fd, off_t length);
int harness_fstat(int fd, struct stat *status);
int harness_stat(const char *path, struct stat *status);
int harness_lstat(const char *path, struct stat *status);
int harness_access(const char *path, int mode);
int harness_chmod(const char *path, mode_t mode);
int harness_mkdir(const char *path, mode_t mode);
int harness_mkfifo(const char *path, mode_t mode);
int harness_rmdir(const char *path);
int harness_unlink(const char *path);
int harness_rename(const char *from, const char *to);
int harness_symlink(const char *target, const char *path);
int harness_link(const char *from, const char *to);
int harness_chdir(const char *path);
char *harness_realpath(const char *path, char *resolved);
char *harness_mkdtemp(char *path);
int harness_mkostemp(char *path, int flags);
int harness_fstatat(int fd, const char *path, struct stat *status, int flags);
time_t harness_time(time_t *ret_time);
int harness_memfd_create(const char *name, unsigned flags);
int harness_kill(pid_t process, int number);
int harness_clock_gettime(clockid_t clock, struct timespec *time);
int harness_getrlimit(int resource, struct rlimit *limit);
int harness_setrlimit(int resource, const struct rlimit *limit);

#ifndef HARNESS_POSIX_REAL
#define close(fd)                               harness_close(fd)
#define read(fd, buffer, size)                  harness_read(fd, buffer, size)
#define write(fd, buffer, size)                 harness_write(fd, buffer, size)
#define socket(family, type, protocol)          harness_socket(family, type, protocol)
#define socketpair(family, type, protocol, fds) harness_socketpair(family, type, protocol, fds)
#define bind(fd, address, length)               harness_bind(fd, address, length)
#define listen(fd, backlog)                     harness_listen(fd, backlog)
#define connect(fd, address, length)            harness_connect(fd, address, length)
#define accept4(fd, address, length, flags)     harness_accept4(fd, address, length, flags)
#define shutdown(fd, how)                       harness_shutdown(fd, how)
#define getsockname(fd, address, length)        harness_getsockname(fd, address, length)
#define setsockopt(fd, level, name, value, length) \
    harness_setsockopt(fd, level, name, value, length)
#define getsockopt(fd, level, name, value, length) \
    harness_getsockopt(fd, level, name, value, length)
#define send(fd, data, size, flags)      harness_send(fd, data, size, flags)
#define recv(fd, data, size, flags)      harness_recv(fd, data, size, flags)
#define pipe2(fds, flags)                harness_pipe2(fds, flags)
#define eventfd(count, flags)            harness_eventfd(count, flags)
#define dup(fd)                          harness_dup(fd)
#define dup2(fd, to)                     harness_dup2(fd, to)
#define fcntl(...)                       harness_fcntl(__VA_ARGS__)
#define ioctl(fd, request, arg)          harness_ioctl(fd, request, arg)
#define poll(fds, count, milliseconds)   harness_poll(fds, count, milliseconds)
#define open(...)                        harness_open(__VA_ARGS__)
#define lseek(fd, offset, whence)        harness_lseek(fd, offset, whence)
#define ftruncate(fd, length)            harness_ftruncate(fd, length)
#define fstat(fd, status)                harness_fstat(fd, status)
#define stat(path, status)               harness_stat(path, status)
#define lstat(path, status)              harness_lstat(path, status)
#define access(path, mode)               harness_access(path, mode)
#define chmod(path, mode)                harness_chmod(path, mode)
#define mkdir(path, mode)                harness_mkdir(path, mode)
#define mkfifo(path, mode)               harness_mkfifo(path, mode)
#define rmdir(path)                      harness_rmdir(path)
#define unlink(path)                     harness_unlink(path)
#define rename(from, to)                 harness_rename(from, to)
#define symlink(target, path)            harness_symlink(target, path)
#define link(from, to)                   harness_link(from, to)
#define chdir(path)                      harness_chdir(path)
#define realpath(path, resolved)         harness_realpath(path, resolved)
#define mkdtemp(path)                    harness_mkdtemp(path)
#define memfd_create(name, flags)        harness_memfd_create(name, flags)
#define mkostemp(path, flags)            harness_mkostemp(path, flags)
#define fstatat(fd, path, status, flags) harness_fstatat(fd, path, status, flags)
#define time(ret_time)                   harness_time(ret_time)
#define kill(process, number)            harness_kill(process, number)
#define clock_gettime(clock, time)       harness_clock_gettime(clock, time)
#define getrlimit(resource, limit)       harness_getrlimit(resource, limit)
#define setrlimit(resource, limit)       harness_setrlimit(resource, limit)
#endif

#endif
