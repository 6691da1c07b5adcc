/* SPDX-License-Identifier: MIT */
/*
 * selftest.c - the checks: what must be true of a kernel for torc to use its features.
 *
 * Each check has a ring of its own, so that what one leaves behind does not confuse the next. None
 * waits in the kernel: it asks again and again until a limit that only a broken kernel reaches.
 */
#include "driver/selftest.h"
#include "base/clock.h"
#include "base/compiler.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <torc/runtime.h>
#include <unistd.h>

#define PATIENCE_NS NS_PER_SECOND
#define GROUP       1

enum verdict {
    VERDICT_WORKS,
    VERDICT_BROKEN,
    VERDICT_UNKNOWN
};

void (*torc__selftest_tamper)(struct torc__ring *ring);

/* ---- A ring, one step at a time ---- */

static struct io_uring_sqe *next(struct torc__ring *ring, uint64_t id)
{
    struct io_uring_sqe *sqe = &ring->sqes[ring->sq_tail++ & ring->sq_mask];

    memset(sqe, 0, sizeof(*sqe));
    sqe->user_data = id;
    return sqe;
}

/* Give the kernel what is queued, and let it post what has completed. */
static void push(struct torc__ring *ring)
{
    __atomic_store_n(ring->sq_tail_shared, ring->sq_tail, __ATOMIC_RELEASE);
    (void)ring->enter(ring, torc__ring_queued(ring), 0, IORING_ENTER_GETEVENTS, NULL);
}

/* The next completion; false if there is none for very long. */
static bool take(struct torc__ring *ring, struct io_uring_cqe *ret_cqe)
{
    const uint64_t limit_ns = torc__clock_now() + PATIENCE_NS;

    while (!torc__ring_has_completion(ring)) {
        push(ring);
        if (torc__ring_has_completion(ring))
            break;
        if (torc__clock_now() > limit_ns)
            return false;
        sched_yield();
    }
    *ret_cqe = ring->cqes[*ring->cq_head & ring->cq_mask];
    __atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
    return true;
}

static bool put(int fd, const char *data, size_t size)
{
    return send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

/* Sockets that block: on others an operation would not wait. */
static bool open_pair(int ret_ends[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_ends) == 0;
}

static void close_pair(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

/* ---- What every ring needs ---- */

/* Of two operations alike the one whose address was named is cancelled, and no other. */
static enum verdict check_cancel(struct torc__ring *ring)
{
    struct io_uring_cqe cqe;
    unsigned right = 0;
    int ends[2];

    if (!open_pair(ends))
        return VERDICT_UNKNOWN;
    io_uring_prep_poll_add(next(ring, 8), ends[0], POLLIN);
    io_uring_prep_poll_add(next(ring, 16), ends[0], POLLIN);
    push(ring);
    io_uring_prep_cancel64(next(ring, 24), 8, 0);
    push(ring);
    for (unsigned i = 0; i < 2 && take(ring, &cqe); i++)
        right +=
            (cqe.user_data == 8 && cqe.res == -ECANCELED) || (cqe.user_data == 24 && cqe.res == 0);
    right += put(ends[1], "x", 1) && take(ring, &cqe) && cqe.user_data == 16 && cqe.res > 0;
    close_pair(ends);
    return right == 3 ? VERDICT_WORKS : VERDICT_BROKEN;
}

static enum verdict check_timeout(struct torc__ring *ring)
{
    const struct __kernel_timespec timeout = {.tv_nsec = 200000};
    const uint64_t begun_ns = torc__clock_now();
    int result;

    do
        result = ring->enter(ring, 0, 1, IORING_ENTER_GETEVENTS, &timeout);
    while (result == -EINTR);
    return result == -ETIME && torc__clock_now() - begun_ns >= (uint64_t)timeout.tv_nsec
               ? VERDICT_WORKS
               : VERDICT_BROKEN;
}

/* A message comes as it was sent, and once. */
static enum verdict check_msg_ring(struct torc__ring *ring)
{
    const struct torc__ring_shape shape = {
        .entries = 4, .completion_entries = 8, .setup_flags = ring->setup_flags};
    struct torc__ring other;
    struct io_uring_cqe cqe;
    bool right;

    if (torc__ring_init(&other, &shape) < 0)
        return VERDICT_UNKNOWN;
    io_uring_prep_msg_ring(next(ring, 8), other.fd, 5, 0x1234567890, 0);
    push(ring);
    right = take(ring, &cqe) && cqe.user_data == 8 && cqe.res == 0;
    right = right && take(&other, &cqe) && cqe.user_data == 0x1234567890 && cqe.res == 5;
    push(&other);
    right = right && !torc__ring_has_completion(&other);
    torc__ring_finish(&other);
    return right ? VERDICT_WORKS : VERDICT_BROKEN;
}

/* ---- Rings of buffers ---- */

#define BUFFERS     8
#define BUFFER_SIZE 32u

/* A ring of buffers on pages of its own. */
struct buffers {
    struct io_uring_buf_ring *ring;
    char *memory;
    void *pages;
    size_t pages_size;
};

static void give(struct buffers *buffers, unsigned id)
{
    io_uring_buf_ring_add(buffers->ring, buffers->memory + (size_t)id * BUFFER_SIZE, BUFFER_SIZE,
                          (unsigned short)id, BUFFERS - 1, 0);
    io_uring_buf_ring_advance(buffers->ring, 1);
}

static bool open_buffers(struct torc__ring *ring, struct buffers *ret_buffers, unsigned count,
                         bool incremental)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED)
        return false;
    if (torc__ring_register_buffers(ring, pages, BUFFERS, GROUP, incremental) < 0) {
        munmap(pages, 2 * page);
        return false;
    }
    *ret_buffers = (struct buffers){
        .ring = pages,
        .memory = (char *)pages + page,
        .pages = pages,
        .pages_size = 2 * page,
    };
    for (unsigned id = 0; id < count; id++)
        give(ret_buffers, id);
    return true;
}

