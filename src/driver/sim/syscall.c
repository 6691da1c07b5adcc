/* SPDX-License-Identifier: MIT */
/*
 * syscall.c - system calls of simulated processes.
 *
 * A table of small functions, each of which knows where its arguments stand. What acts on files or
 * names, and is in no table, is the disk's.
 */
#include "driver/sim/syscall.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "driver/sim/context.h"
#include "driver/sim/disk.h"
#include "driver/sim/file.h"
#include "driver/sim/net.h"
#include "driver/sim/open.h"
#include "driver/sim/watch_set.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

/* What a call takes: so that a loop of calls comes to an end of what it waits for. */
#define CALL_NS 200u

typedef int64_t call_fn(struct sim_host *host, const uintptr_t a[6]);

static void *pointer(uintptr_t argument)
{
    return (void *)argument; /* It is one, of the caller's memory. */
}

/* ---- Waiting ---- */

static void noticed(struct sim_waiter *waiter, uint32_t events)
{
    (void)events;
    torc__sim_wake_on(waiter->file->host->world, waiter, true);
}

/* False if the time has come before the file was ready. */
static bool wait_for(struct sim_file *file, uint32_t events, uint64_t until_ns)
{
    struct sim_world *world = file->host->world;
    struct sim_waiter waiter;
    bool in_time = true;

    torc__sim_hold(world, file);
    torc__sim_wait_begin(&waiter, file, events, noticed);
    world->running->waiter = &waiter;
    while (in_time && !(torc__sim_file_poll(file) & waiter.events))
        in_time = torc__sim_wait_on(world, &waiter, until_ns);
    world->running->waiter = NULL;
    torc__sim_wait_end(&waiter);
    return in_time;
}

/* Whether a call on a file that has given `result` is to be made again, for which it has waited. */
static bool is_to_wait(struct sim_file *file, int64_t result, int flags, uint32_t events)
{
    if (result != -EAGAIN || (flags & MSG_DONTWAIT) || (file->flags & O_NONBLOCK))
        return false;
    (void)wait_for(file, events, UINT64_MAX);
    return true;
}

/* ---- Bytes ---- */

static int64_t move(struct sim_host *host, int fd, const struct iovec *vector, size_t count,
                    off_t offset, bool is_write)
{
    struct sim_file *file = torc__sim_fd_file(host, fd);
    ssize_t (*call)(struct sim_file *, const struct iovec *, size_t, off_t, int);
    int64_t result;

    if (file == NULL || (file->flags & O_PATH) ||
        (file->flags & O_ACCMODE) == (is_write ? O_RDONLY : O_WRONLY))
        return -EBADF;
    if (offset != -1 && !(file->ops->traits & SIM_SEEKABLE))
        return -ESPIPE;
    call = is_write ? file->ops->write : file->ops->read;
    if (call == NULL)
        return -EINVAL;
    do
        result = call(file, vector, count, offset, 0);
    while (is_to_wait(file, result, 0, is_write ? POLLOUT : POLLIN));
    return result;
}

static int64_t do_read(struct sim_host *host, const uintptr_t a[6])
{
    const struct iovec piece = {pointer(a[1]), a[2]};

    return move(host, (int)a[0], &piece, 1, -1, false);
}

static int64_t do_write(struct sim_host *host, const uintptr_t a[6])
{
    const struct iovec piece = {pointer(a[1]), a[2]};

    return move(host, (int)a[0], &piece, 1, -1, true);
}

static int64_t do_pread(struct sim_host *host, const uintptr_t a[6])
{
    const struct iovec piece = {pointer(a[1]), a[2]};

    return (off_t)a[3] < 0 ? -EINVAL : move(host, (int)a[0], &piece, 1, (off_t)a[3], false);
}

static int64_t do_pwrite(struct sim_host *host, const uintptr_t a[6])
{
    const struct iovec piece = {pointer(a[1]), a[2]};

    return (off_t)a[3] < 0 ? -EINVAL : move(host, (int)a[0], &piece, 1, (off_t)a[3], true);
}

static int64_t do_readv(struct sim_host *host, const uintptr_t a[6])
{
    return move(host, (int)a[0], pointer(a[1]), a[2], -1, false);
}

static int64_t do_writev(struct sim_host *host, const uintptr_t a[6])
{
    return move(host, (int)a[0], pointer(a[1]), a[2], -1, true);
}

/* ---- Sockets ---- */

