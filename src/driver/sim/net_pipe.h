/* SPDX-License-Identifier: MIT */
/*
 * net_pipe.h - pipes, as splices see them.
 */
#ifndef DRIVER_SIM_NET_PIPE_H
#define DRIVER_SIM_NET_PIPE_H

#include "driver/sim/net.h"
#include "driver/sim/net_queue.h"

struct sim_pipe {
    struct sim_file ends[2]; /* to read from, to write to */
    bool is_open[2];
    struct sim_queue bytes;
    size_t size;
};

/* The pipe of a file that is an end of one; NULL if it is none. */
struct sim_pipe *torc__sim_pipe_of(struct sim_file *file);

size_t torc__sim_pipe_room(const struct sim_pipe *pipe);

/* Whether something can be read, or written: 0; -EAGAIN; 1: the end of the input; -EPIPE. */
int torc__sim_pipe_check_read(const struct sim_pipe *pipe);
int torc__sim_pipe_check_write(const struct sim_pipe *pipe);

/* Put bytes in, for which there is room, or take some out, which there are; and tell. */
void torc__sim_pipe_put(struct sim_pipe *pipe, const void *data, size_t length);
void torc__sim_pipe_drop(struct sim_pipe *pipe, size_t length);

#endif
