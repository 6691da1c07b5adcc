/* SPDX-License-Identifier: MIT */
/*
 * main.c - the command torc: which of its commands is meant.
 */
#include "cli.h"
#include "commands.h"
#include "output.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"echo", command_echo, "run a TCP echo server"},
    {"bench", command_bench, "put a server under load and measure how it answers"},
    {"doctor", command_doctor, "what this machine offers to torc, and what is missing"},
    {"top", command_top, "watch the shards and fibers of a running program"},
    {"trace", command_trace, "record what a running program does, as a time line"},
    {"dump", command_dump, "every fiber of a running process, what it waits for, and its stack"},
    {"demo", command_demo, "echo servers under load: torc beside libuv and epoll"},
};

static int print_help(void)
{
    const char *bold = output_style(stdout, OUTPUT_BOLD);
    const char *plain = output_style(stdout, OUTPUT_PLAIN);

    printf("%storc%s - a thread-per-core runtime for C on io_uring, at work\n\n", bold, plain);
    printf("%sUsage:%s torc COMMAND [options]\n", bold, plain);
    printf("       torc --help | --version\n\n");
    printf("%sCommands:%s\n", bold, plain);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf("\nEach of them has a --help of its own: torc COMMAND --help.\n"
           "\n"
           "Environment:\n"
           "  TORC_DRIVER  uring or epoll: which driver to take where none is named\n"
           "  TORC_FORBID  kernel features to do without, such as defer_taskrun,msg_ring or all\n"
           "  TORC_SQPOLL, TORC_NAPI, TORC_MIN_WAIT\n"
           "               for special machines: see docs/guide/tuning.md\n"
           "  TORC_STALL_MS\n"
           "               how long a fiber may keep its shard before that is told, 0: ever; 25\n"
           "  TORC_OBSERVER\n"
           "               0: nobody looks for that, and torc top and trace cannot look\n"
           "  TORC_SELFTEST\n"
           "               off: do not look for bugs of the kernel\n"
           "  NO_COLOR     if set to anything, no colours\n"
           "\n"
           "Exit status: 0 done, 1 it did not work, 2 wrong arguments.\n");
    return 0;
}

/* What the buffer holds at the end may find no room, and what was written before neither. */
static int end_output(int status)
{
    const bool was_lost = ferror(stdout) != 0;

    if (fflush(stdout) == 0 && !was_lost)
        return status;
    return cli_failed("torc", "cannot write to standard output");
}

static int too_many(const char *text)
{
    return cli_wrong("torc", "what is '%s'? (see torc --help)", text);
}

static int run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (name == NULL || *name == '\0')
        return cli_wrong("torc", "which command? torc --help lists them");
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return argc > 2 ? too_many(argv[2]) : print_help();
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        return argc > 2 ? too_many(argv[2]) : puts("torc " TORC_VERSION) < 0;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    return cli_wrong("torc", "there is no %s %s (torc --help lists all commands)",
                     name[0] == '-' ? "option" : "command", name);
}

/*
 * Who is started with standard descriptors closed would have rings and sockets under their numbers,
 * which then got what is printed. So they are taken, by what can be read but not be written to.
 */
static void take_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    take_standard_descriptors();
    return end_output(run(argc, argv));
}
