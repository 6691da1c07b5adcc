/* SPDX-License-Identifier: MIT */
/*
 * sim_net_call_test.c - the models against the kernel: the same calls on both, in any order, give
 * the same results.
 *
 * What the kernel does on loopback it may do a moment later. So before each call the real end is
 * waited for until it is ready for what the model says; a difference is only what does not go away.
 */
#include "unit/driver/sim_net_rig.h"
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COMPARED   (POLLIN | POLLOUT | POLLPRI | POLLERR | POLLHUP | POLLRDHUP)
#define WAIT_MS    5000
#define STORY_TOLD 800u  /* the end of it */
#define HELD_MOST  1500u /* bytes that nobody has received: the buffers of both sides hold them */

enum kind {
    TCP,
    UDP,
    UNIX_STREAM,
    UNIX_RECORDS,
    UNIX_DATAGRAMS,
    PIPE,
    KINDS
};

static const char *const kind_names[KINDS] = {"tcp",     "udp",       "stream",
                                              "records", "datagrams", "pipe"};

/* One end, twice. */
struct twin {
    struct sim_file *model;
    int real;
};

struct scene {
    enum kind kind;
    struct rig rig;
    struct twin ends[2];
    size_t held[2]; /* sent to this end, and not received: at most */
    char story[8000];
    size_t told;
};

/* ---- Setting up ---- */

static void connect_real(int type, int ret_fds[2])
{
    struct sockaddr_storage address = rig_address("127.0.0.1", 0);
    socklen_t length = sizeof(struct sockaddr_in);
    const int first = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    EXPECT_INT(bind(first, (struct sockaddr *)&address, length), ==, 0);
    EXPECT_INT(getsockname(first, (struct sockaddr *)&address, &length), ==, 0);
    if (type == SOCK_STREAM)
        EXPECT_INT(listen(first, 1), ==, 0);
    ret_fds[0] = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    EXPECT_INT(connect(ret_fds[0], (struct sockaddr *)&address, length), ==, 0);
    if (type == SOCK_STREAM) {
        ret_fds[1] = accept4(first, NULL, NULL, SOCK_CLOEXEC);
        close(first);
        for (int i = 0; i < 2; i++) /* Or small segments wait for others. */
            EXPECT_INT(setsockopt(ret_fds[i], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), ==,
                       0);
        return;
    }
    ret_fds[1] = first;
    EXPECT_INT(getsockname(ret_fds[0], (struct sockaddr *)&address, &length), ==, 0);
    EXPECT_INT(connect(first, (struct sockaddr *)&address, length), ==, 0);
}

static void connect_datagrams(struct rig *rig, struct sim_file *ret_files[2])
{
    for (int i = 0; i < 2; i++) {
        ret_files[i] = rig_socket(rig->hosts[0], AF_INET, SOCK_DGRAM);
        EXPECT_INT(rig_bind(ret_files[i], "127.0.0.1", 0), ==, 0);
    }
    for (int i = 0; i < 2; i++)
        EXPECT_INT(rig_connect(ret_files[i], "127.0.0.1", rig_local_port(ret_files[1 - i])), ==, 0);
}

static void open_models(struct scene *scene, struct sim_file *ret_files[2])
{
    static const int types[KINDS] = {[UNIX_STREAM] = SOCK_STREAM,
                                     [UNIX_RECORDS] = SOCK_SEQPACKET,
                                     [UNIX_DATAGRAMS] = SOCK_DGRAM};
    struct sim_host *host = scene->rig.hosts[0];

    if (scene->kind == TCP)
        rig_pair(&scene->rig, 0, 0, ret_files);
    else if (scene->kind == UDP)
        connect_datagrams(&scene->rig, ret_files);
    else if (scene->kind == PIPE)
        EXPECT_INT(torc__sim_pipe_open(host, 0, ret_files), ==, 0);
    else
        EXPECT_INT(torc__sim_socket_pair(host, types[scene->kind], ret_files), ==, 0);
}

static void open_reals(enum kind kind, int ret_fds[2])
{
    if (kind == TCP || kind == UDP) {
        connect_real(kind == TCP ? SOCK_STREAM : SOCK_DGRAM, ret_fds);
    } else if (kind == PIPE) {
        EXPECT_INT(pipe2(ret_fds, O_CLOEXEC), ==, 0);
    } else {
        const int type = kind == UNIX_STREAM    ? SOCK_STREAM
                         : kind == UNIX_RECORDS ? SOCK_SEQPACKET
                                                : SOCK_DGRAM;

        EXPECT_INT(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret_fds), ==, 0);
    }
    for (int i = 0; i < 2; i++)
        EXPECT_INT(fcntl(ret_fds[i], F_SETFL, O_NONBLOCK), ==, 0);
}

