/* SPDX-License-Identifier: MIT */
/*
 * ops.c - every operation completes exactly once, with its own result.
 *
 * Groups of operations are waited for by every call there is, and cancelled at any instant. Each
 * has to be done then, and to say so twice. What they have read and written of a pipe adds up, and
 * feeds end once, also those that nobody ends. Memory that was lent to a send without a copy comes
 * back.
 */
#include "books.h"
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define GROUP_MAX 6u
#define ROUNDS    30u
#define PIECE_MAX 300u
#define CALLS     8u
#define BOUND_NS  (600 * TORC_SECOND)

/* What has gone into something, or come out. */
struct sum {
    uint64_t count;
    uint64_t sum; /* of the bytes */
};

enum kind {
    READ,
    WRITE,
    POLL,
    SLEEP,
    NOTHING,
    KINDS,
};

struct one {
    struct torc_op op;
    enum kind kind;
    struct __kernel_timespec time;
    uint8_t bytes[PIECE_MAX];
};

/* An operation with many completions, or with many lives. */
struct feed {
    struct torc_op op;
    int fd;
    bool accepts;
    unsigned calls;
    unsigned lives;
    bool is_unwanted;
    bool has_ended;
};

struct program {
    int pipe[2];
    struct sum in;
    struct sum out;
    struct feed feeds[2]; /* the second one is left to the end of the shard */
};

static void add(struct sum *sum, const uint8_t *bytes, size_t count)
{
    sum->count += count;
    for (size_t i = 0; i < count; i++)
        sum->sum += bytes[i];
}

/* ---- Groups ---- */

static void prepare(struct program *program, struct one *one)
{
    const unsigned length = (unsigned)torc_sim_random_below(PIECE_MAX) + 1;
    struct io_uring_sqe *sqe = torc_op_prepare(&one->op);

    one->kind = (enum kind)torc_sim_random_below(KINDS);
    switch (one->kind) {
    case READ:
        io_uring_prep_read(sqe, program->pipe[0], one->bytes, length, 0);
        break;
    case WRITE:
        pattern_fill(1, torc_sim_random(), one->bytes, length);
        io_uring_prep_write(sqe, program->pipe[1], one->bytes, length, 0);
        break;
    case POLL:
        io_uring_prep_poll_add(sqe, program->pipe[0], POLLIN);
        break;
    case SLEEP:
        one->time = (struct __kernel_timespec){
            .tv_nsec = (long long)some_time(10 * TORC_MILLISECOND),
        };
        io_uring_prep_timeout(sqe, &one->time, 0, 0);
        break;
    default:
        io_uring_prep_nop(sqe);
        break;
    }
}

/* Returns its result. */
static int account(struct program *program, struct one *one)
{
    int result;

    TORC_SIM_CHECK(torc_op_done(&one->op));
    result = torc_op_wait(&one->op);
    TORC_SIM_CHECK(torc_op_wait(&one->op) == result);
    TORC_SIM_CHECK(result >= 0 || is_passing(result) || result == -EINTR);
    if (result > 0 && one->kind == READ)
        add(&program->out, one->bytes, (size_t)result);
    if (result > 0 && one->kind == WRITE)
        add(&program->in, one->bytes, (size_t)result);
    if (one->kind == NOTHING)
        TORC_SIM_CHECK(result <= 0);
    if (one->kind == POLL && result > 0)
        TORC_SIM_CHECK((result & POLLIN) != 0);
    return result;
}

static void wait_one_by_one(struct one *ones, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (one_in(3))
            torc_op_cancel(&ones[torc_sim_random_below(count)].op);
        (void)torc_op_wait(&ones[i].op);
    }
}

/* Returns the index of the one that is committed, or the scope's reason. */
static int select_one(struct one *ones, unsigned count)
{
    struct torc_case cases[GROUP_MAX + 1];
    int index;

    for (unsigned i = 0; i < count; i++)
        cases[i] = torc_case_op(&ones[i].op);
    cases[count] = torc_case_deadline(torc_deadline(some_time(5 * TORC_MILLISECOND)));
    index = torc_select(cases, count + 1);
    TORC_SIM_CHECK(index <= (int)count);
    if (index >= 0 && index < (int)count)
        TORC_SIM_CHECK(cases[index].result == torc_op_wait(&ones[index].op));
    return index == (int)count ? 0 : index;
}

