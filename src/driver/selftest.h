/* SPDX-License-Identifier: MIT */
/*
 * selftest.h - find bugs of the kernel by what it does, before anything relies on it.
 *
 * Versions say little: a bug comes with one stable release and goes with another, and is carried
 * into kernels of vendors with numbers of their own. So each feature that a ring is about to use is
 * tried on a small ring of its own: what must be true for torc is asked of the kernel, once per
 * boot. That takes about a millisecond, and is remembered for the process, and for the user in
 * $XDG_RUNTIME_DIR/torc-selftest, keyed by boot, kernel and version of torc; where there is no such
 * directory, nothing is written. TORC_SELFTEST=off in the environment leaves it all out.
 */
#ifndef DRIVER_SELFTEST_H
#define DRIVER_SELFTEST_H

#include "driver/ring.h"
#include <stddef.h>

/* What is tried; several may belong to one feature. */
enum selftest_check {
    CHECK_CANCEL,
    CHECK_TIMEOUT,
    CHECK_MSG_RING,
    CHECK_BUFFER_ORDER,
    CHECK_BUFFER_INC,
    CHECK_MULTISHOT_ACCEPT,
    CHECK_MULTISHOT_RECEIVE,
    CHECK_COUNT,
};

/* Sets of checks, as bits. */
struct torc__selftest {
    unsigned setup_flags; /* of the rings on which they were made */
    unsigned tested;
    unsigned broken; /* of those: what the kernel does wrong */
};

/* The checks that concern a set of features; cancelling concerns every ring. */
unsigned torc__selftest_wanted(unsigned features);

/* The features that cannot be used if these checks have failed. */
unsigned torc__selftest_lost(unsigned broken);

/* What a failed check of a feature has shown, one line; NULL if none of `broken` concerns it. */
const char *torc__selftest_reason(unsigned broken, unsigned feature);

/*
 * Make the checks of `wanted` on rings with these set-up flags. What cannot be made here, for want
 * of memory or descriptors, does not count as tested.
 */
struct torc__selftest torc__selftest_run(unsigned wanted, unsigned setup_flags);

/*
 * The same, but from memory where it has been done before. What is broken is logged once. Any
 * thread.
 */
struct torc__selftest torc__selftest_get(unsigned wanted, unsigned setup_flags);

/* This is the child of a fork(): what another thread was just finding out is not known here. */
void torc__selftest_after_fork(void);

/* How it came to what torc__selftest_get() last said, one line. */
const char *torc__selftest_summary(void);

/* For tests: applied to each ring that checks are made on, to make the kernel seem to do wrong. */
extern void (*torc__selftest_tamper)(struct torc__ring *ring);

/* For tests: forget what this process knows. The file is left. */
void torc__selftest_forget(void);

#endif
