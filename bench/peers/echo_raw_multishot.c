/* SPDX-License-Identifier: MIT */
/*
 * echo_raw_multishot.c - the echo server by hand on io_uring in which no connection has a buffer:
 * the yardstick for streams that hold no memory while they are idle.
 *
 * One multishot RECV per connection, for as long as it lives. What comes stands in a buffer of the
 * ring's, which the kernel fills bit by bit (incremental buffers, Linux 6.12; else one buffer for
 * each receive), and is sent from there: all that is there for a connection in one SEND, since
 * what a small message costs is the sending. A buffer goes back when nothing in it is left to send.
 *
 *     multishot RECV --> pieces of a connection --> SEND, or SENDMSG of several --> buffers return
 *          |   ^
 *          |   '-- re-armed when buffers are back
 *          '-- out of buffers: the connection is starved
 *
 *     echo_raw_multishot PORT|/PATH [BUFFERS]
 *
 * A peer that sends for ever and never receives would in time hold all buffers. The load generator
 * always receives; a server for others would stop receiving from such a peer.
 */
#include "listen.h"
#include "ring.h"

enum {
    SQ_ENTRIES = 1024,
    CQ_ENTRIES = 16 * 1024,
    BUFFERS_DEFAULT = 256, /* few keep to the CPU's cache, many do not run out */
    BUFFERS_MAX = 4096,
    BUFFER_SIZE = 64 * 1024,
    VECTOR_MAX = 16,       /* pieces sent at once */
    SUBMIT_EVERY = 32,     /* completions looked at before their answers are submitted */
    PIECES_PER_BLOCK = 256 /* allocated at a time */
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

/* Received and not yet sent bytes in one buffer. */
struct piece {
    struct piece *next;
    uint32_t buffer;
    uint32_t begin;
    uint32_t end;
};

enum receiving {
    RECV_ARMED,   /* the multishot RECV is with the kernel */
    RECV_STARVED, /* in the list of those that wait for buffers */
    RECV_ENDED,   /* by the peer, or broken */
};

struct connection {
    int fd;
    enum receiving receiving;
    unsigned sending; /* pieces that the SEND in flight has; 0: none is in flight */
    bool broken;      /* what is left to send is dropped */
    bool is_touched;  /* in the list of those to look at after a batch */
    struct piece *first;
    struct piece *last;
    struct connection *next_touched;
    struct connection *next_starved;
    struct msghdr message;
    struct iovec vector[VECTOR_MAX];
};

/* How far a buffer has been filled, and how many pieces are in it. */
struct fill {
    uint32_t offset;
    uint32_t pieces;
    bool full; /* the kernel adds nothing more */
};

static struct ring ring;
static struct ring_buffers buffers;
static struct fill fills[BUFFERS_MAX];
static int listener;
static struct piece *free_pieces;
static struct connection *touched;
static struct connection *first_starved;
static struct connection **last_starved = &first_starved;

static void tag(struct io_uring_sqe *sqe, const struct connection *connection, enum op op)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)connection | op);
}

/* ---- Pieces ---- */

static void add_free_pieces(void)
{
    struct piece *block = malloc(PIECES_PER_BLOCK * sizeof(*block));
    if (block == NULL)
        die("malloc");
    for (unsigned i = 0; i < PIECES_PER_BLOCK; i++) {
        block[i].next = free_pieces;
        free_pieces = &block[i];
    }
}

static void add_piece(struct connection *connection, uint32_t buffer, uint32_t begin, uint32_t end)
{
    if (free_pieces == NULL)
        add_free_pieces();
    struct piece *piece = free_pieces;
    free_pieces = piece->next;
    *piece = (struct piece){.buffer = buffer, .begin = begin, .end = end};
    fills[buffer].pieces++;
    if (connection->first == NULL)
        connection->first = piece;
    else
        connection->last->next = piece;
    connection->last = piece;
}

static void return_if_unused(uint32_t buffer)
{
    struct fill *fill = &fills[buffer];
    if (fill->full && fill->pieces == 0) {
        *fill = (struct fill){0};
        ring_buffers_return(&buffers, buffer);
    }
}

static void drop_first_piece(struct connection *connection)
{
    struct piece *piece = connection->first;
    connection->first = piece->next;
    fills[piece->buffer].pieces--;
    return_if_unused(piece->buffer);
    piece->next = free_pieces;
    free_pieces = piece;
}

/* `size` bytes have come into a buffer. What follows the connection's last bytes joins them. */
static void take_received(struct connection *connection, const struct io_uring_cqe *cqe)
{
    const uint32_t buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    const uint32_t begin = fills[buffer].offset;
    const uint32_t end = begin + (uint32_t)cqe->res;

    fills[buffer].offset = end;
    if (!buffers.incremental || !(cqe->flags & CQE_BUFFER_GOES_ON)) {
        fills[buffer].full = true;
        buffers.with_kernel--;
    }
    struct piece *last = connection->last;
    const bool may_grow = connection->first != NULL && connection->sending == 0;
    if (may_grow && last->buffer == buffer && last->end == begin)
        last->end = end;
    else
        add_piece(connection, buffer, begin, end);
}

/* ---- Operations ---- */

static void start_accept(void)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    tag(sqe, NULL, OP_ACCEPT);
}

static void start_recv(struct connection *connection)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    tag(sqe, connection, OP_RECV);
    connection->receiving = RECV_ARMED;
}

