/* SPDX-License-Identifier: MIT */
/*
 * cli.h - what stands on the command line: one table per command gives its options and its --help.
 *
 * What is wrong is said in exactly one line on standard error, and ends in exit status 2.
 */
#ifndef TORC_TOOL_CLI_H
#define TORC_TOOL_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <torc/torc.h>

enum cli_status {
    CLI_FAILED = 1, /* exit status: what was asked for did not work */
    CLI_WRONG = 2,  /* exit status: the command line makes no sense */
};

struct cli_option;

/* Store what `text` says in *option->value. Returns 0, or -EINVAL if that is not what it wants. */
typedef int cli_parse_fn(const struct cli_option *option, const char *text);

struct cli_option {
    const char *name;     /* without its dashes, of which one of a single letter has one */
    const char *argument; /* what --help calls it; NULL for a flag, whose value is a bool */
    const char *help;     /* a newline begins a new line there */
    cli_parse_fn *parse;
    void *value;
    const char *wants; /* for the complaint; NULL: a number in the range */
    uint64_t minimum;  /* the range of numbers, sizes and times */
    uint64_t maximum;
};

struct cli_command {
    const char *name;                 /* as it is called, such as "torc echo" */
    const char *usage;                /* what follows its name */
    const char *summary;              /* what it does, one line */
    const char *notes;                /* below the options, or NULL */
    const struct cli_option *options; /* ends with one that has no name */
};

/*
 * Read the options of a command; argv[0] is its own name. Returns -1 when it may begin, with the
 * operands moved to argv[*ret_operand] and after; else the exit status (0 after --help).
 */
int cli_parse(const struct cli_command *command, int argc, char **argv, int *ret_operand);

/* The same for a command that takes no operands: any is wrong. */
int cli_parse_all(const struct cli_command *command, int argc, char **argv);

/* Say what is wrong with the command line, in one line. Returns CLI_WRONG. */
int cli_wrong(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Say what did not work, in one line. Returns CLI_FAILED. */
int cli_failed(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

cli_parse_fn cli_parse_count;   /* "100", "20k" (thousands) to uint64_t */
cli_parse_fn cli_parse_size;    /* "16k", "1m" (powers of 1,024) to uint64_t, bytes */
cli_parse_fn cli_parse_time;    /* "10", "0.5", "200ms", "50us", "2m" to uint64_t, ns */
cli_parse_fn cli_parse_rate;    /* "20000", "20k", "0.5" to double */
cli_parse_fn cli_parse_address; /* to struct torc_address */
cli_parse_fn cli_parse_text;    /* to const char * */
cli_parse_fn cli_parse_shards;  /* these to a field of struct torc_options */
cli_parse_fn cli_parse_driver;
cli_parse_fn cli_parse_forbid;
cli_parse_fn cli_parse_busy_poll;

/* The options by which several commands choose how torc runs. */
struct cli_option cli_option_shards(struct torc_options *runtime);
struct cli_option cli_option_driver(struct torc_options *runtime);
struct cli_option cli_option_forbid(struct torc_options *runtime);
struct cli_option cli_option_busy_poll(struct torc_options *runtime);

/* The text of a busy-poll choice, as cli_parse_busy_poll() reads it. */
const char *cli_busy_poll_name(const struct torc_options *runtime);

/* Let this process have as many descriptors as it may. Returns how many that are. */
uint64_t cli_raise_file_limit(void);

/* The CPU time that this process has used. */
double cli_cpu_seconds(void);

/* How many CPUs this process may use. */
unsigned cli_cpu_count(void);

#endif
