/* SPDX-License-Identifier: MIT */
/*
 * process_spawn.c - the parent's side of starting a program.
 *
 * The child borrows our memory until its program runs (CLONE_VM), for to copy the page tables of a
 * large process takes long; and this thread stands still until then (CLONE_VFORK), so it must not
 * be that of a shard. So the child tells of a failure by writing it down. Where it has a copy of
 * our memory all the same, under ThreadSanitizer and valgrind, it tells through a pipe that its
 * program's start closes; for the rest that is not good enough, since a process that another thread
 * makes by fork() has a copy of the pipe's end and keeps it open. The child is known by a pidfd
 * from its birth, so no other process can be taken for it.
 */
#include "io/process.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* For torc__process_child() and what it calls, which have a path and a list of names on it. */
#define CHILD_STACK_SIZE (32u * 1024u)

/* ThreadSanitizer's books cannot be shared with a child: there it gets a copy of all. */
#if TORC_TSAN
#define CLONE_FLAGS (CLONE_PIDFD | SIGCHLD)
#else
#define CLONE_FLAGS (CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD)
#endif

/* ---- Descriptors ---- */

/* What is open for the child's sake, and closed again once it has it. */
struct ends {
    int fds[PROCESS_STDIO_COUNT];
    unsigned count;
};

static void close_ends(struct ends *ends)
{
    while (ends->count > 0)
        close(ends->fds[--ends->count]);
}

static void close_pipes(struct torc__launch *launch)
{
    for (unsigned i = 0; i < PROCESS_STDIO_COUNT; i++) {
        if (launch->pipes[i] >= 0)
            close(launch->pipes[i]);
        launch->pipes[i] = -1;
    }
}

/*
 * A pipe: its one end for the child's stream `number`, the other for us. Returns the child's. A raw
 * call, since ThreadSanitizer keeps books of descriptors, and does not see the ring close ours.
 */
static int open_pipe(struct torc__launch *launch, unsigned number, struct ends *ends)
{
    const unsigned theirs = number == STDIN_FILENO ? 0 : 1;
    int fds[2];

    if (syscall(SYS_pipe2, fds, O_CLOEXEC) < 0)
        return -errno;
    launch->pipes[number] = fds[1 - theirs];
    ends->fds[ends->count++] = fds[theirs];
    return fds[theirs];
}

static int open_null(struct ends *ends)
{
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    ends->fds[ends->count++] = fd;
    return fd;
}

/* The descriptor of ours that becomes the child's stream `number`, if not the one it has. */
static int open_stream(struct torc__launch *launch, unsigned number, const struct torc_stdio *stdio,
                       struct ends *ends, int *ret_fd)
{
    int fd;

    switch (stdio->kind) {
    case TORC_STDIO_NULL:
        fd = open_null(ends);
        break;
    case TORC_STDIO_PIPE:
        fd = open_pipe(launch, number, ends);
        break;
    case TORC_STDIO_FD:
        fd = stdio->fd < 0 ? -EBADF : stdio->fd;
        break;
    case TORC_STDIO_OUTPUT:
        *ret_fd = launch->mappings[STDOUT_FILENO].from;
        return 0;
    default:
        return 0;
    }
    if (fd < 0)
        return fd;
    *ret_fd = fd;
    return 0;
}

static int open_streams(struct torc__launch *launch, struct ends *ends)
{
    const struct torc_process_options *options = launch->options;
    const struct torc_stdio *const streams[PROCESS_STDIO_COUNT] = {
        &options->input, &options->output, &options->error};
    int result = 0;

    /* What is closed stays so; to be seen before what is opened here takes its number. */
    for (int i = 0; i < (int)PROCESS_STDIO_COUNT; i++) {
        launch->mappings[i] =
            (struct torc__process_mapping){.from = fcntl(i, F_GETFD) < 0 ? -1 : i, .to = i};
    }
    for (unsigned i = 0; i < PROCESS_STDIO_COUNT && result == 0; i++)
        result = open_stream(launch, i, streams[i], ends, &launch->mappings[i].from);
    return result;
}

/* ---- The birth of a child ---- */

/* Reads what the child has to report: 0 when its program runs, which closes the other end. */
static int read_report(int fd)
{
    int error = 0;
    ssize_t size;

    do {
        size = read(fd, &error, sizeof(error));
    } while (size < 0 && errno == EINTR);
    return size == (ssize_t)sizeof(error) ? error : 0;
}

static void reap_failed(int pidfd)
{
    siginfo_t info;

    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
        continue;
    close(pidfd);
}

/* No signal may run a handler of ours in the child, whose memory is ours. */
static int bear_child(struct torc__launch *launch)
{
    _Alignas(16) char stack[CHILD_STACK_SIZE];
    const uint64_t all = UINT64_MAX;
    uint64_t before;
    int result;

    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
    launch->pid =
        clone(torc__process_child, stack + sizeof(stack), CLONE_FLAGS, launch, &launch->pidfd);
    result = launch->pid < 0 ? -errno : 0;
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
    return result;
}

static int start(struct torc__launch *launch)
{
    int report[2];
    int result;

    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    launch->report = report[1];
    launch->has_begun = false;
    launch->error = 0;
    result = bear_child(launch);
    close(report[1]);
    if (result == 0) {
        result = launch->has_begun ? launch->error : read_report(report[0]);
        if (result < 0)
            reap_failed(launch->pidfd);
    }
    close(report[0]);
    return result;
}

int torc__process_launch(struct torc__launch *launch)
{
    struct torc__process_mapping mappings[PROCESS_MAPPINGS_MAX] = {{0}};
    const struct torc_process_options *options = launch->options;
    struct ends ends = {.count = 0};
    int result;

    launch->mappings = mappings;
    for (unsigned i = 0; i < PROCESS_STDIO_COUNT; i++)
        launch->pipes[i] = -1;
    result = open_streams(launch, &ends);
    launch->mapping_count = PROCESS_STDIO_COUNT;
    for (unsigned i = 0; i < options->fd_count && result == 0; i++) {
        const struct torc_process_fd *fd = &options->fds[i];

        result = fd->fd < 0 ? -EBADF : 0;
        mappings[launch->mapping_count++] =
            (struct torc__process_mapping){.from = fd->fd, .to = fd->child_fd};
    }
    if (result == 0)
        result = start(launch);
    close_ends(&ends);
    if (result < 0)
        close_pipes(launch);
    return result;
}
