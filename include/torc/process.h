/* SPDX-License-Identifier: MIT */
/*
 * torc/process.h - other programs as children: start them, talk to them, wait for them.
 *
 * A child that was spawned is the caller's until torc_process_close(), which leaves nothing behind:
 * a child that still runs is killed and reaped there. So children cannot leak, and there is no
 * detaching; what is to outlive this program has to be started by a child that ends (`setsid -f`).
 * A child that leads a process group stands for all of it: what it has left there when it ended is
 * killed by torc_process_stop() and torc_process_close(), also after the child was waited for.
 *
 *     static const char *const argv[] = {"sort", "-u", NULL};
 *     struct torc_process_exchange exchange = {
 *         .input = names, .input_size = strlen(names), .output = text, .output_capacity = size};
 *     struct torc_process_status status;
 *
 *     result = torc_process_run(argv, NULL, &exchange, &status);
 *
 * What a child inherits is little: standard input, output and error as the options say, the
 * descriptors named there, the environment, the directory, the umask and the resource limits. All
 * other descriptors are closed, its signals are not blocked and act by default, it may use all CPUs
 * that the program may use, and it is not tied to any shard.
 *
 * Children are waited for through pidfds: other code may wait for its own ones, or handle SIGCHLD.
 * It must not reap ours: a wait for any child does, and so does ignoring SIGCHLD (SIG_IGN or
 * SA_NOCLDWAIT). How such a child ended is lost, and waiting for it gives -ECHILD.
 */
#ifndef TORC_PROCESS_H
#define TORC_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <torc/api.h>
TORC_BEGIN_C

/* What a standard stream of a child is. */
enum torc_stdio_kind {
    TORC_STDIO_INHERIT, /* that of this program */
    TORC_STDIO_NULL,    /* /dev/null */
    TORC_STDIO_PIPE,    /* a pipe, whose other end is in struct torc_process */
    TORC_STDIO_FD,      /* the descriptor `fd`, which stays the caller's */
    TORC_STDIO_OUTPUT,  /* for the standard error: the same as the standard output (2>&1) */
};

struct torc_stdio {
    enum torc_stdio_kind kind;
    int fd; /* for TORC_STDIO_FD */
};

/* A descriptor that a child gets besides, under a number of its own. */
struct torc_process_fd {
    int fd;       /* ours; it stays ours */
    int child_fd; /* the child's number for it, 0 to 65,535; wins over a standard stream */
};

/* A resource limit of a child: setrlimit(2). */
struct torc_process_limit {
    int resource; /* RLIMIT_... */
    struct rlimit limit;
};

/* For torc_process_options.flags. */
enum torc_process_flags {
    TORC_PROCESS_NEW_GROUP = 1 << 0,    /* the child leads a process group of its own */
    TORC_PROCESS_NEW_SESSION = 1 << 1,  /* and a session, without a terminal */
    TORC_PROCESS_ENVIRONMENT = 1 << 2,  /* `environment` is all of it, not changes */
    TORC_PROCESS_UMASK = 1 << 3,        /* `umask` counts */
    TORC_PROCESS_CREDENTIALS = 1 << 4,  /* `uid`, `gid` and `groups` count */
    TORC_PROCESS_KEEP_IGNORED = 1 << 5, /* signals this program ignores stay ignored (nohup) */
};

/* How to start a child. All zero is a good default. */
struct torc_process_options {
    /* The program. NULL = argv[0]. One without a slash is looked for in PATH, this program's. */
    const char *path;
    const char *directory; /* where it starts, also for a relative path; NULL = where we are */
    /* "NAME=value" to set, "NAME" to remove; up to a NULL. Or, with the flag, all there is. */
    const char *const *environment;
    struct torc_stdio input;
    struct torc_stdio output;
    struct torc_stdio error;
    const struct torc_process_fd *fds;
    unsigned fd_count; /* at most 256 */
    const struct torc_process_limit *limits;
    unsigned limit_count;
    unsigned flags;
    pid_t group; /* join this process group; 0 = none */
    mode_t umask;
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* the supplementary groups, all of them */
    unsigned group_count;
};

/* How a child ended. */
struct torc_process_status {
    int exit_code;       /* 0 to 255; -1 if a signal ended it */
    int signal;          /* the signal that ended it, or 0 */
    bool core_dumped;    /* and whether it left a core file */
    struct rusage usage; /* what it, and the children it waited for, used */
};

/* A child. In the caller's memory; used by one shard. Private fields begin with an underscore. */
struct torc_process {
    pid_t pid;
    /*
     * Our ends of the pipes; -1 where there is none. Closing the process closes them: put -1 where
     * you have closed one, as one does with `input` to let the child see the end, or taken it over.
     */
    int input;
    int output;
    int error;
    int _pidfd;
    bool _ended;  /* and how is known, or lost */
    bool _reaped; /* for one that leads a group, when that has been ended */
    bool _leads_group;
    struct torc_process_status _status;
};

