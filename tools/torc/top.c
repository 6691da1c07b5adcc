/* SPDX-License-Identifier: MIT */
/*
 * top.c - torc top: watch the shards and fibers of a running program.
 */
#include "top.h"

#include "cli.h"
#include "commands.h"
#include "look.h"
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct top_options {
    uint64_t interval_ns;
    uint64_t number;
    bool json;
    bool once;
};

/* ---- Moments ---- */

static bool moment_init(struct top_moment *moment, unsigned shard_count)
{
    *moment = (struct top_moment){.shards = calloc(shard_count, sizeof(*moment->shards))};
    return moment->shards != NULL;
}

static int take_moment(struct torc_view *view, struct top_moment *moment)
{
    const struct torc_name_stats *names;
    const int result = torc_view_refresh(view);

    if (result < 0)
        return result;
    moment->time_ns = torc_view_time(view);
    for (unsigned i = 0; i < torc_view_shard_count(view); i++)
        moment->shards[i] = *torc_view_stats(view, i);
    moment->name_count = torc_view_names(view, &names);
    if (moment->name_count > TOP_NAMES_MAX)
        moment->name_count = TOP_NAMES_MAX;
    memcpy(moment->names, names, moment->name_count * sizeof(moment->names[0]));
    for (unsigned i = 0; i < moment->name_count; i++)
        output_make_printable(moment->names[i].name);
    return 0;
}

/* What was now is before; and now is asked for. */
static int go_on(struct torc_view *view, struct top *top)
{
    const struct top_moment last = top->before;
    int result;

    top->before = top->now;
    top->now = last;
    result = take_moment(view, &top->now);
    if (result == 0 && top->now.time_ns == top->before.time_ns)
        result = -ETIMEDOUT; /* Rates of no time make no sense. */
    if (result < 0) {
        top->now = top->before;
        top->before = last;
    }
    return result;
}

/* ---- Showing ---- */

static int show(const struct top *top, const struct top_options *options)
{
    if (options->json)
        return output_json(top_json(top));
    top_print(top, terminal_is_there() && !options->once
                       ? terminal_size()
                       : (struct terminal_size){.rows = 2000, .columns = 200});
    return ferror(stdout) ? -EIO : 0;
}

/* Look again and again. Returns the exit status, or -1 if the process has ended. */
static int watch(struct torc_view *view, struct top *top, const struct top_options *options)
{
    uint64_t next_ns = torc_now() + options->interval_ns;

    for (;;) {
        const enum terminal_event event = terminal_wait(next_ns);
        int result = 0;

        if (event == TERMINAL_QUIT)
            return 0;
        if (event == TERMINAL_RESIZED) {
            if (top->before.time_ns != 0 && show(top, options) < 0)
                return CLI_FAILED;
            continue;
        }
        next_ns = torc_now() + options->interval_ns;
        result = go_on(view, top);
        if (result == -ENOENT)
            return -1;
        top->silent = result < 0;
        if (result < 0 && (result != -ETIMEDOUT || options->once))
            return look_failed("torc top", top->pid, result);
        if (top->before.time_ns != 0 && show(top, options) < 0)
            return CLI_FAILED;
        if (options->once)
            return 0;
    }
}

/* ---- The command ---- */

static void read_process_name(struct top *top)
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/comm", top->pid);
    file = fopen(path, "re");
    if (file == NULL || fgets(top->process, sizeof(top->process), file) == NULL)
        top->process[0] = '\0';
    if (file != NULL)
        fclose(file);
    top->process[strcspn(top->process, "\n")] = '\0';
    output_make_printable(top->process);
}

static int run(struct torc_view *view, struct top *top, const struct top_options *options)
{
    const bool screen = !options->json && !options->once && terminal_is_there();
    const int result = take_moment(view, &top->now);
    int status;

    if (result < 0)
        return look_failed("torc top", top->pid, result);
    terminal_open(screen);
    status = watch(view, top, options);
    terminal_close();
    if (status >= 0)
        return status;
    fprintf(stderr, "torc top: process %d has ended\n", top->pid);
    return options->once ? CLI_FAILED : 0;
}

static int run_on(struct torc_view *view, pid_t pid, const struct top_options *options)
{
    struct top top = {
        .pid = pid,
        .driver = torc_view_driver(view),
        .shard_count = torc_view_shard_count(view),
    };
    int status;

    read_process_name(&top);
    if (moment_init(&top.before, top.shard_count) && moment_init(&top.now, top.shard_count))
        status = run(view, &top, options);
    else
        status = cli_failed("torc top", "no memory");
    free(top.before.shards);
    free(top.now.shards);
    return status;
}

int command_top(int argc, char **argv)
{
    struct top_options options = {.interval_ns = TORC_SECOND};
    const struct cli_option known[] = {
        {"interval", "TIME", "from one look to the next; 1", cli_parse_time, &options.interval_ns,
         "a time from 50ms to 60m", 50 * TORC_MILLISECOND, 3600 * TORC_SECOND},
        {"once", NULL, "look for one interval, and end", NULL, &options.once, NULL, 0, 0},
        {"json", NULL, "one JSON object per look, on a line of its own", NULL, &options.json, NULL,
         0, 0},
        {"runtime", "N", "if the program has several, which one, from 0; 0", cli_parse_count,
         &options.number, NULL, 0, 1000},
        {0},
    };
    const struct cli_command command = {
        .name = "torc top",
        .usage = "PID [options]",
        .summary = "watch the shards and fibers of a running program",
        .notes = "q quits. Where standard output is no terminal, tables follow each other.\n"
                 "docs/guide/observing.md explains the columns.",
        .options = known,
    };
    struct torc_view *view;
    pid_t pid;
    int status = look_open(&command, argc, argv, &options.number, &pid, &view);

    if (status >= 0)
        return status;
    status = run_on(view, pid, &options);
    torc_view_close(view);
    return status;
}