static void open_scene(struct scene *scene, enum kind kind)
{
    struct sim_file *models[2];
    int reals[2];

    memset(scene, 0, sizeof(*scene));
    scene->kind = kind;
    rig_open(&scene->rig);
    open_models(scene, models);
    open_reals(kind, reals);
    for (int i = 0; i < 2; i++)
        scene->ends[i] = (struct twin){models[i], reals[i]};
}

static void close_scene(struct scene *scene)
{
    for (int i = 0; i < 2; i++) {
        if (scene->ends[i].model == NULL)
            continue;
        torc__sim_file_release(scene->ends[i].model);
        close(scene->ends[i].real);
    }
    rig_close(&scene->rig);
}

/* ---- Comparing ---- */

static void tell(struct scene *scene, const char *call, int end, long result)
{
    const int length = snprintf(scene->story + scene->told, sizeof(scene->story) - scene->told,
                                "%s(%d)=%ld ", call, end, result);

    if (scene->told + (size_t)length < sizeof(scene->story))
        scene->told += (size_t)length;
}

static void expect_same(struct scene *scene, const char *call, int end, long model, long real)
{
    tell(scene, call, end, model);
    EXPECT_MSG(model == real, "%s of %s gives %ld and not %ld: ... %s", call,
               kind_names[scene->kind], model, real,
               scene->story + (scene->told > STORY_TOLD ? scene->told - STORY_TOLD : 0));
}

static int result_of(ssize_t result)
{
    return result < 0 ? -errno : (int)result;
}

/* What can be seen of an end without changing it. */
struct view {
    int events;
    int unread;
    int peer;  /* 0, or why there is none */
    int state; /* of TCP: that a FIN has come may not be seen otherwise */
};

static struct view view_model(const struct scene *scene, struct sim_file *file)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    struct view view = {.events = (int)torc__sim_file_poll(file) & COMPARED};
    struct tcp_info info = {0};
    socklen_t info_length = sizeof(info);

    (void)file->ops->ioctl(file, FIONREAD, &view.unread);
    if (scene->kind != PIPE)
        view.peer = file->ops->peer(file, (struct sockaddr *)&address, &length);
    if (scene->kind == TCP)
        EXPECT_INT(file->ops->get_option(file, IPPROTO_TCP, TCP_INFO, &info, &info_length), ==, 0);
    view.state = info.tcpi_state;
    return view;
}

static struct view view_real(const struct scene *scene, int fd)
{
    struct pollfd entry = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    struct tcp_info info = {0};
    socklen_t info_length = sizeof(info);
    struct view view = {0};

    EXPECT_INT(poll(&entry, 1, 0), >=, 0);
    view.events = entry.revents & COMPARED;
    (void)!ioctl(fd, FIONREAD, &view.unread);
    if (scene->kind != PIPE)
        view.peer = result_of(getpeername(fd, (struct sockaddr *)&address, &length));
    if (scene->kind == TCP)
        EXPECT_INT(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_length), ==, 0);
    view.state = info.tcpi_state;
    return view;
}

/* Wait until the real end looks as its model does. */
static void settle(struct scene *scene, int end)
{
    const struct twin *twin = &scene->ends[end];
    const struct view wanted = view_model(scene, twin->model);
    const uint64_t limit_ns = torc__clock_now() + WAIT_MS * UINT64_C(1000000);
    struct view seen = view_real(scene, twin->real);

    while (memcmp(&wanted, &seen, sizeof(seen)) != 0 && torc__clock_now() < limit_ns) {
        sched_yield();
        seen = view_real(scene, twin->real);
    }
    expect_same(scene, "poll", end, wanted.events, seen.events);
    expect_same(scene, "unread", end, wanted.unread, seen.unread);
    expect_same(scene, "peer", end, wanted.peer, seen.peer);
    expect_same(scene, "state", end, wanted.state, seen.state);
}

/* ---- Calls ---- */

