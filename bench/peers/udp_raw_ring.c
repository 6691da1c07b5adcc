/* SPDX-License-Identifier: MIT */
/*
 * udp_raw_ring.c - a UDP echo by hand on io_uring: one multishot RECVMSG into buffers of the ring,
 * one SENDMSG per datagram straight from there, one system call per batch.
 *
 * A buffer stays out of the ring until its answer is sent, so there is one message header for each.
 */
#include "ring.h"
#include "udp.h"

enum {
    SQ_ENTRIES = 1024,
    CQ_ENTRIES = 4096,
    BUFFER_COUNT = 512,
    BUFFER_SIZE = 2 * DATAGRAM_MAX, /* of these the datagram, its address and what describes them */
};

/* user_data: the number of the buffer that is sent, or one of these. */
enum {
    RECEIVED = BUFFER_COUNT,
    STOPPED,
};

struct answer {
    struct msghdr message;
    struct iovec vector;
};

static struct ring ring;
static struct ring_buffers buffers;
static struct answer answers[BUFFER_COUNT];
static struct msghdr shape = {.msg_namelen = sizeof(struct sockaddr_in)};
static bool receiving;

static void start_receive(int fd)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    io_uring_prep_recvmsg_multishot(sqe, fd, &shape, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, RECEIVED);
    receiving = true;
}

/* A buffer holds struct io_uring_recvmsg_out, the room for the address, then the datagram. */
static void send_back(int fd, const struct io_uring_cqe *cqe)
{
    const unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    const size_t before = sizeof(struct io_uring_recvmsg_out) + sizeof(struct sockaddr_in);
    char *buffer = ring_buffer(&buffers, id);
    struct answer *answer = &answers[id];

    buffers.with_kernel--;
    answer->vector = (struct iovec){
        .iov_base = buffer + before,
        .iov_len = (size_t)cqe->res - before,
    };
    answer->message = (struct msghdr){
        .msg_name = buffer + sizeof(struct io_uring_recvmsg_out),
        .msg_namelen = sizeof(struct sockaddr_in),
        .msg_iov = &answer->vector,
        .msg_iovlen = 1,
    };
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    io_uring_prep_sendmsg(sqe, fd, &answer->message, 0);
    io_uring_sqe_set_data64(sqe, id);
}

/* Returns false when the server is to end. */
static bool complete(int fd, const struct io_uring_cqe *cqe)
{
    if (cqe->user_data == STOPPED)
        return false;
    if (cqe->user_data != RECEIVED) {
        ring_buffers_return(&buffers, (unsigned)cqe->user_data);
        return true;
    }
    if (cqe->res >= 0)
        send_back(fd, cqe);
    else if (cqe->res != -ENOBUFS)
        ring_die("recvmsg", cqe->res);
    receiving = cqe->flags & IORING_CQE_F_MORE;
    return true;
}

int main(int argc, char **argv)
{
    const int stop_fd = open_stop_signals();
    ring_open(&ring, SQ_ENTRIES, CQ_ENTRIES);
    ring_buffers_open(&buffers, &ring, BUFFER_COUNT, BUFFER_SIZE, false);
    const int fd = open_udp(parse_address(argc, argv));

    struct signalfd_siginfo info;
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    io_uring_prep_read(sqe, stop_fd, &info, sizeof(info), 0);
    io_uring_sqe_set_data64(sqe, STOPPED);

    bool running = true;
    while (running) {
        ring_buffers_show(&buffers);
        if (!receiving && buffers.with_kernel > 0)
            start_receive(fd);
        ring_turn(&ring, 1);
        for (unsigned left = ring_ready(&ring); left > 0; left--) {
            running &= complete(fd, ring_first(&ring));
            ring_pop(&ring);
        }
    }
    printf("syscalls %llu\n", (unsigned long long)ring.syscalls);
    return 0;
}
