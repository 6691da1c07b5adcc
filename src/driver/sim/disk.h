/* SPDX-License-Identifier: MIT */
/*
 * disk.h - the disk of a simulated host: a file system as Linux has them, of one process.
 *
 * All calls have their whole effect at once; how long that takes is the driver's affair, for which
 * torc__sim_disk_duration() gives the number. Results are those of the system calls, or a negative
 * errno.
 *
 * A disk outlives its host's crashes. What it has then is what was synchronised, and of the rest
 * what chance leaves (crash_lose_rate, crash_tear_rate of the chaos):
 *   - fsync() of a file makes its data and attributes durable, and not its name;
 *   - fsync() of a directory makes durable what happened to names in it;
 *   - other data are lost, kept or torn by sectors of 512 bytes; the size is an old or a new one;
 *   - other changes of names are lost, or kept up to some point in each directory; a rename is
 *     never half done. With disk_any_order, each may be lost without those after it.
 *
 * There are "/", "/tmp" (1777), "/dev" with null, zero and full, and some of /proc.
 */
#ifndef DRIVER_SIM_DISK_H
#define DRIVER_SIM_DISK_H

#include "driver/sim/host.h"
#include <stdint.h>
#include <sys/types.h>

struct io_uring_sqe;

/* Give the host an empty disk, and a process that runs as this one does. 0. */
int torc__sim_disk_create(struct sim_host *host);

/* Free it; no file of it is open any more. */
void torc__sim_disk_destroy(struct sim_host *host);

/* The power is lost: all that is not durable goes, or not. The process is a new one. */
void torc__sim_disk_crash(struct sim_host *host);

/* The process has ended, the machine goes on: working directory and umask are those of a new one.
 */
void torc__sim_disk_new_process(struct sim_host *host);

/* Write back all there is, as sync(2). Never fails. */
void torc__sim_disk_sync(struct sim_host *host);

/* Mount it anew, read-only or not. */
void torc__sim_disk_set_read_only(struct sim_host *host, bool is_read_only);

/*
 * Carry out an operation on files or names; -EINVAL if it is another. `file` is what sqe->fd was
 * when the operation began, whatever that number stands for by now; not looked at where sqe->fd is
 * the beginning of a path.
 */
int torc__sim_disk_execute(struct sim_host *host, struct sim_file *file,
                           const struct io_uring_sqe *sqe);

/*
 * A system call (SYS_ ...) on files or names, whose descriptors are simulated ones; -ENOSYS if it
 * is another.
 */
int64_t torc__sim_disk_call(struct sim_host *host, int number, const uintptr_t arguments[6]);

/* realpath(3). The length, without the final NUL; -ERANGE if `size` is too small. */
ssize_t torc__sim_disk_realpath(struct sim_host *host, const char *path, char *resolved,
                                size_t size);

/*
 * inotify_init1(2), with IN_NONBLOCK or without; the file is the caller's. And the calls on it,
 * with paths that begin where the process works: a number, or an error.
 */
int torc__sim_inotify_open(struct sim_host *host, int flags, struct sim_file **ret_file);
int torc__sim_inotify_add(struct sim_file *file, const char *path, uint32_t mask);
int torc__sim_inotify_remove(struct sim_file *file, int number);

/* How long an operation takes here, in ns; 0 if it is none of files. Throws the dice. */
uint64_t torc__sim_disk_duration(struct sim_host *host, struct sim_file *file,
                                 const struct io_uring_sqe *sqe);

#endif
