/* SPDX-License-Identifier: MIT */
/*
 * dump_stop.c - stop one thread of another process for a moment, by PTRACE_SEIZE, which sends no
 * signal. Should this command be killed meanwhile, the kernel lets the thread go on.
 */
#include "dump_stop.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <torc/error.h>

#define WAIT_MAX_NS  UINT64_C(1000000000)
#define WAIT_STEP_NS 20000

uint64_t dump_clock(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static int tracer_of(pid_t thread)
{
    char path[64];
    char line[128];
    int tracer = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "TracerPid: %d", &tracer) == 1)
            break;
    }
    if (file != NULL)
        fclose(file);
    return tracer;
}

static void explain_refusal(pid_t thread, int error, char *why, size_t size)
{
    const int tracer = tracer_of(thread);

    if (tracer != 0)
        (void)snprintf(why, size, "process %d debugs it", tracer);
    else
        (void)snprintf(why, size, "ptrace(): %s", torc_strerror(error));
}

/* Wait for the stop, not for ever: a thread may sleep uninterruptibly in the kernel. */
static int await_stop(struct stopped *stopped)
{
    const struct timespec step = {.tv_nsec = WAIT_STEP_NS};
    int status;

    for (;;) {
        const pid_t found = waitpid(stopped->thread, &status, __WALL | WNOHANG);

        if (found < 0 && errno != EINTR)
            return -errno;
        if (found == stopped->thread && !WIFSTOPPED(status))
            return -ESRCH; /* It has ended. */
        if (found == stopped->thread) {
            /* Without an event it is a signal on its way. */
            stopped->signal = status >> 16 == 0 ? WSTOPSIG(status) : 0;
            return 0;
        }
        if (dump_clock() - stopped->stopped_ns > WAIT_MAX_NS)
            return -ETIMEDOUT;
        (void)nanosleep(&step, NULL);
    }
}

int dump_stop(pid_t thread, struct stopped *ret_stopped, char *ret_why, size_t why_size)
{
    int result;

    *ret_stopped = (struct stopped){.thread = thread};
    if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) < 0) {
        result = -errno;
        explain_refusal(thread, result, ret_why, why_size);
        return result;
    }
    ret_stopped->stopped_ns = dump_clock();
    if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) < 0)
        result = -errno;
    else
        result = await_stop(ret_stopped);
    if (result == -ETIMEDOUT)
        (void)snprintf(ret_why, why_size, "it sleeps uninterruptibly in the kernel");
    else if (result < 0)
        (void)snprintf(ret_why, why_size, "%s", torc_strerror(result));
    return result;
}

uint64_t dump_resume(const struct stopped *stopped)
{
    (void)ptrace(PTRACE_DETACH, stopped->thread, NULL, (void *)(uintptr_t)stopped->signal);
    return dump_clock() - stopped->stopped_ns;
}

/* ---- Threads ---- */

/* The thread's number in its innermost PID namespace, which is the one it knows; 0 if unknown. */
static pid_t innermost(pid_t pid, const char *thread)
{
    char path[96];
    char line[256];
    long number = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", (int)pid, thread);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *last = strrchr(line, '\t');

        if (strncmp(line, "NSpid:", 6) == 0 && last != NULL)
            number = strtol(last, NULL, 10);
    }
    if (file != NULL)
        fclose(file);
    return (pid_t)number;
}

pid_t dump_find_thread(pid_t pid, pid_t thread)
{
    char path[64];
    pid_t found = 0;
    struct dirent *entry;
    DIR *directory;

    (void)snprintf(path, sizeof(path), "%d", (int)thread);
    if (innermost(pid, path) == thread)
        return thread;
    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    directory = opendir(path);
    while (directory != NULL && found == 0 && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.' && innermost(pid, entry->d_name) == thread)
            found = (pid_t)strtol(entry->d_name, NULL, 10);
    }
    if (directory != NULL)
        closedir(directory);
    return found;
}

static const struct {
    long number;
    const char *name;
} calls[] = {
    {SYS_io_uring_enter, "io_uring_enter"},
    {SYS_epoll_pwait, "epoll_pwait"},
#ifdef SYS_epoll_wait
    {SYS_epoll_wait, "epoll_wait"},
    {SYS_poll, "poll"},
    {SYS_open, "open"},
#endif
    {SYS_read, "read"},
    {SYS_write, "write"},
    {SYS_pread64, "pread64"},
    {SYS_pwrite64, "pwrite64"},
    {SYS_readv, "readv"},
    {SYS_writev, "writev"},
    {SYS_openat, "openat"},
    {SYS_fsync, "fsync"},
    {SYS_fdatasync, "fdatasync"},
    {SYS_futex, "futex"},
    {SYS_restart_syscall, "restart_syscall"}, /* a sleep that was stopped before */
    {SYS_nanosleep, "nanosleep"},
    {SYS_clock_nanosleep, "clock_nanosleep"},
    {SYS_ppoll, "ppoll"},
    {SYS_pselect6, "pselect6"},
    {SYS_connect, "connect"},
    {SYS_accept, "accept"},
    {SYS_accept4, "accept4"},
    {SYS_recvfrom, "recvfrom"},
    {SYS_recvmsg, "recvmsg"},
    {SYS_sendto, "sendto"},
    {SYS_sendmsg, "sendmsg"},
    {SYS_wait4, "wait4"},
    {SYS_waitid, "waitid"},
    {SYS_flock, "flock"},
};

void dump_kernel_text(pid_t pid, pid_t thread, char *text, size_t size)
{
    char path[96];
    long number = -1;
    FILE *file;

    text[0] = '\0';
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)pid, (int)thread);
    file = fopen(path, "re");
    /* "running", or -1 for a stop or a fault. */
    if (file != NULL && fscanf(file, "%ld", &number) == 1 && number >= 0) {
        (void)snprintf(text, size, "call %ld", number);
        for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
            if (calls[i].number == number)
                (void)snprintf(text, size, "%s", calls[i].name);
        }
    }
    if (file != NULL)
        fclose(file);
}
