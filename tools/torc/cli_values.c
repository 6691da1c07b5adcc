/* SPDX-License-Identifier: MIT */
/*
 * cli_values.c - the kinds of values that stand behind options: numbers, sizes, times, addresses,
 * and the choices that torc_run() offers.
 */
#include "cli.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARDS_MAX = 1024,
};

/* A suffix of a number and what it is worth. Lists end with NULL. */
struct unit {
    const char *suffix;
    double factor;
};

static const struct unit count_units[] = {{"", 1}, {"k", 1e3}, {"m", 1e6}, {NULL, 0}};
static const struct unit size_units[] = {
    {"", 1},         {"b", 1},      {"k", 0x1p10},   {"kib", 0x1p10}, {"m", 0x1p20},
    {"mib", 0x1p20}, {"g", 0x1p30}, {"gib", 0x1p30}, {NULL, 0},
};
static const struct unit time_units[] = {
    {"", 1e9}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"min", 60e9}, {NULL, 0},
};
static const struct unit microsecond_units[] = {{"", 1e3}, {"us", 1e3}, {"ms", 1e6}, {NULL, 0}};

/* Decimal digits with at most one point, and a unit. Nothing else: no sign, no 1e3, no 0x10. */
static int parse_number(const char *text, const struct unit *units, double *ret_number)
{
    char *end = NULL;

    if (!isdigit((unsigned char)text[0]) || strspn(text, "0123456789.") > 15)
        return -EINVAL;
    const double number = strtod(text, &end);
    if (end != text + strspn(text, "0123456789."))
        return -EINVAL;
    for (; units->suffix != NULL; units++) {
        if (strcasecmp(end, units->suffix) == 0) {
            *ret_number = number * units->factor;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_whole(const struct cli_option *option, const char *text, const struct unit *units)
{
    double number;

    if (parse_number(text, units, &number) < 0)
        return -EINVAL;
    /* 0.3 is not exactly three tenths, so what should be whole is so only nearly. */
    const double whole = round(number);
    if (fabs(number - whole) > 0.001)
        return -EINVAL;
    if (whole < (double)option->minimum || whole > (double)option->maximum)
        return -EINVAL;
    *(uint64_t *)option->value = (uint64_t)whole;
    return 0;
}

int cli_parse_count(const struct cli_option *option, const char *text)
{
    return parse_whole(option, text, count_units);
}

int cli_parse_size(const struct cli_option *option, const char *text)
{
    return parse_whole(option, text, size_units);
}

int cli_parse_time(const struct cli_option *option, const char *text)
{
    return parse_whole(option, text, time_units);
}

int cli_parse_rate(const struct cli_option *option, const char *text)
{
    double rate;

    if (parse_number(text, count_units, &rate) < 0 || rate <= 0 || rate > (double)option->maximum)
        return -EINVAL;
    *(double *)option->value = rate;
    return 0;
}

int cli_parse_address(const struct cli_option *option, const char *text)
{
    return torc_address_parse(text, option->value);
}

int cli_parse_text(const struct cli_option *option, const char *text)
{
    if (*text == '\0')
        return -EINVAL;
    *(const char **)option->value = text;
    return 0;
}

int cli_parse_shards(const struct cli_option *option, const char *text)
{
    struct torc_options *runtime = option->value;
    double number;

    if (strcmp(text, "all") == 0) {
        runtime->shards = (int)cli_cpu_count();
        return 0;
    }
    if (parse_number(text, count_units, &number) < 0 || number != floor(number))
        return -EINVAL;
    if (number < 1 || number > SHARDS_MAX)
        return -EINVAL;
    runtime->shards = (int)number;
    return 0;
}

int cli_parse_driver(const struct cli_option *option, const char *text)
{
    struct torc_options *runtime = option->value;

    if (strcmp(text, "auto") == 0)
        runtime->driver = TORC_DRIVER_AUTO;
    else if (strcmp(text, "uring") == 0)
        runtime->driver = TORC_DRIVER_URING;
    else if (strcmp(text, "epoll") == 0)
        runtime->driver = TORC_DRIVER_EPOLL;
    else
        return -EINVAL;
    return 0;
}

/* The bit of one feature in torc_options.forbid; 0 if there is none of this name. */
static unsigned feature_bit(const char *name, size_t length)
{
    static const struct {
        const char *name;
        unsigned bit;
    } features[] = {
        {"ext_arg", TORC_FEATURE_EXT_ARG},
        {"cqe_skip", TORC_FEATURE_CQE_SKIP},
        {"submit_all", TORC_FEATURE_SUBMIT_ALL},
        {"ring_fd", TORC_FEATURE_RING_FD},
        {"msg_ring", TORC_FEATURE_MSG_RING},
        {"coop_taskrun", TORC_FEATURE_COOP_TASKRUN},
        {"buffer_ring", TORC_FEATURE_BUFFER_RING},
        {"single_issuer", TORC_FEATURE_SINGLE_ISSUER},
        {"multishot", TORC_FEATURE_MULTISHOT},
        {"send_zc", TORC_FEATURE_SEND_ZC},
        {"defer_taskrun", TORC_FEATURE_DEFER_TASKRUN},
        {"no_sqarray", TORC_FEATURE_NO_SQARRAY},
        {"buffer_inc", TORC_FEATURE_BUFFER_INC},
        {"guard_regions", TORC_FEATURE_GUARD_REGIONS},
        {"all", TORC_FEATURE_ALL},
    };

    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        if (strlen(features[i].name) == length && strncmp(features[i].name, name, length) == 0)
            return features[i].bit;
    }
    return 0;
}

int cli_parse_forbid(const struct cli_option *option, const char *text)
{
    struct torc_options *runtime = option->value;
    unsigned forbid = 0;

    for (const char *name = text;; name++) {
        const size_t length = strcspn(name, ",");
        const unsigned bit = feature_bit(name, length);

        if (bit == 0)
            return -EINVAL;
        forbid |= bit;
        name += length;
        if (*name == '\0')
            break;
    }
    runtime->forbid |= forbid;
    return 0;
}

int cli_parse_busy_poll(const struct cli_option *option, const char *text)
{
    struct torc_options *runtime = option->value;
    double time_ns;

    if (strcmp(text, "off") == 0) {
        runtime->busy_poll = TORC_BUSY_POLL_OFF;
        return 0;
    }
    if (strcmp(text, "adaptive") == 0) {
        runtime->busy_poll = TORC_BUSY_POLL_ADAPTIVE;
        return 0;
    }
    if (parse_number(text, microsecond_units, &time_ns) < 0 || time_ns < 1 || time_ns > 1e9)
        return -EINVAL;
    runtime->busy_poll = TORC_BUSY_POLL_FIXED;
    runtime->busy_poll_ns = (uint64_t)time_ns;
    return 0;
}

struct cli_option cli_option_shards(struct torc_options *runtime)
{
    return (struct cli_option){
        .name = "shards",
        .argument = "N|all",
        .help = "threads, each with its ring; all: one on each CPU (default 1)",
        .parse = cli_parse_shards,
        .value = runtime,
        .wants = "a number from 1 to 1,024, or all",
    };
}

struct cli_option cli_option_driver(struct torc_options *runtime)
{
    return (struct cli_option){
        .name = "driver",
        .argument = "NAME",
        .help = "auto (the best that works here, the default), uring or epoll",
        .parse = cli_parse_driver,
        .value = runtime,
        .wants = "auto, uring or epoll",
    };
}

struct cli_option cli_option_forbid(struct torc_options *runtime)
{
    return (struct cli_option){
        .name = "forbid",
        .argument = "LIST",
        .help = "kernel features to do without, by their names in torc doctor,\n"
                "separated by commas; all: every one",
        .parse = cli_parse_forbid,
        .value = runtime,
        .wants = "names of features (torc doctor lists them) separated by commas",
    };
}

struct cli_option cli_option_busy_poll(struct torc_options *runtime)
{
    return (struct cli_option){
        .name = "busy-poll",
        .argument = "HOW",
        .help = "before a shard sleeps: off, adaptive (the default), or always\n"
                "for so many microseconds",
        .parse = cli_parse_busy_poll,
        .value = runtime,
        .wants = "off, adaptive, or microseconds up to a second",
    };
}

const char *cli_busy_poll_name(const struct torc_options *runtime)
{
    switch (runtime->busy_poll) {
    case TORC_BUSY_POLL_OFF:
        return "off";
    case TORC_BUSY_POLL_FIXED:
        return "fixed";
    default:
        return "adaptive";
    }
}
