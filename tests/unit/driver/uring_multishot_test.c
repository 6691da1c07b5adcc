/* SPDX-License-Identifier: MIT */
/*
 * uring_multishot_test.c - multishot ops end when the kernel has no room, and it shows.
 *
 * A completion queue of 16 that 64 ops fill at once: the kernel ends some of them, with a good
 * result and without F_MORE. Whoever takes that for "more will come" waits for ever.
 */
#include "harness/run.h"
#include "unit/driver/rig.h"
#include <poll.h>
#include <sys/mman.h>

enum {
    COUNT = 64
};

static struct noted_op ops[COUNT];
static int ends[COUNT][2];

static void open_all(struct torc__uring *uring, unsigned forbid)
{
    start_sized(uring, forbid, 8, 16);
    for (unsigned i = 0; i < COUNT; i++)
        harness_unix_pair(ends[i]);
}

static void close_all(struct torc__uring *uring)
{
    for (unsigned i = 0; i < COUNT; i++)
        harness_close_pair(ends[i]);
    stop(uring);
}

static unsigned ended_count(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < COUNT; i++)
        count += ops[i].ended;
    return count;
}

static void turn_until_all_told(struct torc__uring *uring)
{
    const uint64_t limit_ns = torc__clock_now() + 10 * NS_PER_SECOND;

    for (unsigned i = 0; i < COUNT; i++) {
        while (ops[i].told == 0) {
            EXPECT(torc__clock_now() < limit_ns);
            turn(uring, limit_ns);
        }
    }
}

static void cancel_all(struct torc__uring *uring)
{
    for (unsigned i = 0; i < COUNT; i++) {
        if (ops[i].ended == 0)
            cancel(uring, &ops[i]);
    }
    turn_until_ended(uring, ops, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        EXPECT_UINT(ops[i].ended, ==, 1);
    EXPECT_UINT(torc__driver_in_flight(&uring->base), ==, 0);
}

/* Begin those that have ended, or have not begun at all, and bring them to the kernel. */
static void begin_ended(struct torc__uring *uring, bool all)
{
    for (unsigned i = 0; i < COUNT; i++) {
        ops[i].told = 0;
        if (all || ops[i].ended > 0) /* prepare() clears what was noted. */
            io_uring_prep_poll_multishot(prepare(uring, &ops[i]), ends[i][0], POLLIN);
    }
    while (torc__ring_queued(&uring->ring) > 0)
        turn(uring, DRIVER_NO_WAIT);
}

/* Something comes for all ops at once, and all are told of it. */
static void stir_all(struct torc__uring *uring)
{
    for (unsigned i = 0; i < COUNT; i++)
        harness_put(ends[i][1], "x", 1);
    turn_until_all_told(uring);
    EXPECT_UINT(torc__driver_in_flight(&uring->base), ==, COUNT - ended_count());
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT_INT(ops[i].result & POLLIN, ==, POLLIN);
        EXPECT_UINT(harness_drain(ends[i][0]), ==, 1);
    }
}

TEST(multishot_polls_that_a_full_queue_ends_can_be_begun_again)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;

        open_all(&uring, rungs[rung]);
        for (unsigned round = 0; round < 10; round++) {
            begin_ended(&uring, round == 0);
            stir_all(&uring);
        }
        cancel_all(&uring);
        close_all(&uring);
    }
}

/* ---- Accept ---- */

static struct {
    struct torc_op op;
    unsigned accepted;
    unsigned ended;
    int last;
} acceptor;

static void take_connection(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)op;
    (void)flags;
    acceptor.ended += !more;
    acceptor.last = result;
    if (result >= 0) {
        acceptor.accepted++;
        close(result);
    }
}

static void begin_accept(struct torc__uring *uring, int listener)
{
    memset(&acceptor.op, 0, sizeof(acceptor.op));
    acceptor.ended = 0;
    set_function(&acceptor.op, take_connection);
    io_uring_prep_multishot_accept(torc__uring_ops.prepare(&uring->base, &acceptor.op), listener,
                                   NULL, NULL, SOCK_CLOEXEC);
}

TEST(a_multishot_accept_that_a_full_queue_ends_has_lost_no_connection)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        const uint64_t limit_ns = torc__clock_now() + 10 * NS_PER_SECOND;
        struct torc__uring uring;
        struct torc_address address;
        const int listener = harness_listener(&address);
        int clients[COUNT];

        start_sized(&uring, rungs[rung], 8, 16);
        for (unsigned i = 0; i < COUNT; i++)
            clients[i] = harness_dial(&address);
        acceptor.accepted = 0;
        begin_accept(&uring, listener);
        while (acceptor.accepted < COUNT) {
            EXPECT(torc__clock_now() < limit_ns);
            turn(&uring, limit_ns);
            if (acceptor.ended > 0 && acceptor.last == -EINVAL)
                break; /* Before Linux 5.19. */
            if (acceptor.ended > 0)
                begin_accept(&uring, listener);
        }
        if (acceptor.ended == 0) {
            torc__uring_ops.cancel(&uring.base, &acceptor.op);
            while (acceptor.ended == 0)
                turn(&uring, limit_ns);
        }
        EXPECT_UINT(torc__driver_in_flight(&uring.base), ==, 0);
        for (unsigned i = 0; i < COUNT; i++)
            close(clients[i]);
        close(listener);
        stop(&uring);
    }
}

/* ---- Receive ---- */

#define BUFFERS     4u
#define BUFFER_SIZE 16u
#define BYTES       1000u

