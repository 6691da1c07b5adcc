/* SPDX-License-Identifier: MIT */
/*
 * process.c - children: start, wait, stop, close.
 *
 * A child is waited for by polling its pidfd, and then reaped by a waitid() that does not wait: the
 * same on every kernel and driver, and with what the child has used, of which the ring's own WAITID
 * does not tell.
 *
 * One that leads a group is only looked at then, and reaped when it is stopped or closed: what it
 * has left behind is to be killed before, by a number that must not be another group's by then.
 */
#include "io/process.h"
#include "io/blocking.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <torc/io.h>
#include <torc/scope.h>
#include <unistd.h>

/* ---- Starting ---- */

static size_t name_length(const char *entry)
{
    return strcspn(entry, "=");
}

static bool same_name(const char *a, const char *b)
{
    const size_t length = name_length(a);

    return length == name_length(b) && memcmp(a, b, length) == 0;
}

static bool is_named_in(const char *const *list, const char *entry)
{
    for (; *list != NULL; list++) {
        if (same_name(*list, entry))
            return true;
    }
    return false;
}

static size_t count_of(const char *const *list)
{
    size_t count = 0;

    while (list[count] != NULL)
        count++;
    return count;
}

/* What we have of an environment, but for what `changes` name, and then what these set. */
static int change_environment(const char *const *present, const char *const *changes,
                              const char ***ret_environment)
{
    const char **list = malloc((count_of(present) + count_of(changes) + 1) * sizeof(*list));
    size_t count = 0;

    if (list == NULL)
        return -ENOMEM;
    for (; *present != NULL; present++) {
        if (!is_named_in(changes, *present))
            list[count++] = *present;
    }
    for (; *changes != NULL; changes++) { /* Of several the last counts. */
        if ((*changes)[name_length(*changes)] == '=' && !is_named_in(changes + 1, *changes))
            list[count++] = *changes;
    }
    list[count] = NULL;
    *ret_environment = list;
    return 0;
}

static bool names_are_right(const char *const *environment)
{
    for (; environment != NULL && *environment != NULL; environment++) {
        if (name_length(*environment) == 0)
            return false;
    }
    return true;
}

static bool stdio_is_right(const struct torc_process_options *options)
{
    return options->input.kind < TORC_STDIO_OUTPUT && options->output.kind < TORC_STDIO_OUTPUT &&
           options->error.kind <= TORC_STDIO_OUTPUT;
}

static int check_options(const struct torc_process_options *options)
{
    if (!stdio_is_right(options) || options->fd_count > PROCESS_FDS_MAX || options->group < 0 ||
        (options->flags >= TORC_PROCESS_KEEP_IGNORED << 1) ||
        !names_are_right(options->environment))
        return -EINVAL;
    for (unsigned i = 0; i < options->fd_count; i++) {
        if (options->fds[i].child_fd < 0 || options->fds[i].child_fd > PROCESS_FD_MAX)
            return -EINVAL;
    }
    return 0;
}

static int launch_there(void *arg)
{
    return torc__process_launch(arg);
}

/*
 * Launch on the pool, with the environment that the options ask for. Of ours a copy, for meanwhile
 * other fibers may change it.
 */
static int launch(struct torc__launch *launch)
{
    static const char *const nothing[] = {NULL};
    const char *const *ours = (const char *const *)(void *)environ;
    const char *const *wanted = launch->options->environment;
    const char **copy = NULL;
    int result;

    if (wanted == NULL)
        wanted = nothing;
    launch->environment = wanted;
    if (!(launch->options->flags & TORC_PROCESS_ENVIRONMENT)) {
        result = change_environment(ours != NULL ? ours : nothing, wanted, &copy);
        if (result < 0)
            return result;
        launch->environment = copy;
    }
    result = torc__blocking(LANE_FILES, launch_there, launch);
    free(copy);
    return result;
}

int torc_process_spawn(const char *const *argv, const struct torc_process_options *options,
                       struct torc_process *ret_process)
{
    static const struct torc_process_options defaults;
    struct torc__launch request = {.argv = argv, .options = options != NULL ? options : &defaults};
    const char *search = getenv("PATH");
    int result;

    if (argv == NULL || argv[0] == NULL)
        return -EINVAL;
    result = check_options(request.options);
    if (result < 0)
        return result;
    request.path = request.options->path != NULL ? request.options->path : argv[0];
    request.search = search != NULL ? search : "/bin:/usr/bin";
    result = launch(&request);
    if (result < 0)
        return result;
    *ret_process = (struct torc_process){
        .pid = request.pid,
        .input = request.pipes[STDIN_FILENO],
        .output = request.pipes[STDOUT_FILENO],
        .error = request.pipes[STDERR_FILENO],
        ._pidfd = request.pidfd,
        ._leads_group =
            request.options->flags & (TORC_PROCESS_NEW_GROUP | TORC_PROCESS_NEW_SESSION),
    };
    return 0;
}

/* ---- Signals ---- */

