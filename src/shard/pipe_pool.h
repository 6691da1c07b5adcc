/* SPDX-License-Identifier: MIT */
/*
 * pipe_pool.h - empty pipes of a shard, through which bytes are spliced.
 */
#ifndef SHARD_PIPE_POOL_H
#define SHARD_PIPE_POOL_H

#include "driver/driver.h"

/* How many are kept. More may be in use. */
#define PIPES_KEPT_MAX 16

struct torc__pipe {
    int fds[2]; /* [0] to read, [1] to write */
    uint32_t size;
};

/* Zeroed is empty. */
struct torc__pipe_pool {
    struct torc__pipe pipes[PIPES_KEPT_MAX];
    unsigned count;
};

/* A pipe, which is empty; made if none is kept. 0 or a negative errno. */
int torc__pipe_take(struct torc__pipe_pool *pool, struct torc__driver *driver,
                    struct torc__pipe *ret_pipe);

/* Give one back, empty. */
void torc__pipe_give(struct torc__pipe_pool *pool, struct torc__driver *driver,
                     const struct torc__pipe *pipe);

/* Close a pipe instead, for example because it is not empty. */
void torc__pipe_close(struct torc__driver *driver, const struct torc__pipe *pipe);

/* Close all that are kept. */
void torc__pipes_finish(struct torc__pipe_pool *pool, struct torc__driver *driver);

#endif