/*
 * Start a program. `argv` ends with a NULL and has at least a name; `options` may be NULL. Suspends
 * (the work is done on the blocking pool, since exec() may wait for a disk). Allocates.
 *
 * Returns 0 when the program runs, and the process is the caller's to close. Else the reason why it
 * does not, with nothing left behind: what exec() said, or what stood in the way before.
 *
 * -ENOENT     no such program; or the interpreter that a script names is missing.
 * -EACCES     it may not be executed, or is a directory.
 * -ENOEXEC    it is neither a program nor a script with "#!". (No shell is tried.)
 * -EINVAL     argv is empty, or an option is out of its range.
 */
TORC_CHECK int torc_process_spawn(const char *const *argv,
                                  const struct torc_process_options *options,
                                  struct torc_process *ret_process);

/*
 * Wait until the child has ended. Suspends. `ret_status` may be NULL. May be called again, with the
 * same answer. If the scope's reason ends the wait, the child goes on.
 *
 * -ECHILD     somebody else has reaped it: see above.
 */
TORC_CHECK int torc_process_wait(struct torc_process *process,
                                 struct torc_process_status *ret_status);

/*
 * Like torc_process_wait(), but if the scope's reason ends the wait, stop the child: see below.
 * Suspends.
 */
TORC_CHECK int torc_process_wait_or_stop(struct torc_process *process, uint64_t grace_ns,
                                         struct torc_process_status *ret_status);

/*
 * Ask the child to end by SIGTERM (and SIGCONT, lest it sleep over it), wait for up to `grace_ns`,
 * then end it by SIGKILL; reap it. A child that leads a process group is stopped with its group,
 * of which nothing is left then. Suspends; not cancellable. As torc_process_wait().
 */
TORC_API int torc_process_stop(struct torc_process *process, uint64_t grace_ns,
                               struct torc_process_status *ret_status);

/*
 * Send a signal to the child; 0 only asks whether one could.
 *
 * -ESRCH      it has ended and been waited for.
 * -EINVAL     no such signal.
 * -EPERM      it runs under another user now.
 */
TORC_CHECK int torc_process_kill(struct torc_process *process, int signal);

/*
 * Send a signal to the process group that the child leads, or has led: its number stays reserved,
 * by the dead child, until the process is stopped or closed.
 *
 * -ESRCH      it has been stopped, or the child was reaped by somebody else.
 * -EINVAL     no such signal, or the child was not started with a group of its own.
 */
TORC_CHECK int torc_process_kill_group(struct torc_process *process, int signal);

/*
 * Close the process and our ends of its pipes. If it has not been waited for, it is killed and
 * reaped first; so is what is left of the group that it leads. Suspends; not cancellable.
 */
TORC_API void torc_process_close(struct torc_process *process);

/* The grace of torc_process_run() where none is given. */
#define TORC_PROCESS_GRACE_NS UINT64_C(2000000000)

/* What a child reads and writes while torc_process_run() runs it. All zero: nothing. */
struct torc_process_exchange {
    const void *input; /* what it reads; NULL = options.input, but /dev/null in place of INHERIT */
    size_t input_size;
    void *output; /* where its standard output goes; NULL = as options.output says */
    size_t output_capacity;
    void *error; /* where its standard error goes; NULL = as options.error says */
    size_t error_capacity;
    uint64_t grace_ns; /* between SIGTERM and SIGKILL; 0 = TORC_PROCESS_GRACE_NS */

    /* Results, set also when something failed. */
    size_t output_size;      /* stored */
    uint64_t output_dropped; /* came after output_capacity was full */
    size_t error_size;
    uint64_t error_dropped;
};

/*
 * Run a program to its end, feeding it and collecting what it writes, all at once. Suspends.
 * Allocates. `exchange` and `ret_status` may be NULL. Returns 0 when the child has ended, however;
 * `*ret_status` tells. It is no error if the child does not read all of its input.
 *
 * Collecting ends when nobody has the pipes open any more: a child of the child that goes on with
 * them is waited for. What is left then of the group that the child leads is killed. If the scope's
 * reason ends the wait, the child is stopped as by torc_process_stop(), and the reason returned.
 *
 * Errors of torc_process_spawn(); -ECHILD as torc_process_wait(); -EINVAL if options ask for a pipe
 * that the exchange does not serve.
 */
TORC_CHECK int torc_process_run(const char *const *argv, const struct torc_process_options *options,
                                struct torc_process_exchange *exchange,
                                struct torc_process_status *ret_status);

TORC_END_C
#endif