/* The call's answer has to follow from those of the operations. */
static void check_join(const int *results, unsigned count, int joined)
{
    int first = 0;

    for (unsigned i = 0; i < count && first == 0; i++)
        first = results[i] < 0 ? results[i] : 0;
    TORC_SIM_CHECK(joined == first);
}

static void check_try_join(const int *results, unsigned count, int joined)
{
    bool is_one = false;
    bool is_success = true;

    for (unsigned i = 0; i < count; i++) {
        is_one = is_one || results[i] == joined;
        is_success = is_success && results[i] >= 0;
    }
    TORC_SIM_CHECK(joined == 0 ? is_success : is_one);
}

static void run_group(struct program *program)
{
    const unsigned count = (unsigned)torc_sim_random_below(GROUP_MAX) + 1;
    const unsigned way = (unsigned)torc_sim_random_below(5);
    struct one ones[GROUP_MAX];
    struct torc_op *ops[GROUP_MAX];
    int results[GROUP_MAX];
    int result = 0;

    for (unsigned i = 0; i < count; i++) {
        prepare(program, &ones[i]);
        ops[i] = &ones[i].op;
    }
    if (way == 0)
        result = torc_op_join(ops, count);
    else if (way == 1)
        result = torc_op_try_join(ops, count);
    else if (way == 2)
        result = torc_op_select(ops, count);
    else if (way == 3)
        result = select_one(ones, count);
    else
        wait_one_by_one(ones, count);
    for (unsigned i = 0; i < count; i++)
        results[i] = account(program, &ones[i]);
    if (way == 0)
        check_join(results, count, result);
    else if (way == 1)
        check_try_join(results, count, result);
    else if (way == 2 || way == 3)
        TORC_SIM_CHECK(result < (int)count && (result >= 0 || result == torc_cancelled()));
}

static int run_groups(void *arg)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct torc_scope scope;
        struct peril peril;

        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, 20 * TORC_MILLISECOND); /* Some wait for nothing. */
        peril_open(&peril);
        run_group(arg);
        peril_close(&peril);
        torc_scope_cancel(&scope);
        (void)torc_scope_close(&scope);
    }
    return 0;
}

/* ---- Feeds ---- */

static void start_feed(struct feed *feed);

/* An end that is nobody's wish is followed by another life. */
static void feed_completes(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct feed *feed = (struct feed *)(void *)op; /* Its first field. */

    (void)flags;
    TORC_SIM_CHECK(!feed->has_ended);
    feed->calls++;
    if (feed->accepts && result >= 0)
        TORC_SIM_CHECK(torc_sim_syscall(SYS_close, result) == 0);
    if (more)
        return;
    if (result == -ECANCELED || feed->is_unwanted || feed->lives >= CALLS)
        feed->has_ended = true;
    else
        start_feed(feed);
}

static void start_feed(struct feed *feed)
{
    struct io_uring_sqe *sqe = torc_op_prepare_feed(&feed->op, feed_completes);

    feed->lives++;
    if (feed->accepts)
        io_uring_prep_multishot_accept(sqe, feed->fd, NULL, NULL, SOCK_CLOEXEC);
    else
        io_uring_prep_poll_multishot(sqe, feed->fd, POLLIN);
}

static int listen_at(const char *where, struct torc_address *ret_address)
{
    int fd;

    TORC_SIM_CHECK(torc_address_parse(where, ret_address) == 0);
    do
        fd = torc_tcp_listen(ret_address, NULL);
    while (is_passing(fd));
    TORC_SIM_CHECK(fd >= 0);
    return fd;
}

static int use_feeds(void *arg)
{
    struct program *program = arg;
    struct torc_address address;
    const int listening = listen_at("127.0.0.1:7000", &address);

    program->feeds[0] = (struct feed){.fd = listening, .accepts = true};
    program->feeds[1] = (struct feed){.fd = program->pipe[0]};
    start_feed(&program->feeds[0]);
    start_feed(&program->feeds[1]);
    for (unsigned i = 0; i < CALLS; i++) {
        struct peril peril;
        int fd;

        peril_open(&peril);
        fd = torc_tcp_connect(&address, 1, NULL);
        peril_close(&peril);
        if (fd >= 0)
            (void)torc_close(fd);
        (void)torc_sleep(some_time(TORC_MILLISECOND));
    }
    program->feeds[0].is_unwanted = true;
    if (!program->feeds[0].has_ended)
        torc_op_cancel(&program->feeds[0].op);
    while (!program->feeds[0].has_ended)
        (void)torc_sleep(TORC_MILLISECOND);
    (void)torc_close(listening);
    return 0;
}

