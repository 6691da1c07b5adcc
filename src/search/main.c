/* SPDX-License-Identifier: MIT */
/*
 * main.c - the command line of a program that searches.
 */
#include "search.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc/error.h>

#define NS_PER_SECOND UINT64_C(1000000000)

/* What the arguments ask for. */
struct command {
    const char *name;
    struct torc_sim_search search;
    struct torc_sim_options options;
    struct torc_sim_chaos chaos;
    bool has_seed;
    uint64_t seed;
};

static void print_help(const char *name)
{
    printf("Usage: %s [options]\n"
           "\n"
           "Runs a simulation with one seed after the other, until one fails, and then finds out "
           "what\n"
           "that failure needs.\n"
           "\n"
           "  --seeds N        how many seeds (default 1000)\n"
           "  --first N        the first of them (default 1)\n"
           "  --seconds S      begin none after so many seconds; without --seeds, as many as that "
           "allows\n"
           "  --jobs N         processes at a time (default: one on each CPU)\n"
           "  --twice          run each seed twice: the same has to happen\n"
           "  --no-shrink      take the failure as it was found\n"
           "  --chaos TEXT     what goes wrong: calm, default or wild, and what differs from that, "
           "as in\n"
           "                   calm,reset_rate=20,net_latency=1000-50000; see <torc/sim_chaos.h>\n"
           "  --seed N         run this seed alone, in this process\n"
           "  --trace          with --seed: tell what happens, on standard error\n"
           "  --help           show this text\n",
           name);
}

/* ---- Arguments ---- */

static bool read_number(const char *text, uint64_t *ret_number)
{
    char *end;

    errno = 0;
    *ret_number = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0' && *text != '-';
}

enum choice {
    OPTION_SEEDS = 256,
    OPTION_FIRST,
    OPTION_SECONDS,
    OPTION_JOBS,
    OPTION_TWICE,
    OPTION_NO_SHRINK,
    OPTION_CHAOS,
    OPTION_SEED,
    OPTION_TRACE,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"seeds", required_argument, NULL, OPTION_SEEDS},
    {"first", required_argument, NULL, OPTION_FIRST},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"jobs", required_argument, NULL, OPTION_JOBS},
    {"twice", no_argument, NULL, OPTION_TWICE},
    {"no-shrink", no_argument, NULL, OPTION_NO_SHRINK},
    {"chaos", required_argument, NULL, OPTION_CHAOS},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"trace", no_argument, NULL, OPTION_TRACE},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static bool read_jobs(const char *text, struct command *command)
{
    uint64_t jobs;

    if (!read_number(text, &jobs) || jobs < 1 || jobs > 256)
        return false;
    command->search.jobs = (unsigned)jobs;
    return true;
}

static bool read_seconds(const char *text, struct command *command)
{
    uint64_t seconds;

    if (!read_number(text, &seconds) || seconds < 1 || seconds > 1000000)
        return false;
    command->search.budget_ns = seconds * NS_PER_SECOND;
    return true;
}

/* Whether the option makes sense. */
static bool read_option(int option, const char *text, struct command *command)
{
    switch (option) {
    case OPTION_SEEDS:
        return read_number(text, &command->search.count) && command->search.count > 0;
    case OPTION_FIRST:
        return read_number(text, &command->search.first) && command->search.first > 0;
    case OPTION_SECONDS:
        return read_seconds(text, command);
    case OPTION_JOBS:
        return read_jobs(text, command);
    case OPTION_TWICE:
        command->search.twice = true;
        return true;
    case OPTION_NO_SHRINK:
        command->search.no_shrink = true;
        return true;
    case OPTION_CHAOS:
        command->options.chaos = &command->chaos;
        return torc_sim_chaos_parse(text, &command->chaos) == 0;
    case OPTION_SEED:
        command->has_seed = true;
        return read_number(text, &command->seed);
    case OPTION_TRACE:
        command->options.trace = true;
        return true;
    default:
        return false;
    }
}

/* The exit status if it is settled by the arguments already, or -1. */
static int read_arguments(int argc, char **argv, struct command *command)
{
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPTION_HELP) {
            print_help(command->name);
            return 0;
        }
        if (option == '?')
            return 2; /* getopt has said what is wrong. */
        if (!read_option(option, optarg, command)) {
            fprintf(stderr, "%s: an argument makes no sense: %s (--help tells more)\n",
                    command->name, argv[optind - 1]);
            return 2;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "%s: what is %s? (--help tells more)\n", command->name, argv[optind]);
    return 2;
}

/* ---- What is said ---- */

static void tell_end(const struct torc_sim_finding *finding)
{
    switch (finding->outcome) {
    case TORC_SIM_PASSED:
        break;
    case TORC_SIM_RESULT:
        printf("%s\n",
               finding->code == -EBADMSG ? "a check does not hold" : torc_strerror(finding->code));
        break;
    case TORC_SIM_DIED:
        printf("the process died: %s\n", strsignal(finding->code));
        break;
    case TORC_SIM_EXITED:
        printf("the process has ended with status %d\n", finding->code);
        break;
    case TORC_SIM_HUNG:
        printf("it hangs\n");
        break;
    case TORC_SIM_DIFFERS:
        printf("run twice, it is not the same\n");
        break;
    }
}

