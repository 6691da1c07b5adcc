/* SPDX-License-Identifier: MIT */
/*
 * deny.h - kernels that refuse a system call, as seccomp filters of containers do, or are older.
 */
#ifndef HARNESS_DENY_H
#define HARNESS_DENY_H

#include <stdbool.h>

/*
 * From now on a system call (SYS_...) does nothing but to fail with `error`, a positive errno, on
 * this thread and in what it starts. False, and errno, if no filter may be set here.
 */
bool harness_deny(long call, int error);

#endif
