/* SPDX-License-Identifier: MIT */
/*
 * micro_op.c - what torc adds to an operation: NOPs by fibers, and by hand on a bare ring.
 *
 * The kernel does nothing for a NOP but complete it, so what remains is the way there and back.
 * Both rings have the same flags, and both submit all that is ready by one system call that also
 * waits.
 */
#include "micro.h"
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    REPETITIONS = 7,
    CHUNKS = 200,
};

/* ---- By hand ---- */

static void bare_repetition(unsigned depth, struct micro_samples *samples)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                                              IORING_SETUP_SUBMIT_ALL,
                                     .cq_entries = 8192};
    struct io_uring ring;
    uint64_t begun_ns;
    unsigned done = 0;

    micro_require(io_uring_queue_init_params(1024, &ring, &params), "io_uring_queue_init_params");
    micro_require(io_uring_register_ring_fd(&ring), "io_uring_register_ring_fd");
    begun_ns = micro_now();
    for (unsigned chunks = 0; chunks < CHUNKS;) {
        struct io_uring_cqe *cqe;
        unsigned head;
        unsigned seen = 0;

        for (unsigned i = 0; i < depth; i++)
            io_uring_prep_nop(io_uring_get_sqe(&ring));
        micro_require(io_uring_submit_and_wait(&ring, 1), "io_uring_submit_and_wait");
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
        done += seen;
        if (done >= MICRO_CHUNK) {
            const uint64_t now = micro_now();

            micro_samples_add(samples, now - begun_ns, done);
            begun_ns = now;
            done = 0;
            chunks++;
        }
    }
    io_uring_queue_exit(&ring);
    micro_samples_end_repetition(samples);
}

/* ---- By fibers ---- */

struct nops {
    unsigned depth;
    unsigned done;
    unsigned chunks;
    uint64_t begun_ns;
    struct micro_samples *samples;
};

static int nop_again_and_again(void *arg)
{
    struct nops *all = arg;

    while (all->chunks < CHUNKS) {
        struct torc_op op;

        io_uring_prep_nop(torc_op_prepare(&op));
        micro_require(torc_op_wait(&op), "nop");
        if (++all->done >= MICRO_CHUNK) {
            const uint64_t now = micro_now();

            micro_samples_add(all->samples, now - all->begun_ns, all->done);
            all->begun_ns = now;
            all->done = 0;
            all->chunks++;
        }
    }
    return 0;
}

static int nop_main(void *arg)
{
    struct nops *all = arg;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < all->depth; i++)
        micro_require(torc_scope_spawn(&scope, nop_again_and_again, all), "spawn");
    all->begun_ns = micro_now();
    return torc_scope_close(&scope);
}

static double lowest(const struct micro_samples *samples)
{
    double low = samples->lows[0];

    for (unsigned i = 1; i < samples->repetitions; i++)
        low = samples->lows[i] < low ? samples->lows[i] : low;
    return low;
}

static void compare_nops(unsigned depth)
{
    struct micro_samples *bare = micro_samples_create();
    struct micro_samples *fibers = micro_samples_create();
    char name[64];

    /* By turns, so that both see the same weather. */
    for (int i = 0; i < REPETITIONS; i++) {
        struct nops all = {.depth = depth, .samples = fibers};

        bare_repetition(depth, bare);
        micro_run(nop_main, &all, NULL);
        micro_samples_end_repetition(fibers);
    }
    snprintf(name, sizeof(name), "NOP, %u at a time, bare ring", depth);
    micro_report(name, bare, MICRO_NO_TARGET);
    snprintf(name, sizeof(name), "NOP, %u at a time, fibers", depth);
    micro_report(name, fibers, MICRO_NO_TARGET);
    snprintf(name, sizeof(name), "NOP, %u at a time, torc's own part", depth);
    micro_report_value(name, "ns", lowest(fibers) - lowest(bare), MICRO_NO_TARGET);
    free(bare);
    free(fibers);
}

void micro_nop(void)
{
    compare_nops(1);
    compare_nops(32);
}
