/* SPDX-License-Identifier: MIT */
/*
 * watch_set.h - a set of files that are watched for what they are ready for, as epoll(7) has it:
 * level-triggered or not, once or again. Sets do not stand in sets.
 */
#ifndef DRIVER_SIM_WATCH_SET_H
#define DRIVER_SIM_WATCH_SET_H

#include "driver/sim/file.h"

struct epoll_event;

/* A set, with one reference. 0 or -ENOMEM. */
int torc__sim_watch_open(struct sim_host *host, struct sim_file **ret_file);

/* As epoll_ctl(2). -EINVAL: `set` is none. */
int torc__sim_watch_control(struct sim_file *set, int operation, int fd,
                            const struct epoll_event *event);

/* As epoll_wait(2), without waiting. */
int torc__sim_watch_take(struct sim_file *set, struct epoll_event *events, unsigned capacity);

/* The last descriptor of a file is closed: no set watches it any more. */
void torc__sim_watch_forget(struct sim_file *file);

#endif
