/* SPDX-License-Identifier: MIT */
/*
 * option.h - several options of a socket at once.
 */
#ifndef IO_OPTION_H
#define IO_OPTION_H

#include <stdbool.h>

/* An option whose value is an int. */
struct torc__option {
    int level;
    int name;
    int value;
    bool wanted;
};

/* Set those that are wanted, in their order. 0 or the first error. */
int torc__options_set(int fd, const struct torc__option *options, unsigned count);

#endif
