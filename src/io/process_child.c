/* SPDX-License-Identifier: MIT */
/*
 * process_child.c - what a child does between its birth and its program.
 *
 * It runs in the memory of its parent, whose thread stands still meanwhile (vfork(2)), so it
 * writes to nothing but its own stack, its list of mappings and its report, takes no lock, and
 * calls no function that might: system calls only, made raw, because the wrappers of libc have
 * other threads in mind (setuid() would change the credentials of all of the parent's), and those
 * of the sanitizers keep books that are the parent's as well.
 *
 * All signals are blocked until their actions are the default ones: no handler of the parent may
 * run here.
 */
#include "base/kernel_abi.h"
#include "io/process.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sanitizers keep their books in memory that is the parent's. */
#define IN_CHILD \
    __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))

#define SIGNALS_MAX 64

/* A kernel's struct sigaction of any CPU: the handler comes first, and zeros are the default. */
struct kernel_action {
    uintptr_t handler;
    uint64_t rest[7];
};

/* 0 or a negative errno, of what a system call returns. */
IN_CHILD static int outcome(intptr_t result)
{
    return result < 0 ? -errno : 0;
}

/* ---- Descriptors ---- */

/*
 * Descriptors may stand in each other's way: 3 is to become 4, and 4 to become 3. So all of them,
 * and the one to report on, first move out of the way, above the highest number that is wanted.
 */
IN_CHILD static int move_away(struct torc__launch *launch, int above)
{
    intptr_t fd = syscall(SYS_fcntl, launch->report, F_DUPFD_CLOEXEC, above);

    if (fd < 0)
        return -errno;
    launch->report = (int)fd;
    for (unsigned i = 0; i < launch->mapping_count; i++) {
        struct torc__process_mapping *mapping = &launch->mappings[i];

        if (mapping->from < 0)
            continue;
        fd = syscall(SYS_fcntl, mapping->from, F_DUPFD_CLOEXEC, above);
        if (fd < 0)
            return -errno;
        mapping->from = (int)fd;
    }
    return 0;
}

IN_CHILD static int highest_number(const struct torc__launch *launch)
{
    int highest = 2;

    for (unsigned i = 0; i < launch->mapping_count; i++) {
        if (launch->mappings[i].to > highest)
            highest = launch->mappings[i].to;
    }
    return highest;
}

/* Whether the child is to have a descriptor of this number. */
IN_CHILD static bool is_wanted(const struct torc__launch *launch, int fd)
{
    if (fd <= STDERR_FILENO)
        return true; /* Inherited, or mapped below. */
    for (unsigned i = 0; i < launch->mapping_count; i++) {
        if (launch->mappings[i].to == fd)
            return true;
    }
    return false;
}

IN_CHILD static int parse_number(const char *text)
{
    int number = 0;

    if (*text < '0' || *text > '9')
        return -1;
    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (*text - '0');
    return number;
}