static void tell_sums(const struct torc_sim_finding *finding)
{
    const double seconds = (double)finding->real_ns / (double)NS_PER_SECOND;

    printf("%" PRIu64 " seeds in %.1f s: %.1f h simulated, %" PRIu64
           " operations (%.0f/s), %" PRIu64 " faults\n",
           finding->seeds, seconds, (double)finding->time_ns / (double)NS_PER_SECOND / 3600,
           finding->ops, seconds > 0 ? (double)finding->ops / seconds : 0, finding->faults);
}

/* The command line as it was given, since the program may have taken its own part of it. */
static void print_command(const struct command *command)
{
    FILE *file = fopen("/proc/self/cmdline", "re");
    char text[1024];
    const size_t length = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;

    if (file != NULL)
        (void)fclose(file);
    for (size_t i = 0; i + 1 < length; i++) {
        if (text[i] == '\0')
            text[i] = ' ';
    }
    text[length] = '\0';
    printf("%s", length > 0 ? text : command->name);
}

/* The settings of the environment that change what a seed does, before the command. */
static void print_settings(void)
{
    static const char *const names[] = {"TORC_FORBID", "TORC_CHECK"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && *value != '\0')
            printf("%s=%s ", names[i], value);
    }
}

static void tell_failure(const struct command *command, const struct torc_sim_finding *finding)
{
    char text[TORC_SIM_CHAOS_TEXT_SIZE];

    printf("seed %" PRIu64 " failed: ", finding->found_seed);
    tell_end(finding);
    torc_sim_chaos_format(&finding->chaos, text);
    if (finding->trials > 0)
        printf("shrunk in %u trials\n", finding->trials);
    printf("to repeat it: ");
    print_settings();
    print_command(command);
    printf(" --seed %" PRIu64 " --chaos %s --trace\n", finding->seed, text); /* The last counts. */
}

/* ---- What is done ---- */

/* Once more, for what the run says of its failure. */
static int run_failure(const struct command *command, const struct torc_sim_finding *finding,
                       torc_fiber_fn *body, void *arg)
{
    struct torc_sim_options options = command->options;
    const struct torc_sim_search search = {.options = &options, .twice = command->search.twice};
    struct search__scenario scenario;
    struct search__end end;
    int result;

    options.chaos = &finding->chaos;
    options.quiet = true; /* It would give a command of its own. */
    result = search__scenario_init(&scenario, &search, body, arg);
    return result < 0 ? result : search__run_apart(&scenario, finding->seed, false, &end);
}

/* Nothing was searched. What is wrong with a seed, torc_sim_run() tells. */
static void tell_refusal(const struct command *command, int error)
{
    struct torc_sim_chaos chaos;

    if (command->options.chaos == NULL && search__read_chaos(&chaos) < 0)
        fprintf(stderr, "torc: TORC_SIM_CHAOS: \"%s\" is not a chaos\n", getenv("TORC_SIM_CHAOS"));
    fprintf(stderr, "%s: %s\n", command->name, torc_strerror(error));
}

static int search_seeds(const struct command *command, torc_fiber_fn *body, void *arg)
{
    struct torc_sim_finding finding;
    int result = torc_sim_search(&command->search, body, arg, &finding);

    if (result < 0) {
        tell_refusal(command, result);
        return 1;
    }
    tell_sums(&finding);
    if (finding.outcome == TORC_SIM_PASSED)
        return 0;
    tell_failure(command, &finding);
    fflush(stdout);
    result = run_failure(command, &finding, body, arg);
    if (result < 0)
        fprintf(stderr, "%s: %s\n", command->name, torc_strerror(result));
    return 1;
}

static int run_once(const struct command *command, torc_fiber_fn *body, void *arg,
                    struct torc_sim_report *ret_report)
{
    struct torc_sim_options options = command->options;
    int result;

    options.report = ret_report;
    result = torc_sim_run(command->seed, &options, body, arg);
    printf("seed %" PRIu64 ": %s, hash %016" PRIx64 "\n", ret_report->seed,
           result < 0 ? torc_strerror(result) : "passed", ret_report->hash);
    return result;
}

static int run_seed(const struct command *command, torc_fiber_fn *body, void *arg)
{
    struct torc_sim_report report = {0};
    struct torc_sim_report again = {0};
    int result = run_once(command, body, arg, &report);

    if (!command->search.twice)
        return result < 0 ? 1 : 0;
    result |= run_once(command, body, arg, &again);
    if (again.hash != report.hash)
        printf("run twice, it is not the same\n");
    return result < 0 || again.hash != report.hash ? 1 : 0;
}

int torc_sim_main(int argc, char **argv, torc_fiber_fn *scenario, void *arg,
                  const struct torc_sim_options *options)
{
    const char *seed = getenv("TORC_SIM_SEED");
    struct command command = {.name = argc > 0 ? argv[0] : "simulation"};
    int status;

    if (options != NULL)
        command.options = *options;
    command.search.options = &command.options;
    command.has_seed = seed != NULL && *seed != '\0';
    status = read_arguments(argc, argv, &command);
    if (status >= 0)
        return status;
    return command.has_seed ? run_seed(&command, scenario, arg)
                            : search_seeds(&command, scenario, arg);
}
