/* SPDX-License-Identifier: MIT */
/*
 * dns_places.c - in which order to try the places of a service: RFC 2782.
 */
#include "driver/thread.h"
#include "io/dns.h"
#include <stdlib.h>
#include <sys/random.h>

uint32_t torc__random_below(uint32_t limit)
{
    uint32_t bits = 0;

    if (torc__thread_is_simulated())
        return (uint32_t)(torc__thread_unique() % limit);
    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) < 0)
        bits = 0; /* Before the system has any randomness, no order is better than another. */
    return (uint32_t)(((uint64_t)bits * limit) >> 32);
}

/* By priority; those without weight first, which gives them a small chance to be chosen. */
static int compare(const void *left, const void *right)
{
    const struct torc_service *a = left;
    const struct torc_service *b = right;

    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    return (a->weight > 0) - (b->weight > 0);
}

/* The index of one of `count` places of one priority, each chosen in proportion to its weight. */
static unsigned choose(const struct torc_service *places, unsigned count,
                       uint32_t (*below)(uint32_t limit))
{
    uint32_t sum = 0;
    uint32_t mark;
    unsigned chosen = 0;

    for (unsigned i = 0; i < count; i++)
        sum += places[i].weight;
    mark = below(sum + 1);
    for (sum = places[0].weight; sum < mark; sum += places[chosen].weight)
        chosen++;
    return chosen;
}

void torc__places_sort(struct torc_service *places, unsigned count,
                       uint32_t (*below)(uint32_t limit))
{
    qsort(places, count, sizeof(*places), compare);
    for (unsigned i = 0; i < count; i++) {
        unsigned equal = 1;
        struct torc_service chosen;
        unsigned at;

        while (i + equal < count && places[i + equal].priority == places[i].priority)
            equal++;
        at = i + choose(&places[i], equal, below);
        chosen = places[at];
        for (; at > i; at--) /* The others keep their order. */
            places[at] = places[at - 1];
        places[i] = chosen;
    }
}
