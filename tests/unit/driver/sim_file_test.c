/* SPDX-License-Identifier: MIT */
/*
 * sim_file_test.c - open files of simulated hosts: descriptors, references, and who waits.
 */
#include "base/vector.h"
#include "driver/sim/file.h"
#include "harness/harness.h"
#include <errno.h>
#include <string.h>

static unsigned released;
static unsigned told;

static void release(struct sim_file *file, bool crashed)
{
    (void)file;
    (void)crashed;
    released++;
}

static const struct sim_file_ops ops = {.kind = "test", .release = release};

static struct sim_host *create(struct sim_world **ret_world)
{
    struct sim_host *host;

    *ret_world = torc__sim_world_create(1, NULL);
    EXPECT_INT(torc__sim_host_add(*ret_world, "host", NULL, &host), ==, 0);
    released = told = 0;
    return host;
}

TEST(a_descriptor_is_the_lowest_that_is_free)
{
    struct sim_world *world;
    struct sim_host *host = create(&world);
    struct sim_file files[40];

    for (int i = 0; i < 40; i++) {
        torc__sim_file_init(&files[i], &ops, host, 0);
        EXPECT_INT(torc__sim_fd_open(host, &files[i]), ==, SIM_FD_BASE + i);
    }
    EXPECT_INT(torc__sim_fd_close(host, SIM_FD_BASE + 7), ==, 0);
    EXPECT_INT(torc__sim_fd_close(host, SIM_FD_BASE + 3), ==, 0);
    EXPECT_INT(torc__sim_fd_close(host, SIM_FD_BASE + 3), ==, -EBADF);
    EXPECT_UINT(released, ==, 2);
    torc__sim_file_init(&files[3], &ops, host, 0);
    EXPECT_INT(torc__sim_fd_open(host, &files[3]), ==, SIM_FD_BASE + 3);
    torc__sim_file_init(&files[7], &ops, host, 0);
    EXPECT_INT(torc__sim_fd_open(host, &files[7]), ==, SIM_FD_BASE + 7);
    EXPECT(torc__sim_fd_file(host, SIM_FD_BASE + 7) == &files[7]);
    EXPECT(torc__sim_fd_file(host, 7) == NULL);
    host->files_max = 43; /* 0, 1 and 2 count. */
    EXPECT(!torc__sim_fd_is_free(host));
    torc__sim_world_destroy(world);
    EXPECT_UINT(released, ==, 42);
}

static void notice(struct sim_waiter *waiter, uint32_t events)
{
    EXPECT(waiter->file != NULL && events == POLLIN);
    told++;
    torc__sim_wait_end(waiter);
}

TEST(those_who_wait_for_an_event_are_told_of_it_and_keep_the_file)
{
    struct sim_world *world;
    struct sim_host *host = create(&world);
    struct sim_waiter readers[3];
    struct sim_waiter writer;
    struct sim_file file;

    torc__sim_file_init(&file, &ops, host, 0);
    for (int i = 0; i < 3; i++)
        torc__sim_wait_begin(&readers[i], &file, POLLIN, notice);
    torc__sim_wait_begin(&writer, &file, POLLOUT, notice);
    torc__sim_wait_end(&readers[1]);
    torc__sim_file_release(&file);
    EXPECT_UINT(released, ==, 0);
    torc__sim_notify(&file, POLLIN);
    EXPECT_UINT(told, ==, 2);
    torc__sim_notify(&file, POLLIN);
    EXPECT_UINT(told, ==, 2);
    torc__sim_wait_end(&writer);
    torc__sim_wait_end(&writer);
    EXPECT_UINT(released, ==, 1);
    torc__sim_world_destroy(world);
}

TEST(bytes_go_into_vectors_and_out_of_them_from_anywhere)
{
    char a[3] = "---";
    char b[4] = "----";
    const struct iovec vector[3] = {{a, 3}, {NULL, 0}, {b, 4}};
    char out[8] = {0};

    EXPECT_UINT(torc__vector_size(vector, 3), ==, 7);
    EXPECT_UINT(torc__sim_vector_fill(vector, 3, 2, "wxyz", 4), ==, 4);
    EXPECT_MEM(a, "--w", 3);
    EXPECT_MEM(b, "xyz-", 4);
    EXPECT_UINT(torc__sim_vector_fill(vector, 3, 5, "1234", 4), ==, 2);
    EXPECT_UINT(torc__sim_vector_take(vector, 3, 1, out, 8), ==, 6);
    EXPECT_MEM(out, "-wxy12", 6);
    EXPECT_UINT(torc__sim_vector_take(vector, 3, 7, out, 8), ==, 0);
}

TEST(hosts_have_names_and_addresses_of_their_own)
{
    struct sim_world *world;
    struct sim_host *first = create(&world);
    struct sim_host *second;
    struct sim_host *other;

    EXPECT_INT(torc__sim_host_add(world, "second", "10.1.2.3", &second), ==, 0);
    EXPECT_INT(torc__sim_host_add(world, "second", NULL, &other), ==, -EADDRINUSE);
    EXPECT_INT(torc__sim_host_add(world, "third", "10.1.2.3", &other), ==, -EADDRINUSE);
    EXPECT_INT(torc__sim_host_add(world, "third", "10.1.2", &other), ==, -EINVAL);
    EXPECT_INT(torc__sim_host_add(world, "", NULL, &other), ==, -EINVAL);
    EXPECT(torc__sim_host_by_name(world, "second") == second);
    EXPECT(torc__sim_host_by_ipv4(world, second->ipv4) == second);
    EXPECT(torc__sim_host_by_ipv6(world, &first->ipv6) == first);
    EXPECT(torc__sim_host_by_name(world, "nobody") == NULL);
    torc__sim_world_destroy(world);
}
