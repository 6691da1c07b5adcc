/* SPDX-License-Identifier: MIT */
/*
 * pipe_pool.c - empty pipes of a shard.
 */
#include "shard/pipe_pool.h"

/* What is asked for; a user with many pipes may get less (pipe-user-pages-soft). */
#define PIPE_SIZE (256 * 1024)

static int make_pipe(struct torc__driver *driver, struct torc__pipe *ret_pipe)
{
    struct torc__control request = {.kind = CONTROL_PIPE, .data = ret_pipe->fds};
    int size = driver->ops->control(driver, &request);

    if (size < 0)
        return size;
    request =
        (struct torc__control){.kind = CONTROL_PIPE_SIZE, .fd = ret_pipe->fds[1], .a = PIPE_SIZE};
    size = driver->ops->control(driver, &request);
    if (size < 0) {
        request.a = 0; /* As large as it is, then. */
        size = driver->ops->control(driver, &request);
    }
    if (size < 0) {
        torc__pipe_close(driver, ret_pipe);
        return size;
    }
    ret_pipe->size = (uint32_t)size;
    return 0;
}

int torc__pipe_take(struct torc__pipe_pool *pool, struct torc__driver *driver,
                    struct torc__pipe *ret_pipe)
{
    if (pool->count == 0)
        return make_pipe(driver, ret_pipe);
    *ret_pipe = pool->pipes[--pool->count];
    return 0;
}

void torc__pipe_give(struct torc__pipe_pool *pool, struct torc__driver *driver,
                     const struct torc__pipe *pipe)
{
    if (pool->count == PIPES_KEPT_MAX)
        torc__pipe_close(driver, pipe);
    else
        pool->pipes[pool->count++] = *pipe;
}

void torc__pipe_close(struct torc__driver *driver, const struct torc__pipe *pipe)
{
    for (int i = 0; i < 2; i++) {
        struct torc__control request = {.kind = CONTROL_CLOSE, .fd = pipe->fds[i]};

        (void)driver->ops->control(driver, &request);
    }
}

void torc__pipes_finish(struct torc__pipe_pool *pool, struct torc__driver *driver)
{
    while (pool->count > 0)
        torc__pipe_close(driver, &pool->pipes[--pool->count]);
}