static struct {
    struct torc_op op;
    struct io_uring_buf_ring *ring;
    char *memory;
    char received[BYTES];
    unsigned count;
    unsigned ended;
    unsigned used[BUFFERS];
    unsigned used_count;
} receiver;

static void give_back(unsigned id)
{
    io_uring_buf_ring_add(receiver.ring, receiver.memory + (size_t)id * BUFFER_SIZE, BUFFER_SIZE,
                          (unsigned short)id, BUFFERS - 1, 0);
    io_uring_buf_ring_advance(receiver.ring, 1);
}

static void take_bytes(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)op;
    receiver.ended += !more;
    if (result > 0) {
        const unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;

        EXPECT(flags & IORING_CQE_F_BUFFER);
        EXPECT_UINT(receiver.count + (unsigned)result, <=, BYTES);
        memcpy(receiver.received + receiver.count, receiver.memory + (size_t)id * BUFFER_SIZE,
               (size_t)result);
        receiver.count += (unsigned)result;
        receiver.used[receiver.used_count++] = id;
    } else if (result < 0) {
        EXPECT_INT(result, ==, -ENOBUFS);
    }
}

static void begin_receive(struct torc__uring *uring, int fd)
{
    struct io_uring_sqe *sqe;

    while (receiver.used_count > 0)
        give_back(receiver.used[--receiver.used_count]);
    memset(&receiver.op, 0, sizeof(receiver.op));
    receiver.ended = 0;
    set_function(&receiver.op, take_bytes);
    sqe = torc__uring_ops.prepare(&uring->base, &receiver.op);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 1;
}

/* Bytes come in order and all of them, however often the receive ends for want of buffers. */
static void receive_all(struct torc__uring *uring, const int pair[2])
{
    const uint64_t limit_ns = torc__clock_now() + 10 * NS_PER_SECOND;
    char sent[BYTES];

    harness_pattern_fill(sent, BYTES, 0);
    harness_put(pair[1], sent, BYTES);
    begin_receive(uring, pair[0]);
    while (receiver.count < BYTES) {
        EXPECT(torc__clock_now() < limit_ns);
        turn(uring, limit_ns);
        if (receiver.ended > 0)
            begin_receive(uring, pair[0]);
    }
    shutdown(pair[1], SHUT_WR);
    while (receiver.ended == 0)
        turn(uring, limit_ns);
    EXPECT_MEM(receiver.received, sent, BYTES);
}

TEST(a_multishot_receive_that_ends_for_want_of_buffers_has_lost_no_byte)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        const unsigned needed = TORC_FEATURE_BUFFER_RING | TORC_FEATURE_MULTISHOT;
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        struct torc__uring uring;
        int pair[2];

        start_sized(&uring, rungs[rung], 8, 16);
        if ((uring.base.features & needed) == needed) {
            memset(&receiver, 0, sizeof(receiver));
            receiver.ring =
                mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            EXPECT(receiver.ring != MAP_FAILED);
            receiver.memory = (char *)receiver.ring + page;
            EXPECT_INT(torc__ring_register_buffers(&uring.ring, receiver.ring, BUFFERS, 1, false),
                       ==, 0);
            for (unsigned id = 0; id < BUFFERS; id++)
                give_back(id);
            harness_unix_pair(pair);
            receive_all(&uring, pair);
            harness_close_pair(pair);
            EXPECT_INT(torc__ring_unregister_buffers(&uring.ring, 1), ==, 0);
            munmap(receiver.ring, 2 * page);
        }
        stop(&uring);
    }
}

/* ---- Fairness ---- */

#define ARMED 300u

static struct torc__uring *busy_uring; /* NULL when it is enough. */

static void begin_again(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)result;
    (void)flags;
    (void)more;
    if (busy_uring != NULL)
        io_uring_prep_nop(torc__uring_ops.prepare(&busy_uring->base, op));
}

/*
 * Ops that complete at once fill the completion queue by themselves, and with DEFER_TASKRUN the
 * kernel then works off some 20 of the others in a call: asking once a turn would take 15 turns.
 */
TEST(ops_that_complete_at_once_do_not_starve_those_that_had_to_wait)
{
    static struct noted_op armed[ARMED];
    static int pairs[ARMED][2];
    static char bytes[ARMED];

    EXPECT_UINT(harness_raise_fd_limit(), >, 2 * ARMED + 50);
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc_op busy[32] = {0};
        struct torc__uring uring;
        unsigned turns = 0;

        start_sized(&uring, rungs[rung], 1024, 8192);
        for (unsigned i = 0; i < ARMED; i++) {
            harness_unix_pair(pairs[i]);
            io_uring_prep_recv(prepare(&uring, &armed[i]), pairs[i][0], &bytes[i], 1, 0);
        }
        turn(&uring, DRIVER_NO_WAIT);
        busy_uring = &uring;
        for (unsigned i = 0; i < ARRAY_LENGTH(busy); i++) {
            set_function(&busy[i], begin_again);
            io_uring_prep_nop(torc__uring_ops.prepare(&uring.base, &busy[i]));
        }
        for (unsigned i = 0; i < ARMED; i++)
            harness_put(pairs[i][1], "x", 1);
        for (unsigned i = 0; i < ARMED; i++) {
            for (; armed[i].ended == 0; turns++)
                turn(&uring, DRIVER_NO_WAIT);
        }
        EXPECT_UINT(turns, <=, 5);
        busy_uring = NULL;
        while (torc__driver_in_flight(&uring.base) > 0)
            turn(&uring, DRIVER_NO_WAIT);
        for (unsigned i = 0; i < ARMED; i++)
            harness_close_pair(pairs[i]);
        stop(&uring);
    }
}
