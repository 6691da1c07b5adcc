/* SPDX-License-Identifier: MIT */
/*
 * terminal.h - a whole screen that changes in place, and keys that are read one by one.
 *
 * Whatever ends the program by a signal that can be caught, the terminal is as it was before.
 */
#ifndef TORC_TOOL_TERMINAL_H
#define TORC_TOOL_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

struct terminal_size {
    unsigned rows;
    unsigned columns;
};

enum terminal_event {
    TERMINAL_TIME,    /* the time has come */
    TERMINAL_RESIZED, /* draw again */
    TERMINAL_QUIT,    /* q, Ctrl-C, SIGTERM, SIGHUP */
};

/* Whether standard output is a terminal on which that works. */
bool terminal_is_there(void);

/* Take the signals that end or resize, unless ignored; with a `screen`, take the terminal, too. */
void terminal_open(bool screen);
void terminal_close(void);

/* How large it is now; 24 rows of 80 if it does not say. */
struct terminal_size terminal_size(void);

/* Begin to draw anew; what is printed then is to end its lines by terminal_end_line(). */
void terminal_begin(void);
void terminal_end_line(void);

/* Show it. */
void terminal_end(void);

/* Wait for a key, a signal, or `until_ns` (CLOCK_MONOTONIC). */
enum terminal_event terminal_wait(uint64_t until_ns);

#endif
