/* SPDX-License-Identifier: MIT */
/*
 * sim_net_rig.h - a world of a few hosts without programs: the test makes their calls.
 */
#ifndef UNIT_DRIVER_SIM_NET_RIG_H
#define UNIT_DRIVER_SIM_NET_RIG_H

#include "base/clock.h"
#include "driver/sim/net.h"
#include "harness/harness.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIG_HOSTS 3

struct rig {
    struct sim_world *world;
    struct sim_host *hosts[RIG_HOSTS]; /* 10.0.0.1, ... and fd00::1, ... */
};

static inline void rig_open_with(struct rig *rig, uint64_t seed, const struct torc_sim_chaos *chaos)
{
    rig->world = torc__sim_world_create(seed, chaos);
    EXPECT(rig->world != NULL);
    EXPECT_INT(torc__sim_net_create(rig->world), ==, 0);
    for (int i = 0; i < RIG_HOSTS; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "host%d", i + 1);
        EXPECT_INT(torc__sim_host_add(rig->world, name, NULL, &rig->hosts[i]), ==, 0);
        EXPECT_INT(torc__sim_net_host_add(rig->hosts[i]), ==, 0);
    }
}

/* Nothing fails; what is sent within a host is there at once. */
static inline struct torc_sim_chaos rig_calm(void)
{
    struct torc_sim_chaos chaos;

    torc_sim_chaos_init(&chaos, TORC_SIM_CALM);
    chaos.loopback_latency = (struct torc_sim_range){0, 0};
    return chaos;
}

static inline void rig_open(struct rig *rig)
{
    const struct torc_sim_chaos chaos = rig_calm();

    rig_open_with(rig, 1, &chaos);
}

static inline void rig_close(struct rig *rig)
{
    for (int i = 0; i < RIG_HOSTS; i++)
        torc__sim_net_host_remove(rig->hosts[i]);
    torc__sim_net_destroy(rig->world);
    torc__sim_world_destroy(rig->world);
}

/* A test in a calm world, `rig`. */
#define RIG_TEST(name)                      \
    static void name##_in(struct rig *rig); \
    TEST(name)                              \
    {                                       \
        struct rig rig;                     \
                                            \
        rig_open(&rig);                     \
        name##_in(&rig);                    \
        rig_close(&rig);                    \
    }                                       \
    static void name##_in(struct rig *rig)

/* Let everything happen that is due within `ns`. */
static inline void rig_run(struct rig *rig, uint64_t ns)
{
    const uint64_t until_ns = rig->world->now_ns + ns;

    while (torc__sim_step(rig->world, until_ns))
        continue;
}

/* Let time pass until a file is ready for one of `events`, or has failed. */
static inline void rig_wait(struct rig *rig, struct sim_file *file, uint32_t events)
{
    while (!(torc__sim_file_poll(file) & (events | POLLERR | POLLHUP)))
        EXPECT(torc__sim_step(rig->world, UINT64_MAX));
}

static inline struct sockaddr_storage rig_address(const char *ip, uint16_t port)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;

    if (strchr(ip, ':') == NULL) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        EXPECT_INT(inet_pton(AF_INET, ip, &v4->sin_addr), ==, 1);
    } else {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        EXPECT_INT(inet_pton(AF_INET6, ip, &v6->sin6_addr), ==, 1);
    }
    return storage;
}

static inline socklen_t rig_length(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static inline uint16_t rig_port_of(const struct sockaddr_storage *address)
{
    return ntohs(((const struct sockaddr_in *)address)->sin_port); /* Of both at the same place. */
}

static inline uint16_t rig_local_port(struct sim_file *file)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    EXPECT_INT(file->ops->local(file, (struct sockaddr *)&address, &length), ==, 0);
    return rig_port_of(&address);
}

static inline struct sim_file *rig_socket(struct sim_host *host, int family, int type)
{
    struct sim_file *file;

    EXPECT_INT(torc__sim_socket(host, family, type, 0, &file), ==, 0);
    return file;
}

static inline int rig_bind(struct sim_file *file, const char *ip, uint16_t port)
{
    const struct sockaddr_storage address = rig_address(ip, port);

    return file->ops->bind(file, (const struct sockaddr *)&address, rig_length(&address));
}

static inline int rig_connect(struct sim_file *file, const char *ip, uint16_t port)
{
    const struct sockaddr_storage address = rig_address(ip, port);

    return file->ops->connect(file, (const struct sockaddr *)&address, rig_length(&address));
}

static inline int rig_option(struct sim_file *file, int level, int name)
{
    socklen_t length = sizeof(int);
    int value = -1;

    EXPECT_INT(file->ops->get_option(file, level, name, &value, &length), ==, 0);
    return value;
}

static inline int rig_set(struct sim_file *file, int level, int name, int value)
{
    return file->ops->set_option(file, level, name, &value, sizeof(value));
}

static inline ssize_t rig_send(struct sim_file *file, const void *data, size_t length)
{
    struct iovec vector = {(void *)(uintptr_t)data, length};
    const struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

    return file->ops->sendmsg(file, &message, 0);
}

static inline ssize_t rig_recv(struct sim_file *file, void *data, size_t length, int flags)
{
    struct iovec vector = {data, length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

    return file->ops->recvmsg(file, &message, flags);
}

/* A listener on a host, at a port that is chosen. */
static inline struct sim_file *rig_listen(struct sim_host *host, const char *ip, int backlog)
{
    struct sim_file *file = rig_socket(host, strchr(ip, ':') ? AF_INET6 : AF_INET, SOCK_STREAM);

    EXPECT_INT(rig_bind(file, ip, 0), ==, 0);
    EXPECT_INT(file->ops->listen(file, backlog), ==, 0);
    return file;
}

static inline struct sim_file *rig_accept(struct sim_file *listener)
{
    struct sim_file *file;

    EXPECT_INT(listener->ops->accept(listener, NULL, NULL, 0, &file), ==, 0);
    return file;
}

/* Two ends of a connection from hosts[from] to hosts[to], which may be the same. */
static inline void rig_pair(struct rig *rig, int from, int to, struct sim_file *ret_files[2])
{
    struct sim_file *listener = rig_listen(rig->hosts[to], "0.0.0.0", 16);
    char ip[32];
    int result;

    (void)snprintf(ip, sizeof(ip), "10.0.0.%d", to + 1);
    ret_files[0] = rig_socket(rig->hosts[from], AF_INET, SOCK_STREAM);
    result = rig_connect(ret_files[0], ip, rig_local_port(listener));
    if (result == -EINPROGRESS) {
        rig_wait(rig, listener, POLLIN);
        result = rig_connect(ret_files[0], ip, rig_local_port(listener));
    }
    EXPECT_INT(result, ==, 0);
    ret_files[1] = rig_accept(listener);
    torc__sim_file_release(listener);
}

/* What connecting to a port gives in the end. */
static inline int rig_port_error(struct rig *rig, int from, const char *ip, uint16_t port)
{
    struct sim_file *file = rig_socket(rig->hosts[from], AF_INET, SOCK_STREAM);
    int result = rig_connect(file, ip, port);

    if (result == -EINPROGRESS) {
        rig_wait(rig, file, POLLOUT);
        result = rig_connect(file, ip, port);
    }
    torc__sim_file_release(file);
    return result;
}

static inline void rig_close_pair(struct sim_file *files[2])
{
    torc__sim_file_release(files[0]);
    torc__sim_file_release(files[1]);
}

#endif