/* The socket of a descriptor; NULL and an error if it is none. */
static struct sim_file *socket_of(struct sim_host *host, uintptr_t fd, int64_t *ret_error)
{
    struct sim_file *file = torc__sim_fd_file(host, (int)fd);

    *ret_error = file == NULL ? -EBADF : -ENOTSOCK;
    return file != NULL && (file->ops->traits & SIM_SOCKET) ? file : NULL;
}

static int64_t do_socket(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *file;
    int result;

    if (!torc__sim_fd_is_free(host))
        return -EMFILE;
    result = torc__sim_socket(host, (int)a[0], (int)a[1] & ~SOCK_CLOEXEC, (int)a[2], &file);
    return result < 0 ? result : torc__sim_install(host, file);
}

static int64_t do_socketpair(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *files[2];
    int result;

    if (a[0] != AF_UNIX)
        return -EOPNOTSUPP;
    result = torc__sim_socket_pair(host, (int)a[1] & ~SOCK_CLOEXEC, files);
    return result < 0 ? result : torc__sim_install_two(host, files, pointer(a[3]));
}

static int64_t do_bind(struct sim_host *host, const uintptr_t a[6])
{
    int64_t error;
    struct sim_file *file = socket_of(host, a[0], &error);

    return file != NULL ? file->ops->bind(file, pointer(a[1]), (socklen_t)a[2]) : error;
}

static int64_t do_listen(struct sim_host *host, const uintptr_t a[6])
{
    int64_t error;
    struct sim_file *file = socket_of(host, a[0], &error);

    if (file != NULL && file->ops->listen == NULL)
        return -EOPNOTSUPP;
    return file != NULL ? file->ops->listen(file, (int)a[1]) : error;
}

static int64_t do_connect(struct sim_host *host, const uintptr_t a[6])
{
    int64_t error;
    struct sim_file *file = socket_of(host, a[0], &error);
    bool has_begun = false;
    int64_t result;

    if (file == NULL)
        return error;
    for (;;) {
        result = file->ops->connect(file, pointer(a[1]), (socklen_t)a[2]);
        if (result == -EISCONN && has_begun)
            return 0;
        if ((result != -EINPROGRESS && result != -EALREADY && result != -EAGAIN) ||
            (file->flags & O_NONBLOCK))
            return result;
        has_begun = result != -EAGAIN;
        (void)wait_for(file, POLLOUT, UINT64_MAX);
    }
}

static int64_t accept_from(struct sim_host *host, const uintptr_t a[6], int flags)
{
    int64_t error;
    struct sim_file *file = socket_of(host, a[0], &error);
    struct sim_file *accepted;
    int64_t result;

    if (file == NULL)
        return error;
    if (file->ops->accept == NULL)
        return -EOPNOTSUPP;
    if (!torc__sim_fd_is_free(host))
        return -EMFILE;
    do
        result =
            file->ops->accept(file, pointer(a[1]), pointer(a[2]), flags & ~SOCK_CLOEXEC, &accepted);
    while (is_to_wait(file, result, 0, POLLIN));
    return result < 0 ? result : torc__sim_install(host, accepted);
}

static int64_t do_accept(struct sim_host *host, const uintptr_t a[6])
{
    return accept_from(host, a, 0);
}

static int64_t do_accept4(struct sim_host *host, const uintptr_t a[6])
{
    return accept_from(host, a, (int)a[3]);
}

static int64_t do_shutdown(struct sim_host *host, const uintptr_t a[6])
{
    int64_t error;
    struct sim_file *file = socket_of(host, a[0], &error);

    return file != NULL ? file->ops->shutdown(file, (int)a[1]) : error;
}

static int64_t do_getsockname(struct sim_host *host, const uintptr_t a[6])
{
    int64_t error;
    struct sim_file *file = socket_of(host, a[0], &error);

    return file != NULL ? file->ops->local(file, pointer(a[1]), pointer(a[2])) : error;
}

static int64_t do_getpeername(struct sim_host *host, const uintptr_t a[6])
{
    int64_t error;
    struct sim_file *file = socket_of(host, a[0], &error);

    return file != NULL ? file->ops->peer(file, pointer(a[1]), pointer(a[2])) : error;
}

static int64_t do_setsockopt(struct sim_host *host, const uintptr_t a[6])
{
    int64_t error;
    struct sim_file *file = socket_of(host, a[0], &error);

    return file != NULL
               ? file->ops->set_option(file, (int)a[1], (int)a[2], pointer(a[3]), (socklen_t)a[4])
               : error;
}