static int kill_by_pidfd(const struct torc_process *process, int signal)
{
    return syscall(SYS_pidfd_send_signal, process->_pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

/*
 * While the child has not been reaped, no other group can have its number. By us a leader is not,
 * before its group has been killed; where SIGCHLD is ignored, it may have been by the kernel.
 */
static int kill_by_group(const struct torc_process *process, int signal)
{
    if (kill_by_pidfd(process, 0) == -ESRCH)
        return -ESRCH;
    return kill(-process->pid, signal) < 0 ? -errno : 0;
}

static int kill_raw(const struct torc_process *process, int signal, bool group)
{
    const int saved = errno; /* The caller's: no torc call changes it. */
    const int result = group ? kill_by_group(process, signal) : kill_by_pidfd(process, signal);

    errno = saved;
    return result;
}

int torc_process_kill(struct torc_process *process, int signal)
{
    return process->_ended ? -ESRCH : kill_raw(process, signal, false);
}

int torc_process_kill_group(struct torc_process *process, int signal)
{
    if (!process->_leads_group)
        return -EINVAL;
    return process->_reaped ? -ESRCH : kill_raw(process, signal, true);
}

/* ---- Waiting ---- */

static void note_status(struct torc_process *process, const siginfo_t *info)
{
    const bool exited = info->si_code == CLD_EXITED;

    process->_status.exit_code = exited ? info->si_status : -1;
    process->_status.signal = exited ? 0 : info->si_status;
    process->_status.core_dumped = info->si_code == CLD_DUMPED;
}

/* If the child has ended, learn how, if nobody else has; and reap it, unless it is to be kept. */
static void take_end(struct torc_process *process, bool keep)
{
    const int options = WEXITED | WNOHANG | (keep ? WNOWAIT : 0);
    const int saved = errno;
    siginfo_t info = {0};
    int result = 0;

    if (syscall(SYS_waitid, P_PIDFD, process->_pidfd, &info, options, &process->_status.usage) < 0)
        result = -errno;
    errno = saved;
    if (result == 0 && info.si_pid == 0)
        return; /* It has not. */
    if (result == 0)
        note_status(process, &info);
    else if (!process->_ended)
        process->_status = (struct torc_process_status){.exit_code = -1};
    process->_ended = true;
    process->_reaped = result < 0 || !keep;
}

/* How the child ended; a child whose end was lost has neither a code nor a signal. */
static int tell_status(const struct torc_process *process, struct torc_process_status *ret_status)
{
    if (process->_status.exit_code < 0 && process->_status.signal == 0)
        return -ECHILD;
    if (ret_status != NULL)
        *ret_status = process->_status;
    return 0;
}

/* Wait until the child has ended, and is there to be reaped. */
static int await_end(const struct torc_process *process)
{
    const int events = torc_poll(process->_pidfd, POLLIN);

    return events < 0 ? events : 0;
}

int torc_process_wait(struct torc_process *process, struct torc_process_status *ret_status)
{
    while (!process->_ended) {
        const int result = await_end(process);

        if (result < 0)
            return result;
        if (!process->_ended) /* Another fiber that waits for it may have been first. */
            take_end(process, process->_leads_group);
    }
    return tell_status(process, ret_status);
}

/* ---- Stopping ---- */

/* End it, and its group, now. Its number is its own, and the group's, until it is reaped. */
static void end_and_reap(struct torc_process *process)
{
    if (process->_reaped)
        return;
    if (process->_leads_group) /* First: where SIGCHLD is ignored, dead it is reaped at once. */
        (void)kill_raw(process, SIGKILL, true);
    if (!process->_ended)
        (void)kill_raw(process, SIGKILL, false);
    while (!process->_reaped) {
        if (await_end(process) < 0) /* Without memory for a wait: look again soon. */
            (void)torc_sleep(TORC_MILLISECOND);
        take_end(process, false);
    }
}

static void ask_to_end(const struct torc_process *process)
{
    (void)kill_raw(process, SIGTERM, process->_leads_group);
    (void)kill_raw(process, SIGCONT, process->_leads_group);
}

int torc_process_stop(struct torc_process *process, uint64_t grace_ns,
                      struct torc_process_status *ret_status)
{
    struct torc_scope shield;
    struct torc_scope grace;

    torc_scope_open(&shield, TORC_SHIELD);
    if (!process->_ended) {
        ask_to_end(process);
        torc_scope_open(&grace, 0);
        torc_scope_set_timeout(&grace, grace_ns);
        (void)await_end(process);
        (void)torc_scope_close(&grace);
    }
    end_and_reap(process);
    (void)torc_scope_close(&shield);
    return tell_status(process, ret_status);
}

int torc_process_wait_or_stop(struct torc_process *process, uint64_t grace_ns,
                              struct torc_process_status *ret_status)
{
    const int result = torc_process_wait(process, ret_status);

    if (result < 0 && result != -ECHILD)
        (void)torc_process_stop(process, grace_ns, ret_status);
    return result;
}

void torc_process_close(struct torc_process *process)
{
    int *const fds[] = {&process->input, &process->output, &process->error, &process->_pidfd};
    struct torc_scope shield;

    torc_scope_open(&shield, TORC_SHIELD);
    end_and_reap(process);
    (void)torc_scope_close(&shield);
    for (unsigned i = 0; i < ARRAY_LENGTH(fds); i++) {
        if (*fds[i] >= 0)
            (void)torc_close(*fds[i]);
        *fds[i] = -1;
    }
}