static void close_buffers(struct torc__ring *ring, const struct buffers *buffers)
{
    (void)torc__ring_unregister_buffers(ring, GROUP);
    munmap(buffers->pages, buffers->pages_size);
}

static unsigned buffer_of(const struct io_uring_cqe *cqe)
{
    return cqe->flags & IORING_CQE_F_BUFFER ? cqe->flags >> IORING_CQE_BUFFER_SHIFT : UINT16_MAX;
}

static void receive(struct torc__ring *ring, int fd, bool multishot)
{
    struct io_uring_sqe *sqe = next(ring, 8);

    if (multishot)
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    else
        io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    push(ring);
}

/* One byte is received, after or before it was sent, into just this buffer. */
static bool byte_comes_into(struct torc__ring *ring, const struct buffers *buffers,
                            const int ends[2], unsigned id, unsigned step)
{
    const char byte = (char)('a' + step);
    const bool is_there = step % 2 == 0;
    struct io_uring_cqe cqe;

    if (is_there && !put(ends[1], &byte, 1))
        return false;
    receive(ring, ends[0], false);
    if (!is_there && !put(ends[1], &byte, 1))
        return false;
    return take(ring, &cqe) && cqe.res == 1 && buffer_of(&cqe) == id &&
           buffers->memory[(size_t)id * BUFFER_SIZE] == byte;
}

/* Buffers are used in the order in which they were given, however that was. */
static enum verdict check_buffer_order(struct torc__ring *ring)
{
    static const unsigned again[] = {2, 0, 3, 1};
    static const unsigned expected[] = {4, 5, 6, 7, 2, 0, 3, 1};
    struct buffers buffers;
    bool right = true;
    int ends[2];

    if (!open_pair(ends))
        return VERDICT_UNKNOWN;
    if (!open_buffers(ring, &buffers, BUFFERS, false)) {
        close_pair(ends);
        return VERDICT_UNKNOWN;
    }
    for (unsigned i = 0; i < 4 && right; i++)
        right = byte_comes_into(ring, &buffers, ends, i, i);
    for (unsigned i = 0; i < 4; i++)
        give(&buffers, again[i]);
    for (unsigned i = 0; i < BUFFERS && right; i++)
        right = byte_comes_into(ring, &buffers, ends, expected[i], 4 + i);
    close_pair(ends);
    close_buffers(ring, &buffers);
    return right ? VERDICT_WORKS : VERDICT_BROKEN;
}

struct piece {
    unsigned sent;     /* bytes, before it is received */
    unsigned received; /* of what is there then */
    unsigned id;
    unsigned offset;
    bool more; /* The buffer is not used up. */
};

