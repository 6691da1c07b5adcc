/* SPDX-License-Identifier: MIT */
/*
 * buffer_ring_test.c - buffers that the kernel chooses from, by hand, and rings that it refuses.
 */
#include "driver/buffer_ring.h"
#include "unit/driver/rig.h"
#include <sys/socket.h>
#include <unistd.h>

enum {
    SIZE = 4096,
    COUNT = 4
};

static char memory[COUNT][SIZE];

/* An op that notes the flags of what is told of it as well. */
static uint32_t last_flags;

static void note_flags(struct torc_op *op, int result, uint32_t flags, int more)
{
    last_flags = flags;
    note(op, result, flags, more);
}

static void receive(struct torc__uring *uring, struct noted_op *noted, int fd, unsigned group)
{
    struct io_uring_sqe *sqe = prepare(uring, noted);

    set_function(&noted->op, note_flags);
    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = (uint16_t)group;
}

TEST(receives_come_in_the_buffers_that_were_lent)
{
    struct torc__buffer_ring buffers = {0};
    struct torc__uring uring;
    struct noted_op noted;
    int fds[2];

    start(&uring, TORC_FEATURE_BUFFER_INC);
    if (!(uring.base.features & TORC_FEATURE_BUFFER_RING)) {
        stop(&uring);
        SKIP("this kernel has no rings of buffers");
    }
    harness_unix_pair(fds);
    EXPECT_INT(torc__uring_open_buffers(&uring.base, &buffers, COUNT), ==, 0);
    for (unsigned i = 0; i < COUNT; i++)
        torc__buffer_ring_add(&buffers, memory[i], SIZE, 10 + i);
    for (unsigned i = 0; i < 3 * COUNT; i++) { /* Several times around. */
        const unsigned place = i % COUNT;

        harness_put(fds[1], &i, sizeof(i));
        receive(&uring, &noted, fds[0], buffers.group);
        turn_until_ended(&uring, &noted, 1);
        EXPECT_INT(noted.result, ==, sizeof(i));
        EXPECT(last_flags & IORING_CQE_F_BUFFER);
        EXPECT_UINT(torc__buffer_id(last_flags), ==, 10 + place);
        EXPECT_MEM(memory[place], &i, sizeof(i));
        torc__buffer_ring_add(&buffers, memory[place], SIZE, 10 + place);
    }
    torc__uring_close_buffers(&uring.base, &buffers);
    EXPECT(buffers.ring == NULL);
    harness_close_pair(fds);
    stop(&uring);
}

TEST(a_ring_without_buffers_says_so)
{
    struct torc__buffer_ring buffers = {0};
    struct torc__uring uring;
    struct noted_op noted;
    int fds[2];

    start(&uring, 0);
    if (!(uring.base.features & TORC_FEATURE_BUFFER_RING)) {
        stop(&uring);
        SKIP("this kernel has no rings of buffers");
    }
    harness_unix_pair(fds);
    harness_put(fds[1], "x", 1);
    EXPECT_INT(torc__uring_open_buffers(&uring.base, &buffers, COUNT), ==, 0);
    receive(&uring, &noted, fds[0], buffers.group);
    turn_until_ended(&uring, &noted, 1);
    EXPECT_INT(noted.result, ==, -ENOBUFS);
    torc__uring_close_buffers(&uring.base, &buffers);
    harness_close_pair(fds);
    stop(&uring);
}

TEST(rings_are_given_different_groups)
{
    struct torc__buffer_ring rings[3] = {0};
    struct torc__uring uring;

    start(&uring, 0);
    if (!(uring.base.features & TORC_FEATURE_BUFFER_RING)) {
        stop(&uring);
        SKIP("this kernel has no rings of buffers");
    }
    for (int i = 0; i < 3; i++) {
        EXPECT_INT(torc__uring_open_buffers(&uring.base, &rings[i], COUNT), ==, 0);
        for (int j = 0; j < i; j++)
            EXPECT_UINT(rings[i].group, !=, rings[j].group);
    }
    for (int i = 0; i < 3; i++)
        torc__uring_close_buffers(&uring.base, &rings[i]);
    stop(&uring);
}

TEST(a_ring_that_the_kernel_refuses_leaves_nothing_behind)
{
    struct torc__buffer_ring buffers = {0};
    struct torc__uring uring;

    start(&uring, 0);
    if (uring.base.features & TORC_FEATURE_BUFFER_RING)
        EXPECT_INT(torc__uring_open_buffers(&uring.base, &buffers, 1u << 17), ==, -EINVAL);
    EXPECT(buffers.ring == NULL);
    stop(&uring);
}

TEST(without_the_features_there_are_no_rings)
{
    struct torc__buffer_ring buffers = {0};
    struct torc__uring uring;

    start(&uring, TORC_FEATURE_BUFFER_RING);
    EXPECT_INT(torc__uring_open_buffers(&uring.base, &buffers, COUNT), ==, -EOPNOTSUPP);
    stop(&uring);
    start(&uring, TORC_FEATURE_BUFFER_INC);
    buffers.incremental = true;
    EXPECT_INT(torc__uring_open_buffers(&uring.base, &buffers, COUNT), ==, -EOPNOTSUPP);
    EXPECT(buffers.ring == NULL);
    stop(&uring);
}
