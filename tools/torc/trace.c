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
#include <unistd.h>

struct trace_options {
    uint64_t duration_ns;
    uint64_t events;
    uint64_t number;
    const char *output;
};

static int write_file(struct torc_view *view, const char *path)
{
    const bool is_standard = strcmp(path, "-") == 0;
    const int fd =
        is_standard ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int result;

    if (fd < 0)
        return cli_failed("torc trace", "cannot write %s: %s", path, strerror(errno));
    result = torc_view_trace_write(view, fd);
    if (!is_standard && close(fd) < 0 && result == 0)
        result = -errno;
    if (result < 0)
        return cli_failed("torc trace", "cannot write %s: %s", path, torc_strerror(result));
    return 0;
}

static int record(struct torc_view *view, pid_t pid, const struct trace_options *options)
{
    const uint64_t ms = (options->duration_ns + TORC_MILLISECOND - 1) / TORC_MILLISECOND;
    int result = torc_view_trace_start(view, (uint32_t)options->events, (uint32_t)ms);
    int status;

    if (result == -EBUSY)
        return cli_failed("torc trace", "process %d is being traced already", pid);
    if (result < 0)
        return look_failed("torc trace", pid, result);
    /* Ctrl-C ends it early: what there is by then is written. */
    terminal_open(false);
    while (terminal_wait(torc_now() + options->duration_ns) == TERMINAL_RESIZED)
        ;
    result = torc_view_trace_stop(view);
    status =
        result < 0 ? look_failed("torc trace", pid, result) : write_file(view, options->output);
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
         &options.output, NULL, 0, 0},
        {"o", "FILE", "the same", cli_parse_text, &options.output, NULL, 0, 0},
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
    int operand;
    int status = cli_parse(&command, argc, argv, &operand);

    if (status >= 0)
        return status;
    if (operand + 1 != argc)
        return cli_wrong(command.name, operand == argc ? "which process? (see torc trace --help)"
                                                       : "one process at a time, please");
    pid = look_parse_pid(argv[operand]);
    if (pid == 0)
        return cli_wrong(command.name, "'%s' is not the number of a process", argv[operand]);
    status = look_open(command.name, pid, (unsigned)options.number, &view);
    if (status >= 0)
        return status;
    status = record(view, pid, &options);
    torc_view_close(view);
    return status;
}