/* Buffers are used up bit by bit, to their end, and the kernel says when. */
static enum verdict check_buffer_inc(struct torc__ring *ring)
{
    static const char text[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    static const struct piece pieces[] = {
        {10, 10, 0, 0, true},   {11, 11, 0, 10, true}, {1, 1, 0, 21, true},
        {14, 10, 0, 22, false}, {0, 4, 1, 0, true},
    };
    struct buffers buffers;
    unsigned begun = 0;
    unsigned done = 0;
    bool right = true;
    int ends[2];

    if (!open_pair(ends))
        return VERDICT_UNKNOWN;
    if (!open_buffers(ring, &buffers, 2, true)) {
        close_pair(ends);
        return VERDICT_UNKNOWN;
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(pieces) && right; i++) {
        const struct piece *piece = &pieces[i];
        const char *place = buffers.memory + (size_t)piece->id * BUFFER_SIZE + piece->offset;
        struct io_uring_cqe cqe;

        right = piece->sent == 0 || put(ends[1], text + begun, piece->sent);
        begun += piece->sent;
        receive(ring, ends[0], false);
        right = right && take(ring, &cqe) && cqe.res == (int)piece->received &&
                buffer_of(&cqe) == piece->id &&
                !!(cqe.flags & IORING_CQE_F_BUF_MORE) == piece->more &&
                memcmp(place, text + done, piece->received) == 0;
        done += piece->received;
    }
    close_pair(ends);
    close_buffers(ring, &buffers);
    return right ? VERDICT_WORKS : VERDICT_BROKEN;
}

/* ---- Multishot ---- */

/* A listener that no file names: bind() with a family alone makes up an abstract address. */
static int open_listener(struct sockaddr_un *ret_address, socklen_t *ret_length)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(ret_address, 0, sizeof(*ret_address));
    ret_address->sun_family = AF_UNIX;
    *ret_length = sizeof(*ret_address);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)ret_address, sizeof(sa_family_t)) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, (struct sockaddr *)ret_address, ret_length) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void accept_again(struct torc__ring *ring, int listener)
{
    io_uring_prep_multishot_accept(next(ring, 8), listener, NULL, NULL, SOCK_CLOEXEC);
    push(ring);
}

/* See that the next completion is the other end of just that connection, if it finds room. */
static enum verdict connection_comes(struct torc__ring *ring, int client,
                                     struct io_uring_cqe *ret_cqe)
{
    char byte = 0;
    bool right;

    if (!put(client, "c", 1) || !take(ring, ret_cqe))
        return VERDICT_BROKEN;
    if (ret_cqe->res == -EMFILE || ret_cqe->res == -ENFILE || ret_cqe->res == -ENOMEM)
        return VERDICT_UNKNOWN;
    if (ret_cqe->res < 0)
        return VERDICT_BROKEN;
    right = recv(ret_cqe->res, &byte, 1, MSG_DONTWAIT) == 1 && byte == 'c';
    close(ret_cqe->res);
    return right ? VERDICT_WORKS : VERDICT_BROKEN;
}

/* Each connection is accepted once, over the end of one accept too; and the end is told. */
static enum verdict check_accept(struct torc__ring *ring)
{
    struct sockaddr_un address;
    socklen_t length;
    struct io_uring_cqe cqe = {0};
    int listener = open_listener(&address, &length);
    enum verdict verdict = VERDICT_WORKS;

    if (listener < 0)
        return VERDICT_UNKNOWN;
    accept_again(ring, listener);
    for (unsigned i = 0; i < 3 && verdict == VERDICT_WORKS; i++) {
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (client < 0 || connect(client, (struct sockaddr *)&address, length) < 0)
            verdict = VERDICT_UNKNOWN;
        else
            verdict = connection_comes(ring, client, &cqe);
        if (verdict == VERDICT_WORKS && !(cqe.flags & IORING_CQE_F_MORE))
            accept_again(ring, listener);
        if (client >= 0)
            close(client);
    }
    io_uring_prep_cancel64(next(ring, 16), 8, 0);
    push(ring);
    for (unsigned i = 0; i < 2 && verdict == VERDICT_WORKS; i++) {
        if (!take(ring, &cqe) || (cqe.flags & IORING_CQE_F_MORE) ||
            cqe.res != (cqe.user_data == 8 ? -ECANCELED : 0))
            verdict = VERDICT_BROKEN;
    }
    close(listener);
    return verdict;
}

#define STREAM_SIZE 100u /* More than three buffers hold. */

/*
 * Take what a multishot receive brings into `ret_text`, and begin it again when it has ended for
 * want of buffers, until the end of the stream. Returns how many bytes that was.
 */
static size_t collect(struct torc__ring *ring, struct buffers *buffers, int fd, char *ret_text)
{
    unsigned used[BUFFERS];
    unsigned used_count = 0;
    size_t size = 0;

    for (unsigned i = 0; i < 4 * BUFFERS; i++) {
        struct io_uring_cqe cqe;
        const bool came = take(ring, &cqe);
        const unsigned id = came ? buffer_of(&cqe) : UINT16_MAX;

        if (!came || cqe.res == 0)
            break;
        if (cqe.res > 0) {
            if (id >= BUFFERS || used_count == BUFFERS || size + (size_t)cqe.res > STREAM_SIZE)
                return 0;
            memcpy(ret_text + size, buffers->memory + (size_t)id * BUFFER_SIZE, (size_t)cqe.res);
            size += (size_t)cqe.res;
            used[used_count++] = id;
        }
        if (!(cqe.flags & IORING_CQE_F_MORE)) {
            while (used_count > 0)
                give(buffers, used[--used_count]);
            receive(ring, fd, true);
        }
    }
    return size;
}

