/* SPDX-License-Identifier: MIT */
/*
 * stall_where.c - what the kernel tells of a thread that does not come back.
 *
 * /proc/self/task/TID/syscall says "running", or, of a thread that is blocked, the number of the
 * system call with its arguments, stack pointer and program counter; the number is -1 if it is
 * blocked outside of one, such as in a page fault. proc(5).
 */
#include "base/compiler.h"
#include "base/log.h"
#include "shard/observer.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define KERNEL_LINES_MAX 24u

/* Whether a call goes on after a signal with SA_RESTART, signal(7). */
enum after_signal {
    GOES_ON,
    DEPENDS, /* it does unless its descriptor is a socket that has a timeout */
    ENDS,
};

/* Calls in which programs block. */
struct call {
    uint16_t number;
    uint16_t after_signal;
    const char *name;
};

#define CALL(name, after_signal)        \
    {                                   \
        SYS_##name, after_signal, #name \
    }

static const struct call calls[] = {
    CALL(read, DEPENDS),
    CALL(write, DEPENDS),
    CALL(pread64, GOES_ON),
    CALL(pwrite64, GOES_ON),
    CALL(readv, DEPENDS),
    CALL(writev, DEPENDS),
    CALL(preadv, GOES_ON),
    CALL(pwritev, GOES_ON),
    CALL(preadv2, GOES_ON),
    CALL(pwritev2, GOES_ON),
    CALL(openat, GOES_ON),
    CALL(close, GOES_ON),
    CALL(fsync, GOES_ON),
    CALL(fdatasync, GOES_ON),
    CALL(sync_file_range, GOES_ON),
    CALL(ftruncate, GOES_ON),
    CALL(fallocate, GOES_ON),
    CALL(statx, GOES_ON),
    CALL(unlinkat, GOES_ON),
    CALL(getdents64, GOES_ON),
    CALL(fcntl, GOES_ON),
    CALL(flock, GOES_ON),
    CALL(ioctl, GOES_ON),
    CALL(sendfile, GOES_ON),
    CALL(splice, GOES_ON),
    CALL(copy_file_range, GOES_ON),
    CALL(getrandom, GOES_ON),
    CALL(wait4, GOES_ON),
    CALL(waitid, GOES_ON),
    CALL(mmap, GOES_ON),
    CALL(munmap, GOES_ON),
    CALL(mprotect, GOES_ON),
    CALL(madvise, GOES_ON),
    CALL(execve, GOES_ON),
    CALL(clone, GOES_ON),
    CALL(accept, DEPENDS),
    CALL(accept4, DEPENDS),
    CALL(connect, DEPENDS),
    CALL(recvfrom, DEPENDS),
    CALL(recvmsg, DEPENDS),
    CALL(recvmmsg, ENDS),
    CALL(sendto, DEPENDS),
    CALL(sendmsg, DEPENDS),
    CALL(sendmmsg, DEPENDS),
    CALL(futex, ENDS),
    CALL(nanosleep, ENDS),
    CALL(clock_nanosleep, ENDS),
    CALL(ppoll, ENDS),
    CALL(pselect6, ENDS),
    CALL(epoll_pwait, ENDS),
    CALL(epoll_pwait2, ENDS),
    CALL(rt_sigtimedwait, ENDS),
    CALL(rt_sigsuspend, ENDS),
    CALL(msgsnd, ENDS),
    CALL(msgrcv, ENDS),
    CALL(semtimedop, ENDS),
    CALL(mq_timedsend, ENDS),
    CALL(mq_timedreceive, ENDS),
    CALL(io_getevents, ENDS),
    CALL(io_uring_enter, ENDS),
    /* nanosleep(), poll() or futex(), of which task work of the ring has been done in between */
    CALL(restart_syscall, ENDS),
#ifdef SYS_open
    CALL(open, GOES_ON),
    CALL(stat, GOES_ON),
    CALL(unlink, GOES_ON),
    CALL(poll, ENDS),
    CALL(select, ENDS),
    CALL(epoll_wait, ENDS),
    CALL(pause, ENDS),
#endif
};

