/* SPDX-License-Identifier: MIT */
/*
 * trace.c - torc trace: record what a running program does, for ui.perfetto.dev.
 */
#include "cli.h"
#include "commands.h"
#include "look.h"
#include "output.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How often to look whether the process is still there. */
#define LOOK_EVERY_NS (TORC_SECOND / 5)

/* For how long, and how often, to try again while shards have not heard that a trace is over. */
#define BEGIN_NS       (5 * TORC_SECOND)
#define BEGIN_EVERY_NS TORC_MILLISECOND

struct trace_options {
    uint64_t duration_ns;
    uint64_t events;
    uint64_t number;
    const char *output;
};

static int open_output(const char *path)
{
    if (strcmp(path, "-") == 0)
        return STDOUT_FILENO;
    return open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
}

static int write_failed(const char *path, int error)
{
    return cli_failed("torc trace", "cannot write %s: %s",
                      strcmp(path, "-") == 0 ? "to standard output" : path, torc_strerror(error));
}

static int write_output(struct torc_view *view, int fd, const char *path)
{
    int result;

    /* What stood there is kept until now; devices and pipes have nothing to be cut off. */
    if (fd != STDOUT_FILENO && ftruncate(fd, 0) < 0 && errno != EINVAL)
        return write_failed(path, -errno);
    result = torc_view_trace_write(view, fd);
    return result < 0 ? write_failed(path, result) : 0;
}

/* Wait until the time has come; Ctrl-C ends it early. False if the process has ended before. */
static bool wait_until(const struct torc_view *view, uint64_t until_ns)
{
    uint64_t now_ns = torc_now();

    for (; now_ns < until_ns && !torc_view_has_ended(view); now_ns = torc_now()) {
        const uint64_t next_ns = now_ns + LOOK_EVERY_NS;

        if (terminal_wait(next_ns < until_ns ? next_ns : until_ns) == TERMINAL_QUIT)
            break;
    }
    return !torc_view_has_ended(view);
}

/* A trace has begun: wait for its end, and write it. */
static int carry_out(struct torc_view *view, pid_t pid, const struct trace_options *options)
{
    /* Before the wait, which may take an hour. */
    const int fd = open_output(options->output);
    const uint64_t until_ns = torc_now() + options->duration_ns;
    int status;
    int result;

    if (fd < 0)
        return write_failed(options->output, -errno);
    terminal_open(false);
    result = wait_until(view, until_ns) ? torc_view_trace_stop(view) : -ENOENT;
    if (result == -ENOENT)
        status = cli_failed("torc trace", "process %d has ended, and its trace with it", pid);
    else if (result < 0)
        status = look_failed("torc trace", pid, result);
    else
        status = write_output(view, fd, options->output);
    if (fd != STDOUT_FILENO && close(fd) < 0 && status == 0)
        status = write_failed(options->output, -errno);
    return status;
}

/* Begin, after the last trace: a shard that computes hears of its end when it has done. */
static int begin(struct torc_view *view, const struct trace_options *options)
{
    const uint64_t ms = (options->duration_ns + TORC_MILLISECOND - 1) / TORC_MILLISECOND;
    const uint64_t until_ns = torc_now() + BEGIN_NS;
    int result;

    while ((result = torc_view_trace_start(view, (uint32_t)options->events, (uint32_t)ms)) ==
               -EAGAIN &&
           torc_now() < until_ns)
        (void)nanosleep(&(struct timespec){.tv_nsec = BEGIN_EVERY_NS}, NULL);
    return result;
}

static int record(struct torc_view *view, pid_t pid, const struct trace_options *options)
{
    const int result = begin(view, options);
    int status;

    if (result == -EBUSY)
        return cli_failed("torc trace", "process %d is being traced already", pid);
    if (result == -EAGAIN)
        return cli_failed("torc trace", "a shard of process %d is too busy to end its last trace",
                          pid);
    if (result < 0)
        return look_failed("torc trace", pid, result);
    status = carry_out(view, pid, options);
    (void)torc_view_trace_drop(view);
    return status;
}

int command_trace(int argc, char **argv)
{
    struct trace_options options = {.duration_ns = TORC_SECOND, .output = "trace.json"};
    const struct cli_option known[] = {
        {"seconds", "TIME", "how long to record; 1", cli_parse_time, &options.duration_ns,
         "a time from 1ms to 60m", TORC_MILLISECOND, 3600 * TORC_SECOND},
        {"output", "FILE", "where to write it, - for standard output; trace.json", cli_parse_text,
         &options.output, "a file", 0, 0},
        {"o", "FILE", "the same", cli_parse_text, &options.output, "a file", 0, 0},
        {"events", "N", "how many events each shard keeps, the newest; 65,536", cli_parse_count,
         &options.events, NULL, 1, 4194304},
        {"runtime", "N", "if the program has several, which one, from 0; 0", cli_parse_count,
         &options.number, NULL, 0, 1000},
        {0},
    };
    const struct cli_command command = {
        .name = "torc trace",
        .usage = "PID [options]",
        .summary = "record what a running program does, as a time line",
        .notes = "ui.perfetto.dev and chrome://tracing open the file.",
        .options = known,
    };
    struct torc_view *view;
    pid_t pid;
    int status = look_open(&command, argc, argv, &options.number, &pid, &view);

    if (status >= 0)
        return status;
    status = record(view, pid, &options);
    torc_view_close(view);
    return status;
}