static int64_t do_getsockopt(struct sim_host *host, const uintptr_t a[6])
{
    int64_t error;
    struct sim_file *file = socket_of(host, a[0], &error);

    return file != NULL
               ? file->ops->get_option(file, (int)a[1], (int)a[2], pointer(a[3]), pointer(a[4]))
               : error;
}

static int64_t send_message(struct sim_host *host, uintptr_t fd, const struct msghdr *message,
                            int flags)
{
    int64_t error;
    struct sim_file *file = socket_of(host, fd, &error);
    int64_t result;

    if (file == NULL)
        return error;
    do
        result = file->ops->sendmsg(file, message, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    while (is_to_wait(file, result, flags, POLLOUT));
    return result;
}

static int64_t receive_message(struct sim_host *host, uintptr_t fd, struct msghdr *message,
                               int flags)
{
    const int model_flags = (flags | MSG_DONTWAIT) & ~(MSG_CMSG_CLOEXEC | MSG_WAITALL);
    int64_t error;
    struct sim_file *file = socket_of(host, fd, &error);
    int64_t result;

    if (file == NULL)
        return error;
    do
        result = file->ops->recvmsg(file, message, model_flags);
    while (is_to_wait(file, result, flags, flags & MSG_OOB ? POLLPRI : POLLIN));
    return result;
}

static int64_t do_sendmsg(struct sim_host *host, const uintptr_t a[6])
{
    return send_message(host, a[0], pointer(a[1]), (int)a[2]);
}

static int64_t do_recvmsg(struct sim_host *host, const uintptr_t a[6])
{
    return receive_message(host, a[0], pointer(a[1]), (int)a[2]);
}

static int64_t do_sendto(struct sim_host *host, const uintptr_t a[6])
{
    struct iovec piece = {pointer(a[1]), a[2]};
    const struct msghdr message = {.msg_name = pointer(a[4]),
                                   .msg_namelen = a[4] != 0 ? (socklen_t)a[5] : 0,
                                   .msg_iov = &piece,
                                   .msg_iovlen = 1};

    return send_message(host, a[0], &message, (int)a[3]);
}

static int64_t do_recvfrom(struct sim_host *host, const uintptr_t a[6])
{
    struct iovec piece = {pointer(a[1]), a[2]};
    socklen_t *length = pointer(a[5]);
    struct msghdr message = {.msg_name = pointer(a[4]),
                             .msg_namelen = length != NULL ? *length : 0,
                             .msg_iov = &piece,
                             .msg_iovlen = 1};
    const int64_t result = receive_message(host, a[0], &message, (int)a[3]);

    if (result >= 0 && length != NULL)
        *length = message.msg_namelen;
    return result;
}

/* ---- Descriptors ---- */

static int64_t do_close(struct sim_host *host, const uintptr_t a[6])
{
    return torc__sim_fd_close(host, (int)a[0]);
}

static int64_t do_pipe2(struct sim_host *host, const uintptr_t a[6])
{
    return torc__sim_open_pipe(host, (int)a[1], pointer(a[0]));
}

static int64_t do_eventfd2(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *file;
    const int result = torc__sim_eventfd_open(host, (unsigned)a[0], (int)a[1] & ~O_CLOEXEC, &file);

    return result < 0 ? result : torc__sim_install(host, file);
}

static int64_t do_dup(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *file = torc__sim_fd_file(host, (int)a[0]);

    return file != NULL ? torc__sim_install(host, torc__sim_file_acquire(file)) : -EBADF;
}

static int64_t do_dup3(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *file = torc__sim_fd_file(host, (int)a[0]);

    if (file == NULL)
        return -EBADF;
    return a[0] == a[1] ? -EINVAL
                        : torc__sim_fd_replace(host, (int)a[1], torc__sim_file_acquire(file));
}

static int64_t do_ioctl(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *file = torc__sim_fd_file(host, (int)a[0]);

    if (file == NULL)
        return -EBADF;
    if (a[1] == FIONBIO) {
        file->flags = *(int *)pointer(a[2]) ? file->flags | O_NONBLOCK : file->flags & ~O_NONBLOCK;
        return 0;
    }
    return file->ops->ioctl != NULL ? file->ops->ioctl(file, a[1], pointer(a[2])) : -ENOTTY;
}

/* F_SETPIPE_SZ and F_GETPIPE_SZ of a pipe. */
static int64_t pipe_size(struct sim_file *file, int command, int size)
{
    if (!(file->ops->traits & SIM_PIPE) || file->ops->ioctl == NULL)
        return -EBADF;
    return file->ops->ioctl(file, (unsigned long)command, &size);
}

/* What programs may set of a file's flags. */
#define SETTABLE_FLAGS (O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME)

static int64_t do_fcntl(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *file = torc__sim_fd_file(host, (int)a[0]);

    if (file == NULL)
        return -EBADF;
    switch ((int)a[1]) {
    case F_GETFL:
        return file->flags;
    case F_SETFL:
        file->flags = (file->flags & ~SETTABLE_FLAGS) | ((int)a[2] & SETTABLE_FLAGS);
        return 0;
    case F_GETFD:
        return FD_CLOEXEC; /* Nothing simulated outlives an exec(). */
    case F_SETFD:
        return 0;
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return do_dup(host, a);
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
        return pipe_size(file, (int)a[1], (int)a[2]);
    default:
        return torc__sim_disk_call(host, SYS_fcntl, a);
    }
}

static int64_t do_splice(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *in = torc__sim_fd_file(host, (int)a[0]);
    struct sim_file *out = torc__sim_fd_file(host, (int)a[2]);
    off_t none = -1;
    off_t also_none = -1;
    off_t *in_offset = a[1] != 0 ? pointer(a[1]) : &none;
    off_t *out_offset = a[3] != 0 ? pointer(a[3]) : &also_none;

    if (in == NULL || out == NULL)
        return -EBADF;
    return torc__sim_splice(in, in_offset, out, out_offset, a[4], (unsigned)a[5]);
}

/* ---- Readiness ---- */

static uint64_t to_ns(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * NS_PER_SECOND + (uint64_t)time->tv_nsec;
}

static unsigned ready_count(struct sim_host *host, struct pollfd *polls, size_t count)
{
    unsigned ready = 0;

    for (size_t i = 0; i < count; i++) {
        struct sim_file *file = torc__sim_fd_file(host, polls[i].fd);
        const uint32_t wanted = (uint32_t)(uint16_t)polls[i].events | POLLERR | POLLHUP;

        polls[i].revents = 0;
        if (polls[i].fd < 0)
            continue;
        polls[i].revents = file == NULL ? POLLNVAL : (short)(torc__sim_file_poll(file) & wanted);
        ready += polls[i].revents != 0;
    }
    return ready;
}

/* Of several at once nobody waits here: programs that do have torc_poll(). */
static int64_t poll_until(struct sim_host *host, struct pollfd *polls, size_t count,
                          uint64_t until_ns)
{
    unsigned ready = ready_count(host, polls, count);
    struct sim_file *file;

    if (ready > 0 || until_ns <= host->world->now_ns)
        return ready;
    if (count != 1)
        return -ENOSYS;
    file = torc__sim_fd_file(host, polls[0].fd);
    if (file == NULL) { /* A descriptor below 0, with which one only sleeps. */
        torc__sim_wait(host->world, until_ns, false);
        return 0;
    }
    (void)wait_for(file, (uint32_t)(uint16_t)polls[0].events, until_ns);
    return ready_count(host, polls, count);
}

static int64_t do_ppoll(struct sim_host *host, const uintptr_t a[6])
{
    const struct timespec *time = pointer(a[2]);
    const uint64_t until_ns =
        time == NULL ? UINT64_MAX : torc__time_add(host->world->now_ns, to_ns(time));

    return poll_until(host, pointer(a[0]), a[1], until_ns);
}

static int64_t do_epoll_create1(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *file;
    const int result = torc__sim_watch_open(host, &file);

    (void)a;
    return result < 0 ? result : torc__sim_install(host, file);
}

static int64_t do_epoll_ctl(struct sim_host *host, const uintptr_t a[6])
{
    struct sim_file *set = torc__sim_fd_file(host, (int)a[0]);

    return set != NULL ? torc__sim_watch_control(set, (int)a[1], (int)a[2], pointer(a[3])) : -EBADF;
}

/* ---- Clocks and chance ---- */

static int64_t do_clock_gettime(struct sim_host *host, const uintptr_t a[6])
{
    struct timespec *time = pointer(a[1]);
    const bool is_real = a[0] == CLOCK_REALTIME || a[0] == CLOCK_REALTIME_COARSE;
    const uint64_t ns = is_real ? torc__sim_host_realtime(host) : host->world->now_ns;

    *time = (struct timespec){.tv_sec = (time_t)(ns / NS_PER_SECOND),
                              .tv_nsec = (long)(ns % NS_PER_SECOND)};
    return 0;
}

static int64_t do_nanosleep(struct sim_host *host, const uintptr_t a[6])
{
    torc__sim_wait(host->world, torc__time_add(host->world->now_ns, to_ns(pointer(a[0]))), false);
    return 0;
}

static int64_t do_getrandom(struct sim_host *host, const uintptr_t a[6])
{
    unsigned char *bytes = pointer(a[0]);

    for (size_t i = 0; i < a[1]; i++)
        bytes[i] = (unsigned char)torc__sim_random(host->world);
    return (int64_t)a[1];
}

/*
 * The limit of descriptors is one of their numbers, which begin high here: so a high one counts
 * from there. The disk knows another limit.
 */
static int64_t do_prlimit(struct sim_host *host, const uintptr_t a[6])
{
    const struct rlimit *wanted = pointer(a[2]);
    struct rlimit *present = pointer(a[3]);

    if (a[1] != RLIMIT_NOFILE)
        return torc__sim_disk_call(host, SYS_prlimit64, a);
    if (present != NULL)
        *present = (struct rlimit){SIM_FD_BASE + host->files_max - SIM_CONSOLES,
                                   SIM_FD_BASE + SIM_FILES_LIMIT};
    if (wanted == NULL)
        return 0;
    if (wanted->rlim_cur > SIM_FD_BASE + SIM_FILES_LIMIT)
        return -EPERM;
    host->files_max = (unsigned)wanted->rlim_cur;
    if (host->files_max >= SIM_FD_BASE)
        host->files_max -= SIM_FD_BASE - SIM_CONSOLES;
    return 0;
}

/* ---- All of them ---- */

static const struct {
    long number;
    call_fn *call;
} calls[] = {
    {SYS_read, do_read},
    {SYS_write, do_write},
    {SYS_pread64, do_pread},
    {SYS_pwrite64, do_pwrite},
    {SYS_readv, do_readv},
    {SYS_writev, do_writev},
    {SYS_close, do_close},
    {SYS_socket, do_socket},
    {SYS_socketpair, do_socketpair},
    {SYS_bind, do_bind},
    {SYS_listen, do_listen},
    {SYS_connect, do_connect},
    {SYS_accept, do_accept},
    {SYS_accept4, do_accept4},
    {SYS_shutdown, do_shutdown},
    {SYS_getsockname, do_getsockname},
    {SYS_getpeername, do_getpeername},
    {SYS_setsockopt, do_setsockopt},
    {SYS_getsockopt, do_getsockopt},
    {SYS_sendmsg, do_sendmsg},
    {SYS_recvmsg, do_recvmsg},
    {SYS_sendto, do_sendto},
    {SYS_recvfrom, do_recvfrom},
    {SYS_pipe2, do_pipe2},
    {SYS_eventfd2, do_eventfd2},
    {SYS_dup, do_dup},
    {SYS_dup3, do_dup3},
    {SYS_ioctl, do_ioctl},
    {SYS_fcntl, do_fcntl},
    {SYS_splice, do_splice},
    {SYS_epoll_create1, do_epoll_create1},
    {SYS_epoll_ctl, do_epoll_ctl},
    {SYS_clock_gettime, do_clock_gettime},
    {SYS_nanosleep, do_nanosleep},
    {SYS_getrandom, do_getrandom},
    {SYS_prlimit64, do_prlimit},
    {SYS_ppoll, do_ppoll},
};

int64_t torc__sim_syscall(struct sim_host *host, long number, const uintptr_t arguments[6])
{
    int64_t result = -ENOSYS;
    bool is_known = false;

    host->world->now_ns += CALL_NS;

    for (size_t i = 0; i < ARRAY_LENGTH(calls) && !is_known; i++) {
        is_known = calls[i].number == number;
        if (is_known)
            result = calls[i].call(host, arguments);
    }
    if (!is_known)
        result = torc__sim_disk_call(host, (int)number, arguments);
    torc__sim_let_go(host->world);
    torc__sim_trace(host->world, host, "call", number, result);
    return result;
}
