/* SPDX-License-Identifier: MIT */
/*
 * pipe_pool_test.c - pipes are kept, but not too many.
 */
#include "harness/harness.h"
#include "shard/pipe_pool.h"
#include <errno.h>
#include <string.h>

static int calls;
static int pipes_made;
static int closed;
static int largest_size; /* What a pipe may be made to. */

/* A driver that hands out numbers. */
static int control(struct torc__driver *driver, struct torc__control *request)
{
    const int fds[2] = {100 + 2 * pipes_made, 101 + 2 * pipes_made};

    (void)driver;
    calls++;
    switch (request->kind) {
    case CONTROL_PIPE:
        pipes_made++;
        memcpy(request->data, fds, sizeof(fds));
        return 0;
    case CONTROL_PIPE_SIZE:
        if (request->a > largest_size)
            return -EPERM;
        return request->a > 0 ? request->a : 4096;
    case CONTROL_CLOSE:
        closed++;
        return 0;
    default:
        return -ENOSYS;
    }
}

static const struct torc__driver_ops ops = {.name = "numbers", .control = control};
static struct torc__driver driver = {.ops = &ops};

TEST(a_pipe_that_was_given_back_is_handed_out_again)
{
    struct torc__pipe_pool pool = {0};
    struct torc__pipe pipes[2];
    int before;

    largest_size = 1 << 20;
    EXPECT_INT(torc__pipe_take(&pool, &driver, &pipes[0]), ==, 0);
    EXPECT_INT(torc__pipe_take(&pool, &driver, &pipes[1]), ==, 0);
    EXPECT_INT(pipes[0].fds[0], !=, pipes[1].fds[0]);
    EXPECT_UINT(pipes[0].size, >, 4096);
    torc__pipe_give(&pool, &driver, &pipes[0]);
    before = calls;
    EXPECT_INT(torc__pipe_take(&pool, &driver, &pipes[1]), ==, 0);
    EXPECT_INT(calls, ==, before);
    EXPECT_MEM(&pipes[1], &pipes[0], sizeof(pipes[0]));
}

TEST(a_pipe_is_as_large_as_it_may_be)
{
    struct torc__pipe_pool pool = {0};
    struct torc__pipe pipe;

    EXPECT_INT(torc__pipe_take(&pool, &driver, &pipe), ==, 0);
    EXPECT_UINT(pipe.size, ==, 4096);
}

TEST(what_is_too_much_is_closed_and_all_is_at_the_end)
{
    struct torc__pipe_pool pool = {0};
    struct torc__pipe pipe = {{1, 2}, 4096};

    for (int i = 0; i < PIPES_KEPT_MAX; i++)
        torc__pipe_give(&pool, &driver, &pipe);
    EXPECT_INT(closed, ==, 0);
    torc__pipe_give(&pool, &driver, &pipe);
    EXPECT_INT(closed, ==, 2);
    torc__pipes_finish(&pool, &driver);
    EXPECT_INT(closed, ==, 2 * (PIPES_KEPT_MAX + 1));
    EXPECT_UINT(pool.count, ==, 0);
}
