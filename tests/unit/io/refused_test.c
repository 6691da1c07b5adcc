/* SPDX-License-Identifier: MIT */
/*
 * refused_test.c - streams whose shard's ring takes nothing for a while: longer than it is asked
 * again, so that ops fail.
 */
#include "driver/uring.h"
#include "harness/run.h"
#include "harness/stream.h"
#include "shard/shard.h"
#include <errno.h>

/* Submissions: more than it takes to fail an op twice. */
#define REFUSED 300u

static struct {
    unsigned left; /* submissions that are refused */
    int error;
    int (*real)(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                const struct __kernel_timespec *timeout);
} fault;

static int refuse(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                  const struct __kernel_timespec *timeout)
{
    if (fault.left == 0 || submit == 0)
        return fault.real(ring, submit, wait, flags, timeout);
    fault.left--;
    return fault.error;
}

/* False if the shard has no ring. */
static bool refuse_submissions(int error)
{
    struct torc__uring *uring = container_of(torc__shard->driver, struct torc__uring, base);

    if (uring->base.ops != &torc__uring_ops)
        return false;
    if (fault.real == NULL)
        fault.real = uring->ring.enter;
    uring->ring.enter = refuse;
    fault.error = error;
    fault.left = REFUSED;
    return true;
}

static const int errors[] = {-EAGAIN, -EBUSY};

FIBER_TEST(what_was_written_while_the_ring_took_nothing_leaves_when_it_does)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(errors); i++) {
        static const char large[10000];
        char received[sizeof(large)];
        struct torc_stream stream;
        int peer;

        harness_unix_stream(&stream, &peer);
        if (!refuse_submissions(errors[i])) {
            harness_close_stream(&stream, peer);
            SKIP("there is no ring");
        }
        EXPECT_INT(torc_stream_write(&stream, "small", 5, NULL), ==, 0);
        EXPECT_INT(torc_stream_flush(&stream), ==, 0);
        EXPECT_UINT(fault.left, ==, 0);
        harness_expect_sent(peer, "small");
        (void)refuse_submissions(errors[i]);
        EXPECT_INT(torc_stream_write(&stream, large, sizeof(large), NULL), ==, 0);
        EXPECT_UINT(fault.left, ==, 0);
        harness_get(peer, received, sizeof(received));
        harness_close_stream(&stream, peer);
    }
}

FIBER_TEST(who_reads_while_the_ring_takes_nothing_is_told_and_reads_on_later)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(errors); i++) {
        struct torc_stream stream;
        const void *data;
        ssize_t count;
        int peer;

        harness_unix_stream(&stream, &peer);
        if (!refuse_submissions(errors[i])) {
            harness_close_stream(&stream, peer);
            SKIP("there is no ring");
        }
        harness_put_text(peer, "text");
        do {
            count = torc_stream_peek(&stream, &data);
        } while (count == -ENOMEM && fault.left > 0);
        EXPECT_INT(count, ==, 4);
        harness_close_stream(&stream, peer);
    }
}