static void try_send(struct scene *scene, int end)
{
    const struct twin *twin = &scene->ends[end];
    const size_t size = harness_random_below(60);
    char data[60];
    struct iovec vector = {data, size};
    const struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t model;

    if (scene->held[1 - end] + size > HELD_MOST)
        return;
    /* What an empty record is that was not read when its receiver closes, Linux has changed. */
    if (size == 0 && (scene->kind == PIPE || scene->kind == UNIX_RECORDS))
        return;
    for (size_t i = 0; i < size; i++)
        data[i] = (char)harness_random_below(256);
    if (scene->kind == PIPE) {
        model = twin->model->ops->write(twin->model, &vector, 1, -1, 0);
        expect_same(scene, "write", end, (long)model, result_of(write(twin->real, data, size)));
    } else {
        model = twin->model->ops->sendmsg(twin->model, &message, MSG_DONTWAIT);
        expect_same(scene, "send", end, (long)model,
                    result_of(sendmsg(twin->real, &message, MSG_DONTWAIT | MSG_NOSIGNAL)));
    }
    if (model > 0)
        scene->held[1 - end] += size;
}

static void try_receive(struct scene *scene, int end)
{
    static const int all_flags[] = {0, 0, 0, MSG_PEEK, MSG_TRUNC, MSG_PEEK | MSG_TRUNC};
    const struct twin *twin = &scene->ends[end];
    const size_t size = harness_random_below(80) + 1;
    const int flags = all_flags[harness_random_below(6)] | MSG_DONTWAIT;
    char data[2][80] = {"", ""};
    struct iovec vectors[2] = {{data[0], size}, {data[1], size}};
    struct msghdr messages[2] = {{.msg_iov = &vectors[0], .msg_iovlen = 1},
                                 {.msg_iov = &vectors[1], .msg_iovlen = 1}};
    ssize_t model;

    if (scene->kind == PIPE) {
        model = twin->model->ops->read(twin->model, &vectors[0], 1, -1, 0);
        expect_same(scene, "read", end, (long)model, result_of(read(twin->real, data[1], size)));
    } else {
        model = twin->model->ops->recvmsg(twin->model, &messages[0], flags);
        expect_same(scene, flags & MSG_PEEK ? "peek" : "recv", end, (long)model,
                    result_of(recvmsg(twin->real, &messages[1], flags)));
    }
    if (model < 0)
        return;
    EXPECT_MEM(data[0], data[1], sizeof(data[0]));
    if (scene->kind != PIPE)
        expect_same(scene, "flags", end, messages[0].msg_flags, messages[1].msg_flags);
}

static void try_shutdown(struct scene *scene, int end)
{
    const struct twin *twin = &scene->ends[end];
    const int how = (int)harness_random_below(3);

    if (scene->kind == PIPE || harness_random_below(3) != 0)
        return;
    expect_same(scene, "shutdown", end, twin->model->ops->shutdown(twin->model, how),
                result_of(shutdown(twin->real, how)));
}

static void try_error(struct scene *scene, int end)
{
    const struct twin *twin = &scene->ends[end];
    socklen_t length = sizeof(int);
    int error = 0;

    if (scene->kind == PIPE)
        return;
    EXPECT_INT(getsockopt(twin->real, SOL_SOCKET, SO_ERROR, &error, &length), ==, 0);
    expect_same(scene, "error", end, rig_option(twin->model, SOL_SOCKET, SO_ERROR), error);
}

static void try_close(struct scene *scene, int end)
{
    struct twin *twin = &scene->ends[end];

    if (harness_random_below(4) != 0)
        return;
    tell(scene, "close", end, 0);
    torc__sim_file_release(twin->model);
    close(twin->real);
    twin->model = NULL;
}

static void play(enum kind kind)
{
    static void (*const calls[])(struct scene *, int) = {
        try_send,    try_send,  try_send,  try_receive,  try_receive,
        try_receive, try_error, try_close, try_shutdown,
    };
    struct scene scene;

    open_scene(&scene, kind);
    for (unsigned i = 0; i < 60; i++) {
        const int end = (int)harness_random_below(2);

        if (scene.ends[end].model == NULL)
            continue;
        settle(&scene, end);
        calls[harness_random_below(sizeof(calls) / sizeof(calls[0]))](&scene, end);
    }
    close_scene(&scene);
}

static void play_many(enum kind kind)
{
    const unsigned count = harness_scaled(150);

    for (unsigned i = 0; i < count; i++)
        play(kind);
}

TEST(connections_of_tcp_answer_as_the_kernels_do)
{
    play_many(TCP);
}

TEST(sockets_of_udp_answer_as_the_kernels_do)
{
    play_many(UDP);
}

TEST(unix_sockets_of_all_types_answer_as_the_kernels_do)
{
    play_many(UNIX_STREAM);
    play_many(UNIX_RECORDS);
    play_many(UNIX_DATAGRAMS);
}

TEST(pipes_answer_as_the_kernels_do)
{
    EXPECT(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    play_many(PIPE);
}
