/* SPDX-License-Identifier: MIT */
/*
 * output.h - numbers as people read them, a line that changes in place, and colour.
 *
 * The numbers come back by value, to be used inside of a printf(): output_count(n).text.
 */
#ifndef TORC_TOOL_OUTPUT_H
#define TORC_TOOL_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct output_text {
    char text[40];
};

/*
 * Make a text fit for a terminal, and for JSON, whoever wrote it: what is no UTF-8 or would control
 * the terminal becomes "?".
 */
void output_make_printable(char *text);

/* Of a text that was cut off: take away a character of which only the beginning is there. */
void output_drop_part(char *text);

/* Print a text that is printable, cut or filled up to `width` characters. */
void output_cell(const char *text, unsigned width);

/* "1,234,567" */
struct output_text output_count(uint64_t number);

/* "850 ns", "14.3 us", "1.20 ms", "12.5 s": three significant digits. */
struct output_text output_time(double time_ns);

/* "512 B", "7.34 MiB": three significant digits. */
struct output_text output_bytes(double bytes);

enum output_style {
    OUTPUT_PLAIN,
    OUTPUT_BOLD,
    OUTPUT_DIM,
    OUTPUT_GOOD,
    OUTPUT_BAD,
    OUTPUT_WARN,
};

/* What switches `stream` to a style; "" unless it is a terminal, and if NO_COLOR is set. */
const char *output_style(FILE *stream, enum output_style style);

/* Whether a line on standard error can change in place. */
bool output_live_wanted(void);

/* Replace the live line on standard error, without a newline. */
void output_live(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Take the live line away. */
void output_live_end(void);

/* Write an object as one line to standard output, and release it. Returns 0, or -EIO. */
int output_json(json_t *object);

#endif
