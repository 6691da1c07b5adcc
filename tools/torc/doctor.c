/* SPDX-License-Identifier: MIT */
/*
 * doctor.c - torc doctor: what this machine offers to torc, what torc chooses, what is missing.
 */
#include "doctor.h"

#include "cli.h"
#include "commands.h"
#include "output.h"

#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>

static void heading(const char *text)
{
    printf("\n%s%s%s\n", output_style(stdout, OUTPUT_BOLD), text,
           output_style(stdout, OUTPUT_PLAIN));
}

static void line(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line(const char *name, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    printf("  %-20s ", name);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

/* A limit as text: a number, bytes, or "unlimited". */
static struct output_text limit_text(uint64_t limit, bool bytes)
{
    if (limit == RLIM_INFINITY)
        return (struct output_text){"unlimited"};
    return bytes ? output_bytes((double)limit) : output_count(limit);
}

static struct output_text number_text(int64_t number)
{
    return number < 0 ? (struct output_text){"unknown"} : output_count((uint64_t)number);
}

static const char *or_unknown(const char *text)
{
    return text[0] != '\0' ? text : "unknown";
}

static const char *io_uring_text(int64_t disabled)
{
    switch (disabled) {
    case 0:
        return "for everybody (kernel.io_uring_disabled = 0)";
    case 1:
        return "for one group and root (kernel.io_uring_disabled = 1)";
    case 2:
        return "switched off (kernel.io_uring_disabled = 2)";
    default:
        return "no switch to be seen (it came with Linux 6.6)";
    }
}

static const char *seccomp_text(int64_t mode)
{
    switch (mode) {
    case 0:
        return "off";
    case 1:
        return "strict";
    case 2:
        return "a filter, which may deny io_uring";
    default:
        return "unknown";
    }
}

static const char *overcommit_text(int64_t mode)
{
    switch (mode) {
    case 0:
        return "heuristic (vm.overcommit_memory = 0)";
    case 1:
        return "always (vm.overcommit_memory = 1)";
    case 2:
        return "never (vm.overcommit_memory = 2)";
    default:
        return "unknown";
    }
}

static void print_machine(const struct doctor_facts *facts)
{
    heading("Kernel");
    line("Linux", "%s, %s", or_unknown(facts->kernel), or_unknown(facts->machine));
    line("io_uring", "%s", io_uring_text(facts->io_uring_disabled));
    line("seccomp", "%s", seccomp_text(facts->seccomp));
    line("container", "%s", facts->container[0] != '\0' ? facts->container : "no sign of one");

    heading("Limits");
    line("descriptors", "%s, at most %s", limit_text(facts->nofile, false).text,
         limit_text(facts->nofile_max, false).text);
    line("locked memory", "%s, at most %s", limit_text(facts->memlock, true).text,
         limit_text(facts->memlock_max, true).text);
    line("mappings", "%s", number_text(facts->max_map_count).text);
    line("overcommit", "%s", overcommit_text(facts->overcommit_memory));
    line("waiting connections", "%s", number_text(facts->somaxconn).text);

    heading("Machine");
    line("CPUs", "%u of %u", facts->cpus, facts->cpus_online);
    if (facts->cpu_quota > 0)
        line("CPU time", "%.1f CPUs' (cgroup)", facts->cpu_quota);
    line("huge pages", "%s", or_unknown(facts->huge_pages));
    line("TCP congestion", "%s", or_unknown(facts->congestion_control));
}

static void print_features(const struct torc_driver_report *report)
{
    heading("Features of the kernel");
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        const struct torc_feature_report *feature = &report->features[i];
        const enum output_style style = feature->used        ? OUTPUT_GOOD
                                        : feature->available ? OUTPUT_DIM
                                                             : OUTPUT_WARN;

        printf("  %s%-7s%s %-14s %5s   %s\n", output_style(stdout, style),
               feature->used ? "used" : "not", output_style(stdout, OUTPUT_PLAIN), feature->name,
               feature->since, feature->gives);
        if (!feature->used) {
            printf("  %31s%s%s%s\n", "", output_style(stdout, OUTPUT_DIM), feature->reason,
                   output_style(stdout, OUTPUT_PLAIN));
        }
    }
}

static void print_advice(const struct doctor_advice *advice, unsigned count)
{
    if (count == 0)
        return;
    heading("Advice");
    for (unsigned i = 0; i < count; i++) {
        const enum output_style style = advice[i].problem ? OUTPUT_BAD : OUTPUT_WARN;

        printf("  %s%s%s %s\n    %s\n", output_style(stdout, style), advice[i].problem ? "!" : "-",
               output_style(stdout, OUTPUT_PLAIN), advice[i].what, advice[i].how);
    }
}

/* What somebody has switched on. */
static void print_asked_for(const struct torc_driver_report *report)
{
    if (report->sqpoll_idle_ms > 0)
        line("TORC_SQPOLL", "a thread polls the submission queue, and sleeps after %u ms",
             report->sqpoll_idle_ms);
    if (report->napi_poll_us > 0)
        line("TORC_NAPI", "waits poll the network devices for %u us", report->napi_poll_us);
    if (report->min_wait_us > 0)
        line("TORC_MIN_WAIT", "waits collect completions for %u us", report->min_wait_us);
}

static void print_all(const struct doctor_facts *facts, const struct doctor_advice *advice,
                      unsigned count)
{
    const struct torc_driver_report *report = &facts->report;
    const bool works = report->error == 0;

    printf("%storc %s %s%s\n", output_style(stdout, works ? OUTPUT_GOOD : OUTPUT_BAD), TORC_VERSION,
           works ? "runs here" : "cannot run here", output_style(stdout, OUTPUT_PLAIN));
    line("driver", "%s", report->driver);
    if (report->reason != NULL && report->reason[0] != '\0')
        line("", "%s", report->reason);
    if (report->entries > 0) {
        line("ring", "%s entries, %s completions", output_count(report->entries).text,
             output_count(report->completion_entries).text);
        line("self-test", "%s", report->self_test);
        print_asked_for(report);
    }
    print_machine(facts);
    if (works)
        print_features(report);
    print_advice(advice, count);
}

int command_doctor(int argc, char **argv)
{
    struct torc_options runtime = {0};
    bool json = false;
    const struct cli_option known[] = {
        cli_option_driver(&runtime),
        cli_option_forbid(&runtime),
        {"json", NULL, "print one object of JSON", NULL, &json, NULL, 0, 0},
        {0},
    };
    const struct cli_command command = {
        .name = "torc doctor",
        .usage = "[options]",
        .summary = "what this machine offers to torc, what torc chooses, and what is missing",
        .notes = "Exit status: 0 if torc can run here, 1 if no driver works.",
        .options = known,
    };
    struct doctor_advice advice[DOCTOR_ADVICE_MAX];
    struct doctor_facts facts;
    const int status = cli_parse_all(&command, argc, argv);

    if (status >= 0)
        return status;
    const int error = doctor_collect(&runtime, &facts);
    if (error < 0)
        return cli_failed(command.name, "%s", torc_strerror(error));

    const unsigned count = doctor_advise(&facts, advice);
    if (json) {
        (void)output_json(doctor_json(&facts, advice, count));
    } else {
        print_all(&facts, advice, count);
    }
    return facts.report.error == 0 ? 0 : CLI_FAILED;
}
