/* SPDX-License-Identifier: MIT */
/*
 * perils.h - what the scenarios here share: scopes that end at any instant, and bytes that tell
 * where they belong.
 */
#ifndef SIM_PERILS_H
#define SIM_PERILS_H

#include <errno.h>
#include <torc/sim_search.h>
#include <torc/torc.h>

/* A scope that ends, or not, while something waits in it. */
struct peril {
    struct torc_scope scope;
    uint64_t after_ns;
};

static int peril__cancel(void *arg)
{
    struct peril *peril = arg;

    if (torc_sleep(peril->after_ns) == 0)
        torc_scope_cancel(&peril->scope);
    return 0;
}

/* What stands between this and peril_close() is cancelled at some instant, or late, or neither. */
static inline void peril_open(struct peril *peril)
{
    peril->after_ns = torc_sim_random_below(torc_sim_random_below(4) * TORC_MILLISECOND + 1);
    torc_scope_open(&peril->scope, 0);
    switch (torc_sim_random_below(4)) {
    case 0:
        torc_scope_set_timeout(&peril->scope, peril->after_ns);
        break;
    case 1:
        TORC_SIM_CHECK(torc_scope_spawn(&peril->scope, peril__cancel, peril) == 0);
        break;
    default:
        break;
    }
}

static inline void peril_close(struct peril *peril)
{
    torc_scope_cancel(&peril->scope);
    (void)torc_scope_close(&peril->scope);
}

/* Whether a result of a call says that nothing has happened, and that one may try again. */
static inline bool is_passing(int64_t result)
{
    return result == -ECANCELED || result == -ETIME || result == -EAGAIN || result == -ENOMEM ||
           result == -ENOBUFS || result == -EMFILE || result == -ENFILE;
}

/* The byte at an offset of a flow. */
static inline uint8_t pattern(uint8_t flow, uint64_t offset)
{
    return (uint8_t)((offset * UINT64_C(0x9e3779b97f4a7c15)) >> 56) ^ flow;
}

static inline void pattern_fill(uint8_t flow, uint64_t offset, uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = pattern(flow, offset + i);
}

static inline void pattern_check(uint8_t flow, uint64_t offset, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        TORC_SIM_CHECK(bytes[i] == pattern(flow, offset + i));
}

#endif