/* Reads up to size - 1 bytes; "" if it may not. */
static size_t read_task_file(pid_t tid, const char *name, char *text, size_t size)
{
    char path[64];
    ssize_t count = 0;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        count = read(fd, text, size - 1);
        close(fd);
    }
    text[count > 0 ? count : 0] = '\0';
    return count > 0 ? (size_t)count : 0;
}

static const struct call *find_call(int64_t number)
{
    for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
        if (calls[i].number == number)
            return &calls[i];
    }
    return NULL;
}

static bool has_timeout(int fd)
{
    const int options[] = {SO_RCVTIMEO, SO_SNDTIMEO};
    struct timeval timeout;
    socklen_t size = sizeof(timeout);

    for (size_t i = 0; i < ARRAY_LENGTH(options); i++) {
        if (getsockopt(fd, SOL_SOCKET, options[i], &timeout, &size) == 0 &&
            (timeout.tv_sec != 0 || timeout.tv_usec != 0))
            return true;
    }
    return false;
}

static bool goes_on(const struct call *call, const uint64_t arguments[6])
{
    if (call->number == SYS_futex)
        return arguments[3] == 0; /* There is no time until which it waits. */
    if (call->after_signal == DEPENDS)
        return !has_timeout((int)arguments[0]);
    return call->after_signal == GOES_ON;
}

static void describe_call(struct torc__stall_where *where, int64_t number,
                          const uint64_t arguments[6])
{
    const struct call *call = find_call(number);

    if (call != NULL)
        (void)snprintf(where->text, sizeof(where->text),
                       "blocked in the system call %s(%" PRIu64 ", ...)", call->name, arguments[0]);
    else
        (void)snprintf(where->text, sizeof(where->text),
                       "blocked in the system call with the number %" PRId64, number);
    where->restarts = call != NULL && goes_on(call, arguments);
}

void torc__stall_where(pid_t tid, struct torc__stall_where *ret_where)
{
    struct torc__stall_where where = {.running = true, .text = "computing"};
    uint64_t arguments[6];
    char text[256];
    int64_t number;
    int used = 0;

    if (read_task_file(tid, "syscall", text, sizeof(text)) > 0 &&
        sscanf(text, "%" SCNd64 "%n", &number, &used) == 1) {
        where.running = false;
        if (number < 0) {
            (void)sscanf(text + used, "%" SCNxPTR " %" SCNxPTR, &where.stack, &where.pc);
            (void)snprintf(where.text, sizeof(where.text),
                           "blocked in the kernel, outside of system calls: a page fault?");
        } else if (sscanf(text + used,
                          "%" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
                          " %" SCNxPTR " %" SCNxPTR,
                          &arguments[0], &arguments[1], &arguments[2], &arguments[3], &arguments[4],
                          &arguments[5], &where.stack, &where.pc) == 8) {
            describe_call(&where, number, arguments);
        }
    }
    *ret_where = where;
}

uint64_t torc__stall_queued_ns(pid_t tid)
{
    uint64_t queued_ns = 0;
    char text[96];

    /* Time on a CPU, time in its queue, times it was put on one. */
    if (read_task_file(tid, "schedstat", text, sizeof(text)) == 0 ||
        sscanf(text, "%*u %" SCNu64, &queued_ns) != 1)
        return 0;
    return queued_ns;
}

void torc__stall_log_kernel(pid_t tid)
{
    char text[4096];
    char *rest = text;

    /* For root only; lines such as "[<0>] do_nanosleep+0x60/0x190". */
    if (read_task_file(tid, "stack", text, sizeof(text)) > 0) {
        for (unsigned i = 0;
             i < KERNEL_LINES_MAX && rest != NULL && *rest != '\0' && !torc__log_would_wait();
             i++) {
            const char *line = strsep(&rest, "\n");
            const char *frame = strchr(line, ' ');

            torc__log("    kernel: %s", frame != NULL ? frame + 1 : line);
        }
    } else if (read_task_file(tid, "wchan", text, sizeof(text)) > 0 && strcmp(text, "0") != 0) {
        torc__log("    kernel: %s", text);
    }
}
