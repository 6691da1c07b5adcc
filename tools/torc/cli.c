/* SPDX-License-Identifier: MIT */
/*
 * cli.c - what stands on the command line: reading it, complaining about it, and --help.
 */
#include "cli.h"

#include "cpus.h"
#include "output.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    OPTIONS_MAX = 32,
    FIRST_OPTION = 256, /* what getopt_long() returns for the first one: no letter is so large */
    HELP_COLUMN = 27,
};

/* Fibers on several threads may complain at the same time; lines stay whole. */
static void complain(const char *command, const char *format, va_list arguments)
{
    flockfile(stderr);
    output_live_end();
    fprintf(stderr, "%s: ", command);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    funlockfile(stderr);
}

int cli_wrong(const char *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(command, format, arguments);
    va_end(arguments);
    return CLI_WRONG;
}

int cli_failed(const char *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(command, format, arguments);
    va_end(arguments);
    return CLI_FAILED;
}

static void print_option(const char *name, const char *argument, const char *help)
{
    const int width = printf("  %s%s%s%s", name[1] == '\0' ? "-" : "--", name,
                             argument != NULL ? " " : "", argument != NULL ? argument : "");
    int column = width;

    if (width >= HELP_COLUMN) {
        putchar('\n');
        column = 0;
    }
    for (const char *line = help; line != NULL;) {
        const char *end = strchr(line, '\n');
        const int length = end != NULL ? (int)(end - line) : (int)strlen(line);

        printf("%*s%.*s\n", HELP_COLUMN - column, "", length, line);
        line = end != NULL ? end + 1 : NULL;
        column = 0;
    }
}

static void print_help(const struct cli_command *command)
{
    const char *bold = output_style(stdout, OUTPUT_BOLD);
    const char *plain = output_style(stdout, OUTPUT_PLAIN);

    printf("%s%s%s - %s\n\n", bold, command->name, plain, command->summary);
    printf("%sUsage:%s %s %s\n\n", bold, plain, command->name, command->usage);
    printf("%sOptions:%s\n", bold, plain);
    for (const struct cli_option *option = command->options; option->name != NULL; option++)
        print_option(option->name, option->argument, option->help);
    print_option("help", NULL, "show this text");
    if (command->notes != NULL)
        printf("\n%s\n", command->notes);
}

static int wrong_argument(const struct cli_command *command, const struct cli_option *option,
                          const char *text)
{
    if (option->wants != NULL) {
        return cli_wrong(command->name, "%s%s wants %s, not '%s'",
                         option->name[1] == '\0' ? "-" : "--", option->name, option->wants, text);
    }
    return cli_wrong(command->name, "--%s wants a number from %s to %s, not '%s'", option->name,
                     output_count(option->minimum).text, output_count(option->maximum).text, text);
}

/* Store one option that getopt_long() found. Returns -1, or the exit status. */
static int take_option(const struct cli_command *command, const struct cli_option *option,
                       const char *text)
{
    if (option->argument == NULL) {
        *(bool *)option->value = true;
    } else if (option->parse(option, text) < 0) {
        return wrong_argument(command, option, text);
    }
    return -1;
}

/* The option that getopt_long() has found; NULL if it is none of them. */
static const struct cli_option *find_option(const struct cli_command *command, int found)
{
    if (found >= FIRST_OPTION)
        return &command->options[found - FIRST_OPTION];
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        if (option->name[0] == found && option->name[1] == '\0')
            return option;
    }
    return NULL;
}

/* What getopt_long() did not understand. Long options are told apart from -x by optopt. */
static int wrong_option(const struct cli_command *command, int found, char **argv)
{
    const char *text = argv[optind - 1];

    if (found == ':' && optopt >= FIRST_OPTION) {
        return cli_wrong(command->name, "%s needs %s after it", text,
                         command->options[optopt - FIRST_OPTION].argument);
    }
    if (optopt >= FIRST_OPTION) {
        return cli_wrong(command->name, "%.*s takes nothing after it", (int)strcspn(text, "="),
                         text);
    }
    if (found == ':') {
        return cli_wrong(command->name, "-%c needs %s after it", optopt,
                         find_option(command, optopt)->argument);
    }
    if (optopt != 0) {
        return cli_wrong(command->name, "there is no option -%c (try %s --help)", optopt,
                         command->name);
    }
    return cli_wrong(command->name, "there is no option %s (try %s --help)", text, command->name);
}

/* What getopt_long() is to know: the long options, and the letters. */
static void fill_known(const struct cli_command *command, struct option *known, char *letters)
{
    strcpy(letters, ":h");
    for (int i = 0; command->options[i].name != NULL && i < OPTIONS_MAX; i++) {
        const struct cli_option *option = &command->options[i];

        if (option->name[1] == '\0') {
            strcat(letters, option->name);
            strcat(letters, option->argument != NULL ? ":" : "");
            continue;
        }
        *known++ = (struct option){
            .name = option->name,
            .has_arg = option->argument != NULL,
            .val = FIRST_OPTION + i,
        };
    }
    *known = (struct option){.name = "help", .val = 'h'};
}

int cli_parse(const struct cli_command *command, int argc, char **argv, int *ret_operand)
{
    struct option known[OPTIONS_MAX + 2] = {{0}};
    char letters[2 * OPTIONS_MAX + 3];
    int found;

    fill_known(command, known, letters);

    opterr = 0;
    optind = 0; /* Begin anew: main() has scanned its own options. */
    while ((found = getopt_long(argc, argv, letters, known, NULL)) != -1) {
        if (found == 'h') {
            print_help(command);
            return 0;
        }
        const struct cli_option *option = find_option(command, found);
        const int status = option == NULL ? wrong_option(command, found, argv)
                                          : take_option(command, option, optarg);
        if (status >= 0)
            return status;
    }
    *ret_operand = optind;
    return -1;
}

int cli_parse_all(const struct cli_command *command, int argc, char **argv)
{
    int operand;
    const int status = cli_parse(command, argc, argv, &operand);

    if (status >= 0 || operand == argc)
        return status;
    return cli_wrong(command->name, "what is '%s'? (see %s --help)", argv[operand], command->name);
}

uint64_t cli_raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

double cli_cpu_seconds(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

unsigned cli_cpu_count(void)
{
    const struct cpus cpus = cpus_here();

    return cpus_count(&cpus);
}