/* No byte is lost, doubled or misplaced where a multishot receive ends for want of buffers. */
static enum verdict check_receive(struct torc__ring *ring)
{
    char sent[STREAM_SIZE];
    char received[STREAM_SIZE] = {0};
    struct buffers buffers;
    bool right;
    int ends[2];

    for (unsigned i = 0; i < STREAM_SIZE; i++)
        sent[i] = (char)(i * 7 + 1);
    if (!open_pair(ends))
        return VERDICT_UNKNOWN;
    if (!open_buffers(ring, &buffers, 3, false)) {
        close_pair(ends);
        return VERDICT_UNKNOWN;
    }
    receive(ring, ends[0], true);
    right = put(ends[1], sent, STREAM_SIZE / 2);
    push(ring);
    right = right && put(ends[1], sent + STREAM_SIZE / 2, STREAM_SIZE - STREAM_SIZE / 2);
    (void)shutdown(ends[1], SHUT_WR);
    right = right && collect(ring, &buffers, ends[0], received) == STREAM_SIZE &&
            memcmp(sent, received, STREAM_SIZE) == 0;
    close_pair(ends);
    close_buffers(ring, &buffers);
    return right ? VERDICT_WORKS : VERDICT_BROKEN;
}

/* ---- All of them ---- */

static const struct {
    unsigned feature; /* which is lost if it fails; 0: all */
    unsigned needs;   /* what the ring uses, too */
    enum verdict (*check)(struct torc__ring *ring);
    const char *reason;
} checks[CHECK_COUNT] = {
    [CHECK_CANCEL] = {0, 0, check_cancel, "a cancel does not end the operation it names, alone"},
    [CHECK_TIMEOUT] = {TORC_FEATURE_EXT_ARG, 0, check_timeout,
                       "a wait does not end at its timeout"},
    [CHECK_MSG_RING] = {TORC_FEATURE_MSG_RING, 0, check_msg_ring,
                        "a message to another ring does not come as it was sent"},
    [CHECK_BUFFER_ORDER] = {TORC_FEATURE_BUFFER_RING, 0, check_buffer_order,
                            "buffers are not used in the order in which they were given"},
    [CHECK_BUFFER_INC] = {TORC_FEATURE_BUFFER_INC, TORC_FEATURE_BUFFER_RING, check_buffer_inc,
                          "a buffer is not used up bit by bit to its end"},
    [CHECK_MULTISHOT_ACCEPT] = {TORC_FEATURE_MULTISHOT, 0, check_accept,
                                "connections are lost by an accept that goes on"},
    [CHECK_MULTISHOT_RECEIVE] = {TORC_FEATURE_MULTISHOT, TORC_FEATURE_BUFFER_RING, check_receive,
                                 "bytes are lost by a receive that goes on"},
};

unsigned torc__selftest_wanted(unsigned features)
{
    unsigned wanted = 0;

    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        const unsigned all = checks[i].feature | checks[i].needs;

        if ((features & all) == all)
            wanted |= 1U << i;
    }
    return wanted;
}

unsigned torc__selftest_lost(unsigned broken)
{
    unsigned lost = 0;

    for (unsigned i = 0; i < CHECK_COUNT; i++)
        lost |= broken & (1U << i) ? checks[i].feature : 0;
    return lost;
}

const char *torc__selftest_reason(unsigned broken, unsigned feature)
{
    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        if ((broken & (1U << i)) && checks[i].feature == feature)
            return checks[i].reason;
    }
    return NULL;
}

static enum verdict make(enum selftest_check check, unsigned setup_flags)
{
    const struct torc__ring_shape shape = {
        .entries = 8, .completion_entries = 64, .setup_flags = setup_flags};
    struct torc__ring ring;
    enum verdict verdict;

    if (torc__ring_init(&ring, &shape) < 0)
        return VERDICT_UNKNOWN;
    if (torc__selftest_tamper != NULL)
        torc__selftest_tamper(&ring);
    /* A filter may let rings be made but not entered: that is no bug, nor can one be seen then. */
    if (ring.enter(&ring, 0, 0, IORING_ENTER_GETEVENTS, NULL) < 0)
        verdict = VERDICT_UNKNOWN;
    else
        verdict = checks[check].check(&ring);
    torc__ring_finish(&ring);
    return verdict;
}

struct torc__selftest torc__selftest_run(unsigned wanted, unsigned setup_flags)
{
    struct torc__selftest result = {.setup_flags = setup_flags};

    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        const enum verdict verdict =
            wanted & (1U << i) ? make((enum selftest_check)i, setup_flags) : VERDICT_UNKNOWN;

        if (verdict != VERDICT_UNKNOWN)
            result.tested |= 1U << i;
        if (verdict == VERDICT_BROKEN)
            result.broken |= 1U << i;
    }
    return result;
}