/* All that is there goes in one call. With MSG_WAITALL the kernel carries on after a short one. */
static void start_send(struct connection *connection)
{
    unsigned count = 0;
    for (struct piece *p = connection->first; p != NULL && count < VECTOR_MAX; p = p->next) {
        connection->vector[count++] = (struct iovec){
            .iov_base = ring_buffer(&buffers, p->buffer) + p->begin,
            .iov_len = p->end - p->begin,
        };
    }
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    if (count == 1) {
        io_uring_prep_send(sqe, connection->fd, connection->vector[0].iov_base,
                           connection->vector[0].iov_len, MSG_WAITALL | MSG_NOSIGNAL);
    } else {
        connection->message = (struct msghdr){.msg_iov = connection->vector, .msg_iovlen = count};
        io_uring_prep_sendmsg(sqe, connection->fd, &connection->message,
                              MSG_WAITALL | MSG_NOSIGNAL);
    }
    tag(sqe, connection, OP_SEND);
    connection->sending = count;
}

static void start_close(struct connection *connection)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    io_uring_prep_close(sqe, connection->fd);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    tag(sqe, NULL, OP_CLOSE);
    free(connection);
}

/* ---- Connections ---- */

static void touch(struct connection *connection)
{
    if (connection->is_touched)
        return;
    connection->is_touched = true;
    connection->next_touched = touched;
    touched = connection;
}

static void starve(struct connection *connection)
{
    connection->receiving = RECV_STARVED;
    connection->next_starved = NULL;
    *last_starved = connection;
    last_starved = &connection->next_starved;
}

static void accepted(const struct io_uring_cqe *cqe)
{
    if (cqe->res >= 0) {
        struct connection *connection = malloc(sizeof(*connection));
        if (connection == NULL)
            die("malloc");
        *connection = (struct connection){.fd = cqe->res};
        start_recv(connection);
    } else if (cqe->res != -ECONNABORTED && cqe->res != -EINTR) {
        ring_die("accept", cqe->res);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        start_accept();
}

static void received(struct connection *connection, const struct io_uring_cqe *cqe)
{
    if (cqe->res > 0)
        take_received(connection, cqe);
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        /* The kernel may end it for reasons of its own, silently; then it is armed again. */
        if (cqe->res == -ENOBUFS || cqe->res > 0)
            starve(connection);
        else
            connection->receiving = RECV_ENDED;
    }
    touch(connection);
}

static void sent(struct connection *connection, const struct io_uring_cqe *cqe)
{
    for (; connection->sending > 0; connection->sending--)
        drop_first_piece(connection);
    if (cqe->res <= 0 && !connection->broken) {
        connection->broken = true;
        ring.syscalls++;
        shutdown(connection->fd, SHUT_RDWR); /* So that the RECV ends. */
    }
    touch(connection);
}

/* Answer what came, or end what has ended. */
static void look_at(struct connection *connection)
{
    connection->is_touched = false;
    if (connection->sending > 0)
        return;
    while (connection->broken && connection->first != NULL)
        drop_first_piece(connection);
    if (connection->first != NULL)
        start_send(connection);
    else if (connection->receiving == RECV_ENDED)
        start_close(connection);
}

static void look_at_touched(void)
{
    while (touched != NULL) {
        struct connection *connection = touched;
        touched = connection->next_touched;
        look_at(connection);
    }
}

/* Arm as many as there are buffers. Returns whether others would like to try as well. */
static bool feed_starved(void)
{
    for (unsigned i = 0; i < buffers.with_kernel && first_starved != NULL; i++) {
        struct connection *connection = first_starved;
        first_starved = connection->next_starved;
        if (first_starved == NULL)
            last_starved = &first_starved;
        start_recv(connection);
    }
    return first_starved != NULL && buffers.with_kernel > 0;
}

/* ---- The loop ---- */

/* Returns false when the server is to end. */
static bool complete(const struct io_uring_cqe *cqe)
{
    struct connection *connection = (void *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK);

    switch ((enum op)(cqe->user_data & OP_MASK)) {
    case OP_RECV:
        received(connection, cqe);
        return true;
    case OP_SEND:
        sent(connection, cqe);
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
        ring_buffers_show(&buffers); /* First, or those that are armed again find none. */
        ring_turn(&ring, feed_starved() ? 0 : 1);

        /* Only what is there now: answers that complete at once are for the next turn. */
        const unsigned ready = ring_ready(&ring);
        for (unsigned i = 1; i <= ready; i++) {
            running &= complete(ring_first(&ring));
            ring_pop(&ring);
            if (i % SUBMIT_EVERY == 0 && i < ready) {
                look_at_touched();
                ring_submit(&ring);
            }
        }
        look_at_touched();
    }
}

/* The second argument: how many buffers, a power of two. */
static unsigned parse_buffers(int argc, char **argv)
{
    const int count = argc >= 3 ? atoi(argv[2]) : BUFFERS_DEFAULT;
    if (count < 1 || count > BUFFERS_MAX || (count & (count - 1)) != 0) {
        fprintf(stderr, "BUFFERS is a power of two up to %d\n", BUFFERS_MAX);
        exit(2);
    }
    return (unsigned)count;
}

int main(int argc, char **argv)
{
    raise_file_limit();
    const int stop_fd = open_stop_signals();
    ring_open(&ring, SQ_ENTRIES, CQ_ENTRIES);
    ring_buffers_open(&buffers, &ring, parse_buffers(argc, argv), BUFFER_SIZE, true);
    listener = listen_on(parse_address(argc, argv), 0);

    struct signalfd_siginfo info;
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    io_uring_prep_read(sqe, stop_fd, &info, sizeof(info), 0);
    tag(sqe, NULL, OP_STOP);
    start_accept();

    serve();

    /* Connections that are still open end with the process. */
    printf("syscalls %llu\n", (unsigned long long)ring.syscalls);
    return 0;
}
