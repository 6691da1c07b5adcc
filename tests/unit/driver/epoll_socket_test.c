/* SPDX-License-Identifier: MIT */
/*
 * epoll_socket_test.c - sockets on the epoll driver, whose flags stay as the program has set them.
 */
#include "base/trace.h"
#include "unit/driver/epoll_rig.h"
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

/* More than a socket has room for. Of Unix sockets, whose room depends on nothing else. */
static char big[1 << 20];
static char received[1 << 20];

static bool is_blocking(int fd)
{
    return !(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

/* ---- Data ---- */

TEST(what_does_not_wait_says_so)
{
    struct torc__epoll epoll;
    struct noted_op waiting;
    struct noted_op op;
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    io_uring_prep_recv(prepare(&epoll, &waiting), fds[0], &byte, 1, 0);
    settle(&epoll);
    io_uring_prep_recv(prepare(&epoll, &op), fds[0], &byte, 1, MSG_DONTWAIT);
    EXPECT_INT(result_of(&epoll, &op), ==, -EAGAIN);
    io_uring_prep_recv(prepare(&epoll, &op), fds[0], &byte, 1, MSG_DONTWAIT | MSG_WAITALL);
    EXPECT_INT(result_of(&epoll, &op), ==, -EAGAIN);
    harness_fill(fds[0]);
    io_uring_prep_send(prepare(&epoll, &op), fds[0], big, sizeof(big), MSG_DONTWAIT);
    EXPECT_INT(result_of(&epoll, &op), ==, -EAGAIN);
    cancel_and_end(&epoll, &waiting);
    EXPECT(is_blocking(fds[0]));
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(a_receive_of_all_waits_for_all_and_takes_no_more)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char data[10] = {0};
    int fds[2];

    start(&epoll);
    harness_tcp_pair(fds);
    io_uring_prep_recv(prepare(&epoll, &op), fds[0], data, sizeof(data), MSG_WAITALL);
    for (unsigned i = 0; i < 5; i++) {
        settle(&epoll);
        EXPECT_UINT(op.told, ==, 0);
        harness_put(fds[1], &"abcdefghijkl"[2 * i], i == 4 ? 4 : 2);
    }
    EXPECT_INT(result_of(&epoll, &op), ==, 10);
    EXPECT_MEM(data, "abcdefghij", 10);
    EXPECT_UINT(harness_unread(fds[0]), ==, 2);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(a_receive_of_all_that_ends_early_tells_what_it_has)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char data[10];
    int fds[2];

    start(&epoll);
    for (unsigned is_cancel = 0; is_cancel < 2; is_cancel++) {
        harness_unix_pair(fds);
        io_uring_prep_recv(prepare(&epoll, &op), fds[0], data, sizeof(data), MSG_WAITALL);
        harness_put(fds[1], "abc", 3);
        settle(&epoll);
        EXPECT_UINT(op.told, ==, 0);
        if (is_cancel)
            cancel(&epoll, &op);
        else
            EXPECT_INT(shutdown(fds[1], SHUT_WR), ==, 0);
        EXPECT_INT(result_of(&epoll, &op), ==, 3);
        harness_close_pair(fds);
    }
    stop(&epoll);
}

TEST(a_datagram_or_a_look_ahead_is_whole_however_short)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char data[10];
    int fds[2];

    start(&epoll);
    EXPECT_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    EXPECT_INT(send(fds[1], "abc", 3, 0), ==, 3);
    io_uring_prep_recv(prepare(&epoll, &op), fds[0], data, sizeof(data), MSG_WAITALL);
    EXPECT_INT(result_of(&epoll, &op), ==, 3);
    harness_close_pair(fds);

    harness_unix_pair(fds);
    harness_put(fds[1], "abc", 3);
    for (unsigned i = 0; i < 3; i++) {
        io_uring_prep_recv(prepare(&epoll, &op), fds[0], data, sizeof(data),
                           MSG_PEEK | MSG_WAITALL);
        EXPECT_INT(result_of(&epoll, &op), ==, 3);
    }
    EXPECT_UINT(harness_unread(fds[0]), ==, 3);
    harness_close_pair(fds);
    stop(&epoll);
}

/* Read from `fd` what `op` sends, until it has ended. Returns how much came. */
static size_t receive_what_is_sent(struct torc__epoll *epoll, const struct noted_op *op, int fd)
{
    const uint64_t limit_ns = torc__clock_now() + SOON_NS;
    size_t sum = 0;
    ssize_t count;

    do {
        EXPECT(torc__clock_now() < limit_ns);
        turn(epoll, torc__clock_now() + 100000);
        count = recv(fd, &received[sum], sizeof(received) - sum, MSG_DONTWAIT);
        sum += count > 0 ? (size_t)count : 0;
    } while (op->ended == 0 || sum < (size_t)(op->result > 0 ? op->result : 0));
    return sum;
}

TEST(a_send_of_all_goes_on_after_short_writes_and_one_without_does_not)
{
    struct torc__epoll epoll;
    struct noted_op op;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    harness_pattern_fill(big, sizeof(big), 3);
    io_uring_prep_send(prepare(&epoll, &op), fds[0], big, sizeof(big), MSG_WAITALL);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    EXPECT_UINT(receive_what_is_sent(&epoll, &op, fds[1]), ==, sizeof(big));
    EXPECT_INT(op.result, ==, sizeof(big));
    harness_pattern_check(received, sizeof(received), 3);

    io_uring_prep_send(prepare(&epoll, &op), fds[0], big, sizeof(big), 0);
    EXPECT_INT(result_of(&epoll, &op), >, 0);
    EXPECT_INT(op.result, <, sizeof(big));
    EXPECT(is_blocking(fds[0]));
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(a_send_of_all_that_is_cancelled_tells_what_has_gone)
{
    struct torc__epoll epoll;
    struct noted_op op;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    harness_pattern_fill(big, sizeof(big), 0);
    io_uring_prep_send(prepare(&epoll, &op), fds[0], big, sizeof(big), MSG_WAITALL);
    settle(&epoll);
    cancel(&epoll, &op);
    EXPECT_INT(result_of(&epoll, &op), >, 0);
    EXPECT_INT(op.result, <, sizeof(big));
    harness_get(fds[1], received, (size_t)op.result);
    harness_pattern_check(received, (size_t)op.result, 0);
    EXPECT_UINT(harness_unread(fds[1]), ==, 0);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(messages_of_many_pieces_arrive_whole_in_both_directions)
{
    enum {
        PIECES = 200
    };
    struct torc__epoll epoll;
    struct noted_op ops[2];
    struct iovec out[PIECES];
    struct iovec in[PIECES];
    struct msghdr sent = {.msg_iov = out, .msg_iovlen = PIECES};
    struct msghdr got = {.msg_iov = in, .msg_iovlen = PIECES};
    const size_t piece = sizeof(big) / PIECES;
    const int sum = (int)(piece * PIECES);
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    harness_pattern_fill(big, sizeof(big), 9);
    for (unsigned i = 0; i < PIECES; i++) {
        out[i] = (struct iovec){&big[i * piece], piece};
        in[i] = (struct iovec){&received[i * piece], piece};
    }
    io_uring_prep_sendmsg(prepare(&epoll, &ops[0]), fds[0], &sent, MSG_WAITALL);
    io_uring_prep_recvmsg(prepare(&epoll, &ops[1]), fds[1], &got, MSG_WAITALL);
    turn_until_ended(&epoll, ops, 2);
    EXPECT_INT(ops[0].result, ==, sum);
    EXPECT_INT(ops[1].result, ==, sum);
    harness_pattern_check(received, (size_t)sum, 9);
    EXPECT(out[0].iov_base == big && out[0].iov_len == piece);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(a_message_that_is_received_in_two_steps_is_whole_however_many_pieces_it_has)
{
    enum {
        PIECES = 100,
        FIRST = 10
    };
    struct torc__epoll epoll;
    struct noted_op op;
    struct iovec in[PIECES];
    struct msghdr got = {.msg_iov = in, .msg_iovlen = PIECES};
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    harness_pattern_fill(big, PIECES, 9);
    for (unsigned i = 0; i < PIECES; i++)
        in[i] = (struct iovec){&received[i], 1};
    io_uring_prep_recvmsg(prepare(&epoll, &op), fds[1], &got, MSG_WAITALL);
    harness_put(fds[0], big, FIRST);
    settle(&epoll);
    harness_put(fds[0], big + FIRST, PIECES - FIRST);
    EXPECT_INT(result_of(&epoll, &op), ==, PIECES);
    harness_pattern_check(received, PIECES, 9);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(a_message_carries_its_address_and_descriptors)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    struct torc__epoll epoll;
    struct noted_op op;
    struct iovec piece = {big, 4};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int fds[2];
    int passed;

    start(&epoll);
    harness_unix_pair(fds);
    memcpy(CMSG_DATA(&control.header), &fds[1], sizeof(int));
    io_uring_prep_sendmsg(prepare(&epoll, &op), fds[0], &message, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, 4);
    memset(&control, 0, sizeof(control));
    io_uring_prep_recvmsg(prepare(&epoll, &op), fds[1], &message, MSG_CMSG_CLOEXEC);
    EXPECT_INT(result_of(&epoll, &op), ==, 4);
    memcpy(&passed, CMSG_DATA(&control.header), sizeof(int));
    EXPECT_INT(control.header.cmsg_type, ==, SCM_RIGHTS);
    close(passed);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(urgent_data_and_the_error_queue_are_waited_for_apart_from_the_rest)
{
    const int wanted = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    char control[512];
    struct msghdr report = {.msg_control = control, .msg_controllen = sizeof(control)};
    struct torc__epoll epoll;
    struct noted_op ops[3];
    char bytes[2];
    int fds[2];

    start(&epoll);
    harness_tcp_pair(fds);
    EXPECT_INT(setsockopt(fds[0], SOL_SOCKET, SO_TIMESTAMPING, &wanted, sizeof(wanted)), ==, 0);
    io_uring_prep_recv(prepare(&epoll, &ops[0]), fds[0], &bytes[0], 1, 0);
    io_uring_prep_recvmsg(prepare(&epoll, &ops[1]), fds[0], &report, MSG_ERRQUEUE);
    io_uring_prep_poll_add(prepare(&epoll, &ops[2]), fds[0], POLLPRI);
    settle(&epoll);
    EXPECT_INT(send(fds[1], "!", 1, MSG_OOB), ==, 1);
    EXPECT_INT(result_of(&epoll, &ops[2]), ==, POLLPRI);
    io_uring_prep_recv(prepare(&epoll, &ops[2]), fds[0], &bytes[1], 1, MSG_OOB);
    EXPECT_INT(result_of(&epoll, &ops[2]), ==, 1);
    EXPECT_INT(bytes[1], ==, '!');
    EXPECT_UINT(ops[0].told + ops[1].told, ==, 0);
    harness_put(fds[0], "x", 1);
    EXPECT_INT(result_of(&epoll, &ops[1]), >=, 0);
    EXPECT_UINT(ops[0].told, ==, 0);
    harness_put(fds[1], "y", 1);
    EXPECT_INT(result_of(&epoll, &ops[0]), ==, 1);
    EXPECT_INT(bytes[0], ==, 'y');
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(an_op_may_ask_to_be_tried_only_when_its_socket_is_ready)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct io_uring_sqe *sqe;
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    harness_put(fds[1], "x", 1);
    sqe = prepare(&epoll, &op);
    io_uring_prep_recv(sqe, fds[0], &byte, 1, 0);
    sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(a_zero_copy_send_is_a_send_that_completes_once)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char data[3];
    int fds[2];

    start(&epoll);
    harness_tcp_pair(fds);
    io_uring_prep_send_zc(prepare(&epoll, &op), fds[0], "abc", 3, 0, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, 3);
    settle(&epoll);
    expect_each_told_once(&op, 1, 3);
    harness_get(fds[1], data, 3);
    EXPECT_MEM(data, "abc", 3);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(what_needs_a_ring_is_refused)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct io_uring_sqe *sqe;
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    io_uring_prep_recv_multishot(prepare(&epoll, &op), fds[0], NULL, 0, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -EINVAL);
    sqe = prepare(&epoll, &op);
    io_uring_prep_recv(sqe, fds[0], &byte, 1, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    EXPECT_INT(result_of(&epoll, &op), ==, -EINVAL);
    sqe = prepare(&epoll, &op);
    io_uring_prep_recv(sqe, 0, &byte, 1, 0);
    sqe->flags |= IOSQE_FIXED_FILE;
    EXPECT_INT(result_of(&epoll, &op), ==, -EBADF);
    io_uring_prep_accept_direct(prepare(&epoll, &op), fds[0], NULL, NULL, 0, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -ENXIO);
    harness_close_pair(fds);
    stop(&epoll);
}

/* ---- Accept ---- */

TEST(accepting_waits_and_leaves_the_listener_as_it_was)
{
    struct torc__epoll epoll;
    struct torc_address address;
    const int listener = harness_listener(&address);
    struct torc_address peer = {.length = sizeof(peer.storage)};
    struct noted_op op;
    int client;

    start(&epoll);
    io_uring_prep_accept(prepare(&epoll, &op), listener, &peer.any, &peer.length, SOCK_CLOEXEC);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    client = harness_dial(&address);
    EXPECT_INT(result_of(&epoll, &op), >=, 0);
    EXPECT(harness_is_cloexec(op.result));
    EXPECT(is_blocking(op.result));
    EXPECT(is_blocking(listener));
    EXPECT_INT(peer.v4.sin_family, ==, AF_INET);
    close(op.result);
    close(client);
    close(listener);
    stop(&epoll);
}

TEST(a_listener_of_which_others_take_the_connections_never_blocks_the_loop)
{
    struct torc__epoll epoll;
    struct torc_address address;
    const int listener = harness_listener(&address);
    struct noted_op op;

    start(&epoll);
    io_uring_prep_accept(prepare(&epoll, &op), listener, NULL, NULL, SOCK_CLOEXEC);
    settle(&epoll);
    for (unsigned i = 0; i < 20; i++) {
        const int client = harness_dial(&address);
        const int taken = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        EXPECT_INT(taken, >=, 0);
        settle(&epoll); /* Perhaps there was an event; there is no connection. */
        EXPECT_UINT(op.told, ==, 0);
        close(taken);
        close(client);
    }
    cancel_and_end(&epoll, &op);
    close(listener);
    stop(&epoll);
}

static struct {
    int fds[100];
    unsigned count;
    int last;
    unsigned cancel_at;
    struct torc__epoll *epoll;
} accepted;

static void take(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)flags;
    if (!more) {
        accepted.last = result;
        return;
    }
    accepted.fds[accepted.count++] = result;
    if (accepted.count == accepted.cancel_at)
        torc__epoll_ops.cancel(&accepted.epoll->base, op);
}

static void close_accepted(void)
{
    for (unsigned i = 0; i < accepted.count; i++)
        close(accepted.fds[i]);
}

#define CLIENTS 50

/* A multishot accept, for CLIENTS that come. */
static void begin_to_accept(struct torc__epoll *epoll, struct torc_op *op, int listener)
{
    start(epoll);
    set_function(op, take);
    memset(&accepted, 0, sizeof(accepted));
    accepted.epoll = epoll;
    io_uring_prep_multishot_accept(torc__epoll_ops.prepare(&epoll->base, op), listener, NULL, NULL,
                                   SOCK_CLOEXEC);
}

static void end_accepting(struct torc__epoll *epoll, int listener, const int clients[])
{
    for (unsigned i = 0; i < CLIENTS; i++)
        close(clients[i]);
    close_accepted();
    close(listener);
    stop(epoll);
}

TEST(a_multishot_accept_takes_all_that_come_and_ends_when_it_is_cancelled)
{
    struct torc__epoll epoll;
    struct torc_address address;
    const int listener = harness_listener(&address);
    struct torc_op op = {0};
    int clients[CLIENTS];

    begin_to_accept(&epoll, &op, listener);
    settle(&epoll);
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = harness_dial(&address);
    while (accepted.count < CLIENTS - 1)
        turn(&epoll, TORC_FOREVER);
    accepted.cancel_at = accepted.count + 1;
    while (accepted.last == 0) {
        EXPECT_UINT(accepted.count, <=, CLIENTS);
        if (accepted.count == CLIENTS)
            torc__epoll_ops.cancel(&epoll.base, &op);
        turn(&epoll, TORC_FOREVER);
    }
    EXPECT_INT(accepted.last, ==, -ECANCELED);
    end_accepting(&epoll, listener, clients);
}

/* How often a trace says that an op begins. */
static unsigned starts_in(const struct torc__trace *trace, const struct torc_op *op)
{
    unsigned count = 0;

    for (uint64_t i = 0; i < trace->written; i++) {
        const struct torc__trace_event *event = &trace->ring->events[i];

        count += event->kind == TRACE_OP_START && event->object == (uint64_t)(uintptr_t)op;
    }
    return count;
}

/* A trace sees a multishot accept that takes several turns, or all of them but the first. */
static void accept_in_turns(struct torc__trace *trace, bool begins_unseen)
{
    struct torc__epoll epoll;
    struct torc_address address;
    const int listener = harness_listener(&address);
    struct torc_op op = {0};
    int clients[CLIENTS];

    begin_to_accept(&epoll, &op, listener);
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = harness_dial(&address);
    epoll.base.trace = begins_unseen ? NULL : trace;
    turn(&epoll, DRIVER_NO_WAIT);
    EXPECT_UINT(accepted.count, <, CLIENTS);
    epoll.base.trace = trace;
    while (accepted.count < CLIENTS)
        turn(&epoll, TORC_FOREVER);
    torc__epoll_ops.cancel(&epoll.base, &op);
    while (accepted.last == 0)
        turn(&epoll, TORC_FOREVER);
    EXPECT_UINT(starts_in(trace, &op), ==, begins_unseen ? 0 : 1);
    end_accepting(&epoll, listener, clients);
}

TEST(an_op_that_goes_on_in_other_turns_is_recorded_to_have_begun_once)
{
    struct torc__trace_ring *ring = calloc(1, sizeof(*ring) + 256 * sizeof(ring->events[0]));
    struct torc__trace trace;

    EXPECT(ring != NULL);
    for (int unseen = 0; unseen < 2; unseen++) {
        torc__trace_init(&trace, ring, 256);
        accept_in_turns(&trace, unseen);
    }
    free(ring);
}

TEST(a_multishot_accept_that_its_own_completion_cancels_takes_no_more)
{
    struct torc__epoll epoll;
    struct torc_address address;
    const int listener = harness_listener(&address);
    struct torc_op op = {0};
    int clients[5];

    start(&epoll);
    set_function(&op, take);
    memset(&accepted, 0, sizeof(accepted));
    accepted.epoll = &epoll;
    accepted.cancel_at = 3;
    for (unsigned i = 0; i < 5; i++)
        clients[i] = harness_dial(&address);
    io_uring_prep_multishot_accept(torc__epoll_ops.prepare(&epoll.base, &op), listener, NULL, NULL,
                                   SOCK_CLOEXEC);
    while (accepted.last == 0)
        turn(&epoll, TORC_FOREVER);
    EXPECT_INT(accepted.last, ==, -ECANCELED);
    EXPECT_UINT(accepted.count, ==, 3); /* The others stay in the listener's queue. */
    EXPECT(harness_is_readable(listener));
    for (unsigned i = 0; i < 5; i++)
        close(clients[i]);
    close_accepted();
    close(listener);
    stop(&epoll);
}

/* ---- Connect ---- */

static int open_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    EXPECT_INT(fd, >=, 0);
    return fd;
}

TEST(connecting_succeeds_and_leaves_the_socket_as_it_was)
{
    struct torc__epoll epoll;
    struct torc_address address;
    const int listener = harness_listener(&address);
    struct noted_op op;

    start(&epoll);
    for (unsigned nonblocking = 0; nonblocking < 2; nonblocking++) {
        const int fd = open_socket(AF_INET);

        EXPECT_INT(fcntl(fd, F_SETFL, nonblocking ? O_NONBLOCK : 0), ==, 0);
        io_uring_prep_connect(prepare(&epoll, &op), fd, &address.any, address.length);
        EXPECT_INT(result_of(&epoll, &op), ==, 0);
        EXPECT_INT(is_blocking(fd), ==, !nonblocking);
        close(fd);
    }
    close(listener);
    stop(&epoll);
}

TEST(connecting_where_nobody_listens_is_refused)
{
    const struct torc_address address = harness_dead_address();
    struct torc__epoll epoll;
    struct noted_op op;
    const int fd = open_socket(AF_INET);

    start(&epoll);
    io_uring_prep_connect(prepare(&epoll, &op), fd, &address.any, address.length);
    EXPECT_INT(result_of(&epoll, &op), ==, -ECONNREFUSED);
    close(fd);
    stop(&epoll);
}

TEST(a_connect_that_hangs_is_cancelled)
{
    struct torc__epoll epoll;
    struct torc_address address;
    int clients[2];
    const int listener = harness_full_listener(&address, clients);
    struct noted_op op;
    const int fd = open_socket(AF_INET);

    start(&epoll);
    io_uring_prep_connect(prepare(&epoll, &op), fd, &address.any, address.length);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    EXPECT(is_blocking(fd));
    cancel_and_end(&epoll, &op);
    close(fd);
    harness_close_pair(clients);
    close(listener);
    stop(&epoll);
}

TEST(connecting_to_a_unix_socket_waits_for_room_in_its_queue)
{
    struct torc__epoll epoll;
    struct torc_address address = {.length = sizeof(sa_family_t), .local = {.sun_family = AF_UNIX}};
    const int listener = open_socket(AF_UNIX);
    const int first = open_socket(AF_UNIX);
    const int fd = open_socket(AF_UNIX);
    const int last = open_socket(AF_UNIX);
    struct noted_op ops[2];
    int taken;

    start(&epoll);
    EXPECT_INT(bind(listener, &address.any, address.length), ==, 0); /* Any abstract name. */
    address.length = sizeof(address.storage);
    EXPECT_INT(getsockname(listener, &address.any, &address.length), ==, 0);
    EXPECT_INT(listen(listener, 0), ==, 0);
    EXPECT_INT(connect(first, &address.any, address.length), ==, 0);
    io_uring_prep_connect(prepare(&epoll, &ops[0]), fd, &address.any, address.length);
    io_uring_prep_connect(prepare(&epoll, &ops[1]), last, &address.any, address.length);
    settle(&epoll);
    EXPECT_UINT(ops[0].told + ops[1].told, ==, 0);
    cancel_and_end(&epoll, &ops[1]);

    taken = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    EXPECT_INT(result_of(&epoll, &ops[0]), ==, 0);
    close(taken);
    close(last);
    close(fd);
    close(first);
    close(listener);
    stop(&epoll);
}
