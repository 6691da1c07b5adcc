/* SPDX-License-Identifier: MIT */
/*
 * option.c - several options of a socket at once.
 */
#include "io/option.h"
#include <torc/net.h>

int torc__options_set(int fd, const struct torc__option *options, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct torc__option *option = &options[i];
        int result;

        if (!option->wanted)
            continue;
        result =
            torc_setsockopt(fd, option->level, option->name, &option->value, sizeof(option->value));
        if (result < 0)
            return result;
    }
    return 0;
}
