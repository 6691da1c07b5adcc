/* SPDX-License-Identifier: MIT */
/*
 * steer_test.c - connections that come to the shard on whose CPU they arrive.
 *
 * Over the loopback device a packet arrives on the CPU from which it was sent, so a client that is
 * pinned chooses the CPU.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <torc/torc.h>
#include <unistd.h>

#define DIALS 32u

/* ---- CPUs ---- */

/* Two CPUs that this process may use; false if it has one only. */
static bool find_two_cpus(int ret_cpus[2])
{
    cpu_set_t set;
    unsigned found = 0;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return false;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++) {
        if (CPU_ISSET(cpu, &set))
            ret_cpus[found++] = (int)cpu;
    }
    return found == 2;
}

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    EXPECT_INT(sched_setaffinity(0, sizeof(set), &set), ==, 0);
}

/* ---- Whether the kernel can do it, found out without torc ---- */

static void set_int(int fd, int option, int value)
{
    EXPECT_INT(setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)), ==, 0);
}

static int listen_plainly(struct torc_address *address, int cpu)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    EXPECT_INT(fd, >=, 0);
    set_int(fd, SO_REUSEPORT, 1);
    if (setsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, sizeof(cpu)) < 0) {
        close(fd);
        return -1;
    }
    EXPECT_INT(bind(fd, &address->any, address->length), ==, 0);
    EXPECT_INT(listen(fd, 2 * DIALS), ==, 0);
    EXPECT_INT(getsockname(fd, &address->any, &address->length), ==, 0);
    return fd;
}

/* Connect, and tell which of two listeners has got it. */
static unsigned dial_plainly(const struct torc_address *address, const int listeners[2])
{
    struct pollfd polls[] = {{.fd = listeners[0], .events = POLLIN},
                             {.fd = listeners[1], .events = POLLIN}};
    const int dialled = harness_dial(address);
    unsigned index;
    int fd;

    EXPECT_INT(poll(polls, 2, -1), ==, 1);
    index = polls[1].revents != 0;
    fd = accept(listeners[index], NULL, NULL);
    EXPECT_INT(fd, >=, 0);
    close(fd);
    close(dialled);
    return index;
}

static bool listener_is_chosen_by_cpu(const int cpus[2], const int listeners[2],
                                      const struct torc_address *address)
{
    for (unsigned i = 0; i < 2; i++) {
        pin(cpus[i]);
        for (unsigned n = 0; n < DIALS; n++) {
            if (dial_plainly(address, listeners) != i)
                return false;
        }
    }
    return true;
}

static void *ask_kernel(void *arg)
{
    const int *cpus = arg;
    struct torc_address address = harness_address("127.0.0.1:0");
    const int first = listen_plainly(&address, cpus[0]);
    const int second = first < 0 ? -1 : listen_plainly(&address, cpus[1]);
    const int listeners[] = {first, second};
    const bool steers = second >= 0 && listener_is_chosen_by_cpu(cpus, listeners, &address);

    if (first >= 0)
        close(first);
    if (second >= 0)
        close(second);
    return steers ? arg : NULL;
}

/* On a thread, since it is pinned. */
static bool kernel_steers(int *cpus)
{
    pthread_t thread = harness_thread(ask_kernel, cpus);
    void *result;

    EXPECT_INT(pthread_join(thread, &result), ==, 0);
    return result != NULL;
}

/* ---- The same with shards ---- */

struct steering {
    int cpus[2];
    pthread_t client;
    atomic_int port;                /* 0: not known yet */
    atomic_uint listening;          /* shards */
    unsigned served[2][2];          /* by the client's CPU, and by shard */
    struct torc_shared_event ready; /* All shards listen. */
    struct torc_shared_event over;  /* The client has gone. */
};

/* Connect from a CPU, and count which shards answer. */
static void dial_from(struct steering *all, unsigned index)
{
    struct torc_address address = harness_address("127.0.0.1:0");

    pin(all->cpus[index]);
    address.v4.sin_port = htons((uint16_t)atomic_load(&all->port));
    for (unsigned i = 0; i < DIALS; i++) {
        int fd = harness_dial(&address);
        char shard;

        harness_get(fd, &shard, 1);
        EXPECT(shard == 0 || shard == 1);
        all->served[index][(unsigned)shard]++;
        close(fd);
    }
}

