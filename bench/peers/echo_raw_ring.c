/* SPDX-License-Identifier: MIT */
/*
 * echo_raw_ring.c - the echo server one would write by hand on io_uring: the yardstick of bench/.
 *
 * One-shot RECV into the connection's own buffer, one-shot SEND of what came, and so on; one
 * io_uring_enter() submits all answers of a batch and waits for the next. Nothing is done per
 * message but one switch and one SQE. A connection has at most one operation in flight.
 *
 * IORING_SETUP_NO_SQARRAY would save some 10 ns per enter, but liburing 2.3 writes the index array
 * at the offset the kernel reports, which without an array is 0: the head of the queue itself.
 */
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "listen.h"

enum {
    BUFFER_SIZE = 64 * 1024,
    SQ_ENTRIES = 1024,
    CQ_ENTRIES = 16 * 1024
};

/* What a completion is for, in the low bits of its user_data; the rest is the connection. */
enum op {
    OP_RECV,
    OP_SEND,
    OP_ACCEPT,
    OP_CLOSE,
    OP_STOP,
    OP_MASK = 7
};

struct connection {
    int fd;
    char buffer[BUFFER_SIZE];
};

static struct io_uring ring;
static int listener;
static uint64_t syscall_count;

static struct io_uring_sqe *next_sqe(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    while (sqe == NULL) {
        syscall_count++;
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

static void tag(struct io_uring_sqe *sqe, struct connection *connection, enum op op)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)connection | op);
}

static void start_accept(void)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    tag(sqe, NULL, OP_ACCEPT);
}

static void start_recv(struct connection *connection)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_recv(sqe, connection->fd, connection->buffer, BUFFER_SIZE, 0);
    tag(sqe, connection, OP_RECV);
}

/* With MSG_WAITALL the kernel itself carries on after a short transfer. */
static void start_send(struct connection *connection, size_t size)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_send(sqe, connection->fd, connection->buffer, size, MSG_WAITALL | MSG_NOSIGNAL);
    tag(sqe, connection, OP_SEND);
}

static void start_close(struct connection *connection)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_close(sqe, connection->fd);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    tag(sqe, NULL, OP_CLOSE);
    free(connection);
}

static void accepted(const struct io_uring_cqe *cqe)
{
    if (cqe->res >= 0) {
        struct connection *connection = malloc(sizeof(*connection));
        if (connection == NULL)
            die("malloc");
        connection->fd = cqe->res;
        start_recv(connection);
    } else if (cqe->res != -ECONNABORTED && cqe->res != -EINTR) {
        errno = -cqe->res;
        die("accept");
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        start_accept();
}

/* Returns false when the server is to end. */
static bool complete(const struct io_uring_cqe *cqe)
{
    const enum op op = (enum op)(cqe->user_data & OP_MASK);
    struct connection *connection = (void *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK);

    switch (op) {
    case OP_RECV:
        if (cqe->res > 0)
            start_send(connection, (size_t)cqe->res);
        else
            start_close(connection);
        return true;
    case OP_SEND:
        if (cqe->res > 0)
            start_recv(connection);
        else
            start_close(connection);
        return true;
    case OP_ACCEPT:
        accepted(cqe);
        return true;
    case OP_STOP:
        return false;
    default:
        return true;
    }
}

static void serve(void)
{
    bool running = true;
    while (running) {
        syscall_count++;
        const int submitted = io_uring_submit_and_wait(&ring, 1);
        if (submitted < 0 && submitted != -EINTR && submitted != -EAGAIN && submitted != -EBUSY) {
            errno = -submitted;
            die("io_uring_enter");
        }

        struct io_uring_cqe *cqe;
        unsigned head;
        unsigned reaped = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            running &= complete(cqe);
            reaped++;
        }
        io_uring_cq_advance(&ring, reaped);
    }
}

static void open_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
        .cq_entries = CQ_ENTRIES,
    };
    const int error = io_uring_queue_init_params(SQ_ENTRIES, &ring, &params);
    if (error < 0) {
        errno = -error;
        die("io_uring_setup");
    }
    io_uring_register_ring_fd(&ring);
}

int main(int argc, char **argv)
{
    raise_file_limit();
    const int stop_fd = open_stop_signals();
    open_ring();
    listener = listen_on(parse_address(argc, argv), 0);

    struct signalfd_siginfo info;
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_read(sqe, stop_fd, &info, sizeof(info), 0);
    tag(sqe, NULL, OP_STOP);
    start_accept();

    serve();

    /* Connections that are still open end with the process. */
    printf("syscalls %llu\n", (unsigned long long)syscall_count);
    close(listener);
    io_uring_queue_exit(&ring);
    return 0;
}
