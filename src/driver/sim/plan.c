/* SPDX-License-Identifier: MIT */
/*
 * plan.c - faults that a scenario has planned: which ops of a host fail, and how.
 */
#include "driver/sim/plan.h"
#include <errno.h>
#include <stdlib.h>

struct sim_plan {
    struct sim_plan *next;
    struct torc_sim_failure failure;
};

int torc__sim_plan_add(struct sim_host *host, const struct torc_sim_failure *failure)
{
    struct sim_plan **last = &host->plans;
    struct sim_plan *plan = malloc(sizeof(*plan));

    if (plan == NULL)
        return -ENOMEM;
    while (*last != NULL)
        last = &(*last)->next;
    *plan = (struct sim_plan){.failure = *failure};
    if (plan->failure.count == 0)
        plan->failure.count = 1;
    *last = plan;
    return 0;
}

void torc__sim_plan_clear(struct sim_host *host)
{
    while (host->plans != NULL) {
        struct sim_plan *plan = host->plans;

        host->plans = plan->next;
        free(plan);
    }
}

static bool is_meant(const struct torc_sim_failure *failure, unsigned opcode, int fd)
{
    return (failure->opcode == TORC_SIM_ANY || (unsigned)failure->opcode == opcode) &&
           (failure->fd == TORC_SIM_ANY || failure->fd == fd);
}

int torc__sim_plan_look(struct sim_host *host, unsigned opcode, int fd)
{
    for (struct sim_plan **link = &host->plans; *link != NULL; link = &(*link)->next) {
        struct sim_plan *plan = *link;
        const int error = plan->failure.error;

        if (!is_meant(&plan->failure, opcode, fd))
            continue;
        if (plan->failure.after > 0) {
            plan->failure.after--;
            continue;
        }
        if (--plan->failure.count == 0) {
            *link = plan->next;
            free(plan);
        }
        torc__sim_trace(host->world, host, "planned failure", (int64_t)opcode, error);
        return error;
    }
    return 0;
}
