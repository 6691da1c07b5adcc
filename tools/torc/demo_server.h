/* SPDX-License-Identifier: MIT */
/*
 * demo_server.h - echo servers as processes of their own, which never outlive the demo.
 */
#ifndef TORC_TOOL_DEMO_SERVER_H
#define TORC_TOOL_DEMO_SERVER_H

#include "cpus.h"

#include <stdint.h>
#include <sys/types.h>
#include <torc/net.h>

struct demo_server {
    pid_t pid;  /* 0: does not run */
    int output; /* what it prints */
    struct torc_address address;
};

/*
 * Start a program that prints the port it listens on, on 127.0.0.1, at the end of its first line.
 * `cpus` may be NULL. -errno; -ETIMEDOUT if it does not say so within five seconds.
 */
int demo_server_start(const char *const *arguments, const struct cpus *cpus,
                      struct demo_server *ret_server);

/* Ask it to end, wait for that, and insist after two seconds. Harmless if it does not run. */
void demo_server_stop(struct demo_server *server);

/* The CPU time that all threads of the server have used, in ns; 0 if the kernel does not tell. */
uint64_t demo_server_cpu(const struct demo_server *server);

#endif
