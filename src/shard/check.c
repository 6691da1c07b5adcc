/* SPDX-License-Identifier: MIT */
/*
 * check.c - mistakes that take time to find, and so are looked for only where that is asked for.
 */
#include "base/environment.h"
#include "shard/diagnose.h"

bool torc__check_wanted(const struct torc_options *options)
{
    return options->check_misuse || torc__environment_number("TORC_CHECK", 0, 1) != 0;
}

/*
 * An operation keeps the file, so a close does not end it: it goes on with a descriptor that means
 * something else from the next open on.
 */
void torc__check_close(struct torc__shard *shard, int fd)
{
    struct torc__printed printed = {0};
    char who[128];

    for (struct torc__fiber_chunk *chunk = shard->fibers.chunks; chunk != NULL;
         chunk = chunk->next) {
        for (unsigned i = 0; i < FIBER_CHUNK; i++) {
            struct torc_fiber *fiber = &chunk->fibers[i];

            if ((fiber->state != FIBER_WAITING && fiber->state != FIBER_INTERRUPTED) ||
                torc__fiber_descriptor(fiber) != fd)
                continue;
            torc__describe_running(who, sizeof(who));
            torc__log("misuse: %s closes descriptor %d under an operation, which goes on:", who,
                      fd);
            torc__print_fiber(shard, fiber, &printed);
        }
    }
}