static void *dial_from_both(void *arg)
{
    struct steering *all = arg;

    EXPECT_INT(torc_shared_event_wait(&all->ready), ==, 0);
    dial_from(all, 0);
    dial_from(all, 1);
    torc_shared_event_set(&all->over);
    return NULL;
}

static int answer(void *arg)
{
    struct torc_listener *listener = arg;
    const char shard = (char)torc_shard_index();
    int fd;

    while ((fd = torc_listener_accept(listener, NULL)) >= 0) {
        EXPECT_INT(torc_send_all(fd, &shard, 1, NULL), ==, 0);
        EXPECT_INT(torc_close(fd), ==, 0);
    }
    return fd == -ECANCELED ? 0 : fd;
}

/* The first shard chooses the port. */
static void listen_with_steering(struct steering *all, struct torc_listener *listener)
{
    const struct torc_listen_options options = {.steer_by_cpu = true};
    struct torc_address address = harness_address("127.0.0.1:0");

    while (torc_shard_index() != 0 && atomic_load(&all->port) == 0)
        EXPECT_INT(torc_yield(), ==, 0);
    address.v4.sin_port = htons((uint16_t)atomic_load(&all->port));
    EXPECT_INT(torc_listener_open(listener, &address, &options), ==, 0);
    EXPECT_INT(torc_local_address(torc_listener_fd(listener), &address), ==, 0);
    atomic_store(&all->port, torc_address_port(&address));
    if (atomic_fetch_add(&all->listening, 1) + 1 == torc_shard_count())
        torc_shared_event_set(&all->ready);
}

static int serve_until_over(void *arg)
{
    struct steering *all = arg;
    struct torc_listener listener;
    struct torc_scope scope;

    EXPECT_INT(torc_shard_cpu(), ==, all->cpus[torc_shard_index()]);
    listen_with_steering(all, &listener);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, answer, &listener);
    EXPECT_INT(torc_shared_event_wait(&all->over), ==, 0);
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
    return 0;
}

/* So many shards, on the first CPUs, and a client that comes from both. */
static void serve_steered(struct steering *all, int shards)
{
    const struct torc_options options = {
        .shards = shards, .cpus = all->cpus, .cpu_count = (unsigned)shards};

    all->client = harness_thread(dial_from_both, all);
    EXPECT_INT(torc_run(serve_until_over, all, &options), ==, 0);
    harness_join(all->client);
}

TEST(a_connection_comes_to_the_shard_on_whose_cpu_it_arrives)
{
    struct steering all = {.port = 0};

    NEEDS_THREADS();
    if (!find_two_cpus(all.cpus))
        SKIP("it needs two CPUs");
    if (!kernel_steers(all.cpus))
        SKIP("this kernel does not choose listeners by CPU");
    serve_steered(&all, 2);
    EXPECT_UINT(all.served[0][0], ==, DIALS);
    EXPECT_UINT(all.served[1][1], ==, DIALS);
}

TEST(a_connection_that_arrives_on_the_cpu_of_no_listener_is_served_all_the_same)
{
    struct steering all = {.port = 0};

    NEEDS_THREADS();
    if (!find_two_cpus(all.cpus))
        SKIP("it needs two CPUs");
    serve_steered(&all, 1);
    EXPECT_UINT(all.served[0][0], ==, DIALS);
    EXPECT_UINT(all.served[1][0], ==, DIALS);
}

static int incoming_cpu_of(int fd)
{
    int value = 99;
    socklen_t length = sizeof(value);

    EXPECT_INT(torc_getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &value, &length), ==, 0);
    return value;
}

FIBER_TEST(a_shard_that_is_not_pinned_listens_as_any_other)
{
    const struct torc_listen_options options = {.steer_by_cpu = true};
    const struct torc_address any = harness_address("127.0.0.1:0");
    int fd = torc_tcp_listen(&any, &options);

    EXPECT_INT(torc_shard_cpu(), ==, -1);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(incoming_cpu_of(fd), ==, -1);
    EXPECT_INT(torc_close(fd), ==, 0);
}