/* Make close-on-exec what /proc says is open. Without /proc there is nothing to be done. */
IN_CHILD static void seal_each(const struct torc__launch *launch)
{
    _Alignas(struct kernel_dirent) char buffer[2048];
    const int dir =
        (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    intptr_t size;

    if (dir < 0)
        return;
    while ((size = syscall(SYS_getdents64, dir, buffer, sizeof(buffer))) > 0) {
        for (intptr_t at = 0; at < size;) {
            const struct kernel_dirent *entry = (const void *)(buffer + at);
            const int fd = parse_number(entry->name);

            if (fd >= 0 && !is_wanted(launch, fd))
                (void)syscall(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
            at += entry->size;
        }
    }
    (void)syscall(SYS_close, dir);
}

/*
 * Let nothing through but what is wanted. The rest is not closed but made close-on-exec, since the
 * descriptor to report on is one of it. In ranges where the kernel can (5.11).
 */
IN_CHILD static void seal_rest(const struct torc__launch *launch, int highest)
{
    int first = STDERR_FILENO + 1;

    for (int fd = first; fd <= highest + 1; fd++) {
        const bool last = fd == highest + 1;

        if (!last && !is_wanted(launch, fd))
            continue;
        if ((last || fd > first) &&
            syscall(SYS_close_range, first, last ? UINT_MAX : fd - 1u, CLOSE_RANGE_CLOEXEC) < 0) {
            seal_each(launch);
            return;
        }
        first = fd + 1;
    }
}

IN_CHILD static int arrange_fds(struct torc__launch *launch)
{
    const int highest = highest_number(launch);
    int result = move_away(launch, highest + 1);

    for (unsigned i = 0; i < launch->mapping_count && result == 0; i++) {
        const struct torc__process_mapping *mapping = &launch->mappings[i];

        if (mapping->from >= 0)
            result = outcome(syscall(SYS_dup3, mapping->from, mapping->to, 0));
    }
    if (result == 0)
        seal_rest(launch, highest);
    return result;
}

/* ---- All else that options may ask for ---- */

IN_CHILD static int enter_group(const struct torc_process_options *options)
{
    if (options->flags & TORC_PROCESS_NEW_SESSION)
        return outcome(syscall(SYS_setsid));
    if (options->flags & TORC_PROCESS_NEW_GROUP)
        return outcome(syscall(SYS_setpgid, 0, 0));
    return options->group != 0 ? outcome(syscall(SYS_setpgid, 0, options->group)) : 0;
}

IN_CHILD static int set_limits(const struct torc_process_options *options)
{
    int result = 0;

    for (unsigned i = 0; i < options->limit_count && result == 0; i++) {
        result = outcome(syscall(SYS_prlimit64, 0, options->limits[i].resource,
                                 &options->limits[i].limit, NULL));
    }
    return result;
}

IN_CHILD static int set_credentials(const struct torc_process_options *options)
{
    int result;

    if (!(options->flags & TORC_PROCESS_CREDENTIALS))
        return 0;
    result = outcome(syscall(SYS_setgroups, options->group_count, options->groups));
    if (result == 0)
        result = outcome(syscall(SYS_setresgid, options->gid, options->gid, options->gid));
    if (result == 0)
        result = outcome(syscall(SYS_setresuid, options->uid, options->uid, options->uid));
    return result;
}

/* Whatever the program has made of them, signals do what they do by default, and are let in. */
IN_CHILD static void reset_signals(bool keep_ignored)
{
    static const struct kernel_action by_default;
    static const uint64_t none;

    for (int i = 1; i <= SIGNALS_MAX; i++) {
        struct kernel_action now;

        if (syscall(SYS_rt_sigaction, i, NULL, &now, sizeof(none)) < 0)
            continue;
        if (now.handler == (uintptr_t)SIG_DFL ||
            (keep_ignored && now.handler == (uintptr_t)SIG_IGN))
            continue;
        (void)syscall(SYS_rt_sigaction, i, &by_default, NULL, sizeof(none));
    }
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

/* ---- The program ---- */

IN_CHILD static int execute(const struct torc__launch *launch, const char *path)
{
    return outcome(syscall(SYS_execve, path, launch->argv, launch->environment));
}

/* "DIRECTORY/NAME" into `path`; an empty directory is the present one. False if it is too long. */
IN_CHILD static bool join(const char *directory, size_t length, const char *name, char *path)
{
    size_t at = 0;

    while (at < length && at < PATH_MAX) {
        path[at] = directory[at];
        at++;
    }
    if (at > 0 && at < PATH_MAX)
        path[at++] = '/';
    for (; at < PATH_MAX; at++) {
        path[at] = *name;
        if (*name++ == '\0')
            return true;
    }
    return false;
}

/* Errors that say no more than that the program is not here. */
IN_CHILD static bool may_be_elsewhere(int error)
{
    return error == -ENOENT || error == -ENOTDIR || error == -EACCES || error == -ESTALE ||
           error == -ENODEV || error == -ETIMEDOUT || error == -ENAMETOOLONG;
}

IN_CHILD static bool has_slash(const char *text)
{
    while (*text != '\0' && *text != '/')
        text++;
    return *text == '/';
}

/* Only returns if it fails; of a search, -EACCES tells more than that others were not there. */
IN_CHILD static int run_program(const struct torc__launch *launch)
{
    const char *directory = launch->search;
    char path[PATH_MAX];
    int result = -ENOENT;

    if (has_slash(launch->path) || *launch->path == '\0')
        return execute(launch, launch->path);
    for (;;) {
        const char *end = directory;
        int error;

        while (*end != '\0' && *end != ':')
            end++;
        error = join(directory, (size_t)(end - directory), launch->path, path)
                    ? execute(launch, path)
                    : -ENAMETOOLONG;
        if (!may_be_elsewhere(error))
            return error;
        if (error == -EACCES || (error == -ENAMETOOLONG && result == -ENOENT))
            result = error;
        if (*end == '\0')
            return result;
        directory = end + 1;
    }
}

IN_CHILD static int become_program(struct torc__launch *launch)
{
    const struct torc_process_options *options = launch->options;
    int result = enter_group(options);

    if (result == 0)
        result = arrange_fds(launch);
    if (result == 0)
        result = set_limits(options);
    if (result == 0)
        result = set_credentials(options);
    if (result == 0 && options->directory != NULL)
        result = outcome(syscall(SYS_chdir, options->directory));
    if (result < 0)
        return result;
    if (options->flags & TORC_PROCESS_UMASK)
        (void)syscall(SYS_umask, options->umask);
    reset_signals(options->flags & TORC_PROCESS_KEEP_IGNORED);
    return run_program(launch);
}

IN_CHILD int torc__process_child(void *arg)
{
    struct torc__launch *launch = arg;
    int error;

    launch->has_begun = true;
    error = become_program(launch);
    launch->error = error;
    (void)syscall(SYS_write, launch->report, &error, sizeof(error));
    for (;;)
        (void)syscall(SYS_exit_group, 127);
}
