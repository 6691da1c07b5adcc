/* SPDX-License-Identifier: MIT */
/*
 * dump_command.c - torc dump: every fiber of a running process, and what it waits for.
 */
#include "cli.h"
#include "commands.h"
#include "dump.h"
#include "look.h"

#include <errno.h>
#include <stdio.h>

enum {
    GROUP_FROM = 100, /* So many fibers are shown in groups, if nobody says how. */
};

static int show(const struct dump *dump, bool json, bool all, bool group)
{
    static char buffer[1 << 16];

    (void)setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    if (json)
        return dump_json(dump);
    dump_text(dump, group || (!all && dump->fiber_count > GROUP_FROM));
    return fflush(stdout) == 0 ? 0 : -EIO;
}

int command_dump(int argc, char **argv)
{
    bool json = false;
    bool all = false;
    bool group = false;
    bool no_stacks = false;
    bool no_stop = false;
    const struct cli_option known[] = {
        {"all", NULL, "every fiber by itself", NULL, &all, NULL, 0, 0},
        {"group", NULL,
         "those together whose stacks are the same\n(the default for more than 100 fibers)", NULL,
         &group, NULL, 0, 0},
        {"no-stacks", NULL, "only what they wait for", NULL, &no_stacks, NULL, 0, 0},
        {"no-stop", NULL, "do not stop the shards, not even for a moment", NULL, &no_stop, NULL, 0,
         0},
        {"json", NULL, "print one object of JSON", NULL, &json, NULL, 0, 0},
        {0},
    };
    const struct cli_command command = {
        .name = "torc dump",
        .usage = "[options] PID",
        .summary = "every fiber of a running process, what it waits for, and its stack",
        .notes = "The process needs no preparation, and goes on undisturbed: each shard stands\n"
                 "still for a millisecond or less. Who may debug a process may dump it.",
        .options = known,
    };
    struct dump dump = {.pidfd = -1};
    char why[DUMP_WHY_SIZE];
    int result;
    const int status = look_parse(&command, argc, argv, &dump.pid);

    if (status >= 0)
        return status;
    if (all && group)
        return cli_wrong(command.name, "--all and --group contradict each other");
    dump.stacks_wanted = !no_stacks;
    dump.may_stop = !no_stop;
    result = dump_capture(&dump, why, sizeof(why));
    if (result < 0)
        (void)cli_failed(command.name, "%s", why);
    else
        result = show(&dump, json, all, group);
    dump_finish(&dump);
    return result < 0 ? CLI_FAILED : 0;
}