/* ---- Sending without a copy ---- */

struct flow {
    int fd;
    uint64_t sent;
    uint64_t received;
};

static int64_t send_in_two_steps(struct flow *flow, uint8_t *bytes, size_t length)
{
    struct torc_zero_copy zero_copy;
    const int64_t result = torc_zero_copy_start(&zero_copy, flow->fd, bytes, length, 0);

    if (one_in(2))
        (void)torc_sleep(some_time(TORC_MILLISECOND));
    torc_zero_copy_finish(&zero_copy);
    TORC_SIM_CHECK(torc_zero_copy_is_free(&zero_copy));
    return result;
}

static int receive_flow(void *arg)
{
    struct flow *flow = arg;
    uint8_t bytes[PIECE_MAX];
    int64_t count;

    while ((count = torc_recv(flow->fd, bytes, sizeof(bytes), 0)) != 0) {
        if (is_passing(count))
            continue;
        TORC_SIM_CHECK(count > 0);
        pattern_check(3, flow->received, bytes, (size_t)count);
        flow->received += (uint64_t)count;
    }
    return 0;
}

static int send_flow(void *arg)
{
    struct flow *flow = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        const size_t length = torc_sim_random_below(PIECE_MAX) + 1;
        uint8_t bytes[PIECE_MAX];
        struct peril peril;
        int64_t result;

        pattern_fill(3, flow->sent, bytes, length);
        peril_open(&peril);
        result = one_in(2) ? torc_send_zc(flow->fd, bytes, length, 0)
                           : send_in_two_steps(flow, bytes, length);
        peril_close(&peril);
        memset(bytes, 0, sizeof(bytes)); /* It is free. */
        TORC_SIM_CHECK(result > 0 || is_passing(result));
        flow->sent += result > 0 ? (uint64_t)result : 0;
    }
    return torc_shutdown(flow->fd, SHUT_WR);
}

/* By TCP, which is what it is for; each time at a new listener, so that the two are a pair. */
static void connect_flows(struct flow *flows)
{
    struct torc_address address;

    while (flows[0].fd < 0) {
        const int listening = listen_at("127.0.0.1:7001", &address);

        flows[0].fd = torc_tcp_connect(&address, 1, NULL);
        while (flows[0].fd >= 0 && flows[1].fd < 0)
            flows[1].fd = torc_accept(listening, NULL);
        (void)torc_close(listening);
    }
}

static int use_zero_copy(void *arg)
{
    struct flow flows[2] = {{.fd = -1}, {.fd = -1}};
    struct torc_scope scope;

    (void)arg;
    connect_flows(flows);
    torc_scope_open(&scope, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, send_flow, &flows[0]) == 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, receive_flow, &flows[1]) == 0);
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    TORC_SIM_CHECK(flows[1].received == flows[0].sent);
    (void)torc_close(flows[0].fd);
    (void)torc_close(flows[1].fd);
    return 0;
}

/* ---- All together ---- */

static void drain(struct program *program)
{
    uint8_t bytes[PIECE_MAX];
    int64_t count;

    (void)torc_close(program->pipe[1]);
    while ((count = torc_read(program->pipe[0], bytes, sizeof(bytes))) != 0) {
        TORC_SIM_CHECK(count > 0 || is_passing(count));
        if (count > 0)
            add(&program->out, bytes, (size_t)count);
    }
    TORC_SIM_CHECK(program->in.count == program->out.count);
    TORC_SIM_CHECK(program->in.sum == program->out.sum);
}

static int program_main(void *arg)
{
    struct program *program = arg;
    struct torc_scope scope;

    while (torc_pipe(program->pipe, 4096) < 0)
        (void)torc_sleep(TORC_MILLISECOND);
    torc_scope_open(&scope, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, run_groups, program) == 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, run_groups, program) == 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, use_feeds, program) == 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, use_zero_copy, NULL) == 0);
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    drain(program);
    (void)torc_close(program->pipe[0]);
    return 0;
}

static int run_program(void *arg)
{
    struct program program = {.in = {0}};

    (void)arg;
    TORC_SIM_CHECK(run_and_check(program_main, &program, NULL) == 0);
    TORC_SIM_CHECK(program.feeds[1].has_ended);
    return 0;
}

static int scenario(void *arg)
{
    struct torc_sim_host *host;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("machine", NULL, run_program, NULL, &host) == 0);
    TORC_SIM_CHECK(wait_for_end(host, BOUND_NS) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}
