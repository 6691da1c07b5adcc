/* SPDX-License-Identifier: MIT */
/*
 * host.c - simulated machines, and the descriptors of the process on each.
 */
#include "driver/sim/host.h"
#include "base/compiler.h"
#include "base/log.h"
#include "driver/sim/console.h"
#include "driver/sim/file.h"
#include "driver/sim/plan.h"
#include "driver/sim/watch_set.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_ROOM_FIRST 16u

/* ---- Hosts ---- */

static void give_address(struct sim_host *host)
{
    const unsigned index = host->index;

    host->ipv4.s_addr = htonl(0x0a000000u + index);
    memset(&host->ipv6, 0, sizeof(host->ipv6));
    host->ipv6.s6_addr[0] = 0xfd;
    host->ipv6.s6_addr[14] = (uint8_t)(index >> 8);
    host->ipv6.s6_addr[15] = (uint8_t)index;
}

static int read_address(struct sim_host *host, const char *address)
{
    give_address(host);
    if (address == NULL || *address == '\0' || inet_pton(AF_INET, address, &host->ipv4) == 1 ||
        inet_pton(AF_INET6, address, &host->ipv6) == 1)
        return 0;
    return -EINVAL;
}

static bool is_taken(const struct sim_world *world, const struct sim_host *host)
{
    return torc__sim_host_by_name(world, host->name) != NULL ||
           torc__sim_host_by_ipv4(world, host->ipv4) != NULL ||
           torc__sim_host_by_ipv6(world, &host->ipv6) != NULL;
}

int torc__sim_host_add(struct sim_world *world, const char *name, const char *address,
                       struct sim_host **ret_host)
{
    struct sim_host *host;
    int result;

    if (*name == '\0' || strlen(name) > SIM_NAME_MAX)
        return -EINVAL;
    host = calloc(1, sizeof(*host));
    if (host == NULL)
        return -ENOMEM;
    host->world = world;
    host->index = world->host_count + 1;
    host->files_max = SIM_FILES_MAX;
    host->is_up = true;
    memcpy(host->name, name, strlen(name));
    result = read_address(host, address);
    if (result == 0 && is_taken(world, host))
        result = -EADDRINUSE;
    if (result < 0) {
        free(host);
        return result;
    }
    world->host_count++;
    *world->last_host = host;
    world->last_host = &host->next;
    *ret_host = host;
    return 0;
}

void torc__sim_host_destroy(struct sim_host *host)
{
    torc__sim_fd_close_all(host, false);
    torc__sim_plan_clear(host);
    free(host->files);
    free(host);
}

struct sim_host *torc__sim_host_by_name(const struct sim_world *world, const char *name)
{
    struct sim_host *host = world->hosts;

    while (host != NULL && strcmp(host->name, name) != 0)
        host = host->next;
    return host;
}

struct sim_host *torc__sim_host_by_ipv4(const struct sim_world *world, struct in_addr address)
{
    struct sim_host *host = world->hosts;

    while (host != NULL && host->ipv4.s_addr != address.s_addr)
        host = host->next;
    return host;
}

struct sim_host *torc__sim_host_by_ipv6(const struct sim_world *world,
                                        const struct in6_addr *address)
{
    struct sim_host *host = world->hosts;

    while (host != NULL && memcmp(&host->ipv6, address, sizeof(*address)) != 0)
        host = host->next;
    return host;
}

/* ---- Descriptors ---- */

/* The lowest place that is free, perhaps behind the end of the table. */
static unsigned lowest_place(const struct sim_host *host)
{
    unsigned place = host->file_lowest;

    while (place < host->file_room && host->files[place] != NULL)
        place++;
    return place;
}

bool torc__sim_fd_is_free(const struct sim_host *host)
{
    return lowest_place(host) + SIM_CONSOLES < host->files_max;
}

static int make_room(struct sim_host *host)
{
    const unsigned room = host->file_room > 0 ? 2 * host->file_room : FILE_ROOM_FIRST;
    struct sim_file **files = realloc(host->files, room * sizeof(struct sim_file *));

    if (files == NULL)
        return -ENOMEM;
    memset(files + host->file_room, 0, (room - host->file_room) * sizeof(struct sim_file *));
    host->files = files;
    host->file_room = room;
    return 0;
}

int torc__sim_fd_open(struct sim_host *host, struct sim_file *file)
{
    const unsigned place = lowest_place(host);

    if (place + SIM_CONSOLES >= host->files_max)
        return -EMFILE;
    if (place == host->file_room && make_room(host) < 0)
        return -ENOMEM;
    host->files[place] = file;
    host->file_count++;
    host->file_lowest = place + 1;
    file->descriptors++;
    return SIM_FD_BASE + (int)place;
}

int torc__sim_fd_begin(struct sim_host *host)
{
    for (int fd = 0; fd < SIM_CONSOLES; fd++) {
        if (torc__sim_console_open(host, fd, &host->console[fd]) < 0)
            return -ENOMEM;
        host->console[fd]->descriptors++;
    }
    return 0;
}

struct sim_file *torc__sim_fd_file(const struct sim_host *host, int fd)
{
    const unsigned place = (unsigned)fd - SIM_FD_BASE;

    if (fd >= 0 && fd < SIM_CONSOLES)
        return host->console[fd];
    return fd >= SIM_FD_BASE && place < host->file_room ? host->files[place] : NULL;
}

/* Take a descriptor's file away from it. NULL: it has none. */
static struct sim_file *take(struct sim_host *host, int fd)
{
    struct sim_file *file = torc__sim_fd_file(host, fd);
    const unsigned place = (unsigned)fd - SIM_FD_BASE;

    if (file == NULL)
        return NULL;
    if (fd < SIM_CONSOLES) {
        host->console[fd] = NULL;
    } else {
        host->files[place] = NULL;
        host->file_count--;
        if (place < host->file_lowest)
            host->file_lowest = place;
    }
    if (--file->descriptors == 0)
        torc__sim_watch_forget(file);
    return file;
}

int torc__sim_fd_close(struct sim_host *host, int fd)
{
    struct sim_file *file = take(host, fd);

    if (file == NULL)
        return -EBADF;
    if (file->references > 1 && file->ops->closed != NULL)
        file->ops->closed(file);
    torc__sim_file_release(file);
    return 0;
}

int torc__sim_fd_replace(struct sim_host *host, int fd, struct sim_file *file)
{
    const unsigned place = (unsigned)fd - SIM_FD_BASE;
    int result = 0;

    if (fd < 0 || (fd >= SIM_CONSOLES && fd < SIM_FD_BASE) ||
        (fd >= SIM_FD_BASE && place + SIM_CONSOLES >= host->files_max))
        result = -EBADF;
    while (result == 0 && fd >= SIM_FD_BASE && place >= host->file_room)
        result = make_room(host);
    if (result < 0) {
        torc__sim_file_release(file);
        return result;
    }
    (void)torc__sim_fd_close(host, fd);
    file->descriptors++;
    if (fd < SIM_CONSOLES) {
        host->console[fd] = file;
    } else {
        host->files[place] = file;
        host->file_count++;
    }
    return fd;
}

static void close_one(struct sim_host *host, int fd, bool crashed)
{
    struct sim_file *file = take(host, fd);

    if (file != NULL && --file->references == 0)
        file->ops->release(file, crashed);
}

void torc__sim_fd_close_all(struct sim_host *host, bool crashed)
{
    for (int fd = 0; fd < SIM_CONSOLES; fd++)
        close_one(host, fd, crashed);
    for (unsigned i = 0; i < host->file_room; i++)
        close_one(host, SIM_FD_BASE + (int)i, crashed);
}
