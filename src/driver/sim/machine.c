/* SPDX-License-Identifier: MIT */
/*
 * machine.c - whole machines, their begin and their ends.
 */
#include "driver/sim/machine.h"
#include "driver/sim/disk.h"
#include "driver/sim/driver.h"
#include "driver/sim/net.h"
#include <errno.h>

struct sim_world *torc__sim_machines_create(uint64_t seed, const struct torc_sim_chaos *chaos)
{
    struct sim_world *world = torc__sim_world_create(seed, chaos);

    if (world != NULL && torc__sim_net_create(world) < 0) {
        torc__sim_world_destroy(world);
        return NULL;
    }
    return world;
}

int torc__sim_machine_add(struct sim_world *world, const char *name, const char *address,
                          struct sim_host **ret_host)
{
    struct sim_host *host;
    int result = torc__sim_host_add(world, name, address, &host);

    if (result < 0)
        return result;
    /* Without memory the host stays, half made: the world is of no use then. */
    result = torc__sim_net_host_add(host);
    if (result == 0)
        result = torc__sim_disk_create(host);
    if (result == 0)
        result = torc__sim_fd_begin(host);
    if (result < 0)
        return result;
    host->boots = 1;
    torc__sim_trace(world, host, "host begins", 1, 0);
    *ret_host = host;
    return 0;
}

void torc__sim_machine_kill(struct sim_host *host, bool crashed)
{
    torc__sim_trace(host->world, host, crashed ? "host crashes" : "process killed",
                    (int64_t)host->boots, 0);
    if (crashed)
        host->is_up = false;
    while (host->drivers != NULL)
        torc__sim_drop(host->drivers);
    torc__sim_context_kill_all(host);
    torc__sim_fd_close_all(host, crashed);
    if (crashed) {
        torc__sim_net_host_crash(host);
        torc__sim_disk_crash(host);
    } else if (host->disk != NULL) {
        torc__sim_disk_new_process(host);
    }
}

int torc__sim_machine_boot(struct sim_host *host)
{
    host->is_up = true;
    host->boots++;
    host->files_max = SIM_FILES_MAX;
    torc__sim_disk_new_process(host);
    torc__sim_trace(host->world, host, "host begins", (int64_t)host->boots, 0);
    return torc__sim_fd_begin(host);
}

void torc__sim_machines_destroy(struct sim_world *world)
{
    if (world == NULL)
        return;
    for (struct sim_host *host = world->hosts; host != NULL; host = host->next)
        torc__sim_machine_kill(host, false);
    for (struct sim_host *host = world->hosts; host != NULL; host = host->next) {
        if (host->net != NULL)
            torc__sim_net_host_remove(host);
        if (host->disk != NULL)
            torc__sim_disk_destroy(host);
    }
    torc__sim_net_destroy(world);
    torc__sim_world_destroy(world);
}
