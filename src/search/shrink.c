/* SPDX-License-Identifier: MIT */
/*
 * shrink.c - what a failure needs: as few kinds of chaos, and as few faults, as can be found.
 *
 * Another chaos makes other random numbers, so with the same seed another story. What is kept is
 * not the story but the kind of failure; where the seed that was found does not show it any more,
 * some others may.
 */
#include "search.h"

/* Other seeds that are tried for a smaller chaos. */
#define NEIGHBOURS 24u

struct shrinking {
    struct search__scenario *scenario;
    const struct search__end *end;
    struct torc_sim_finding *finding;
    uint64_t until_ns;
};

/* Whether a seed fails as it did, with the scenario's present chaos. */
static int fails(struct shrinking *shrinking, uint64_t seed, struct torc_sim_report *ret_report)
{
    struct search__end end;
    const int result = search__run_apart(shrinking->scenario, seed, true, &end);

    shrinking->finding->trials++;
    if (result < 0)
        return result;
    *ret_report = end.report;
    return end.outcome == shrinking->end->outcome && end.code == shrinking->end->code;
}

/* Whether this chaos is enough, with the seed or one after it; then that is what the finding is. */
static int is_enough(struct shrinking *shrinking, const struct torc_sim_chaos *chaos,
                     unsigned neighbours)
{
    struct torc_sim_finding *finding = shrinking->finding;
    struct torc_sim_report report;

    shrinking->scenario->chaos = *chaos;
    for (uint64_t i = 0; i <= neighbours && search__clock() < shrinking->until_ns; i++) {
        const int result = fails(shrinking, finding->seed + i, &report);

        if (result < 0)
            return result;
        if (result > 0) {
            finding->seed += i;
            finding->chaos = *chaos;
            return 1;
        }
    }
    return 0;
}

/* Go without one kind of chaos after the other. Returns whether any was not needed. */
static int drop_settings(struct shrinking *shrinking)
{
    struct torc_sim_chaos calm;
    int dropped = 0;

    torc_sim_chaos_init(&calm, TORC_SIM_CALM);
    for (unsigned i = 0; i < torc_sim_chaos_settings(); i++) {
        struct torc_sim_chaos chaos = shrinking->finding->chaos;
        int result;

        if (!torc_sim_chaos_take(&chaos, i, &calm))
            continue;
        result = is_enough(shrinking, &chaos, NEIGHBOURS);
        if (result < 0)
            return result;
        dropped |= result;
    }
    return dropped;
}

/* Bound the faults, to half as many as long as that is enough. */
static int drop_faults(struct shrinking *shrinking)
{
    struct torc_sim_chaos chaos = shrinking->finding->chaos;
    struct torc_sim_report report;
    int result;

    shrinking->scenario->chaos = chaos;
    result = fails(shrinking, shrinking->finding->seed, &report);
    if (result <= 0 || report.faults == 0)
        return result; /* 0: it fails by chance, so there is nothing to go by. */
    chaos.faults_max = report.faults;
    do {
        chaos.faults_max /= 2;
        result = is_enough(shrinking, &chaos, 0);
    } while (result > 0 && chaos.faults_max > 0);
    if (result < 0)
        return result;
    /* Between too few and enough it is near the lower end, or not worth the time. */
    for (unsigned i = 0; i < 4 && chaos.faults_max + 1 < shrinking->finding->chaos.faults_max;
         i++) {
        chaos.faults_max++;
        result = is_enough(shrinking, &chaos, 0);
        if (result != 0)
            return result;
    }
    return 0;
}

int search__shrink(struct search__scenario *scenario, const struct search__end *end,
                   struct torc_sim_finding *finding)
{
    struct shrinking shrinking = {.scenario = scenario,
                                  .end = end,
                                  .finding = finding,
                                  .until_ns = search__clock() + scenario->shrink_ns};
    const bool twice = scenario->twice;
    int result;

    if (end->outcome == TORC_SIM_HUNG)
        return 0; /* Each trial would take the time that hanging takes. */
    scenario->twice = end->outcome == TORC_SIM_DIFFERS;
    do
        result = drop_settings(&shrinking);
    while (result > 0);
    if (result == 0 && search__clock() < shrinking.until_ns)
        result = drop_faults(&shrinking);
    scenario->twice = twice;
    return result < 0 ? result : 0;
}
