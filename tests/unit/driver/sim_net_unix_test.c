/* SPDX-License-Identifier: MIT */
/*
 * sim_net_unix_test.c - Unix sockets of a simulated host, and what comes along with their bytes.
 */
#include "driver/sim/disk.h"
#include "unit/driver/sim_net_rig.h"
#include <fcntl.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};

static void open_pair(struct rig *rig, int type, struct sim_file *ret_files[2])
{
    EXPECT_INT(torc__sim_socket_pair(rig->hosts[0], type, ret_files), ==, 0);
}

/* An abstract name; without text: one that is chosen. */
static socklen_t make_name(struct sockaddr_un *name, const char *text)
{
    const size_t length = strlen(text);

    memset(name, 0, sizeof(*name));
    name->sun_family = AF_UNIX;
    memcpy(name->sun_path + 1, text, length);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (length > 0 ? length + 1 : 0));
}

static int bind_to(struct sim_file *file, const char *text)
{
    struct sockaddr_un name;
    const socklen_t length = make_name(&name, text);

    return file->ops->bind(file, (struct sockaddr *)&name, length);
}

static int connect_to(struct sim_file *file, const char *text)
{
    struct sockaddr_un name;
    const socklen_t length = make_name(&name, text);

    return file->ops->connect(file, (struct sockaddr *)&name, length);
}

static ssize_t send_to(struct sim_file *file, const char *text, const void *data, size_t size)
{
    struct sockaddr_un name;
    struct iovec vector = {(void *)(uintptr_t)data, size};
    const struct msghdr message = {.msg_namelen = make_name(&name, text),
                                   .msg_name = &name,
                                   .msg_iov = &vector,
                                   .msg_iovlen = 1};

    return file->ops->sendmsg(file, &message, 0);
}

/* ---- Bytes and messages ---- */

RIG_TEST(streams_have_no_bounds_and_records_and_datagrams_have)
{
    struct sim_file *files[2];
    char data[16];
    int unread;

    for (int i = 0; i < 3; i++) {
        const bool is_stream = types[i] == SOCK_STREAM;

        open_pair(rig, types[i], files);
        EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, -EAGAIN);
        EXPECT_INT(rig_send(files[0], "one", 3), ==, 3);
        EXPECT_INT(rig_send(files[0], "three", 5), ==, 5);
        EXPECT_INT(files[1]->ops->ioctl(files[1], FIONREAD, &unread), ==, 0);
        EXPECT_INT(unread, ==, types[i] == SOCK_DGRAM ? 3 : 8);
        EXPECT_INT(rig_recv(files[1], data, 2, MSG_PEEK), ==, 2);
        EXPECT_INT(rig_recv(files[1], data, 2, 0), ==, 2);
        EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, is_stream ? 6 : 5);
        EXPECT_MEM(data, is_stream ? "ethree" : "three", 5);
        EXPECT_UINT(torc__sim_file_poll(files[1]), ==, POLLOUT | POLLWRNORM);
        rig_close_pair(files);
    }
}

RIG_TEST(a_message_that_is_cut_says_so_and_one_that_is_too_large_is_refused)
{
    static char large[300000];
    struct iovec vector = {large, 2};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    struct sim_file *files[2];

    open_pair(rig, SOCK_SEQPACKET, files);
    EXPECT_INT(rig_send(files[0], "abc", 3), ==, 3);
    EXPECT_INT(files[1]->ops->recvmsg(files[1], &message, MSG_TRUNC), ==, 3);
    EXPECT_INT(message.msg_flags, ==, MSG_TRUNC);
    EXPECT_INT(rig_send(files[0], large, sizeof(large)), ==, -EMSGSIZE);
    EXPECT_INT(rig_send(files[0], large, 200000), ==, 200000);
    rig_close_pair(files);
}

RIG_TEST(a_sender_is_held_back_until_its_bytes_are_received)
{
    static char data[100000];
    struct sim_file *files[2];

    for (int i = 0; i < 3; i++) {
        size_t sent = 0;
        size_t received = 0;
        ssize_t count;

        open_pair(rig, types[i], files);
        EXPECT_INT(rig_set(files[0], SOL_SOCKET, SO_SNDBUF, 20000), ==, 0);
        while ((count = rig_send(files[0], data, 3000)) > 0)
            sent += (size_t)count;
        EXPECT_INT(count, ==, -EAGAIN);
        EXPECT_UINT(sent, >, 30000);
        EXPECT_UINT(sent, <=, 43000);
        EXPECT_UINT(torc__sim_file_poll(files[0]) & POLLOUT, ==, 0);
        while ((count = rig_recv(files[1], data, sizeof(data), 0)) > 0)
            received += (size_t)count;
        EXPECT_UINT(received, ==, sent);
        EXPECT_UINT(torc__sim_file_poll(files[0]) & POLLOUT, ==, POLLOUT);
        rig_close_pair(files);
    }
}

/* ---- Ends ---- */

RIG_TEST(a_peer_that_has_gone_is_an_end_or_a_reset_if_something_was_not_read)
{
    struct sim_file *files[2];
    char byte;

    for (int i = 0; i < 2; i++) {
        open_pair(rig, types[i], files);
        EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
        torc__sim_file_release(files[0]);
        EXPECT_UINT(torc__sim_file_poll(files[1]) & (POLLIN | POLLHUP), ==, POLLIN | POLLHUP);
        EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 1);
        EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 0);
        EXPECT_INT(rig_send(files[1], "x", 1), ==, -EPIPE);
        torc__sim_file_release(files[1]);
        open_pair(rig, types[i], files);
        EXPECT_INT(rig_send(files[1], "x", 1), ==, 1);
        torc__sim_file_release(files[0]);
        EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, -ECONNRESET);
        EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 0);
        torc__sim_file_release(files[1]);
    }
    open_pair(rig, SOCK_DGRAM, files);
    torc__sim_file_release(files[0]);
    EXPECT_INT(rig_send(files[1], "x", 1), ==, -ECONNREFUSED);
    EXPECT_INT(rig_send(files[1], "x", 1), ==, -ENOTCONN);
    torc__sim_file_release(files[1]);
}

RIG_TEST(a_half_that_is_shut_down_is_so_at_both_ends)
{
    struct sim_file *files[2];
    char byte;

    open_pair(rig, SOCK_STREAM, files);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
    EXPECT_INT(files[0]->ops->shutdown(files[0], SHUT_WR), ==, 0);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, -EPIPE);
    EXPECT_UINT(torc__sim_file_poll(files[1]) & (POLLRDHUP | POLLHUP), ==, POLLRDHUP);
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 1);
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 0);
    EXPECT_INT(rig_send(files[1], "x", 1), ==, 1);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, 1);
    EXPECT_INT(files[0]->ops->shutdown(files[0], 7), ==, -EINVAL);
    rig_close_pair(files);
}

/* ---- Names ---- */

RIG_TEST(sockets_find_each_other_by_name_if_they_are_of_one_type)
{
    struct sockaddr_un name;
    socklen_t length = sizeof(name);
    struct sim_file *listener;
    struct sim_file *client;
    struct sim_file *server;

    listener = rig_socket(rig->hosts[0], AF_UNIX, SOCK_STREAM);
    client = rig_socket(rig->hosts[0], AF_UNIX, SOCK_STREAM);
    EXPECT_INT(listener->ops->listen(listener, 5), ==, -EINVAL);
    EXPECT_INT(connect_to(client, "name"), ==, -ECONNREFUSED);
    EXPECT_INT(bind_to(listener, "name"), ==, 0);
    EXPECT_INT(bind_to(listener, "other"), ==, -EINVAL);
    EXPECT_INT(bind_to(client, "name"), ==, -EADDRINUSE);
    EXPECT_INT(connect_to(client, "name"), ==, -ECONNREFUSED);
    EXPECT_INT(listener->ops->listen(listener, 5), ==, 0);
    EXPECT_INT(connect_to(client, "nam"), ==, -ECONNREFUSED);
    EXPECT_INT(connect_to(client, "name"), ==, 0);
    EXPECT_INT(connect_to(client, "name"), ==, -EISCONN);
    EXPECT_UINT(torc__sim_file_poll(listener), ==, POLLIN | POLLRDNORM);
    EXPECT_INT(listener->ops->accept(listener, (struct sockaddr *)&name, &length, 0, &server), ==,
               0);
    EXPECT_UINT(length, ==, offsetof(struct sockaddr_un, sun_path)); /* The client has no name. */
    EXPECT_INT(listener->ops->accept(listener, NULL, NULL, 0, &server), ==, -EAGAIN);
    length = sizeof(name);
    EXPECT_INT(client->ops->peer(client, (struct sockaddr *)&name, &length), ==, 0);
    EXPECT_UINT(length, ==, offsetof(struct sockaddr_un, sun_path) + 5);
    EXPECT_MEM(name.sun_path, "\0name", 5);
    EXPECT_INT(rig_send(server, "x", 1), ==, 1);
    torc__sim_file_release(server);
    torc__sim_file_release(client);
    client = rig_socket(rig->hosts[0], AF_UNIX, SOCK_SEQPACKET);
    EXPECT_INT(connect_to(client, "name"), ==, -EPROTOTYPE);
    torc__sim_file_release(client);
    torc__sim_file_release(listener);
    client = rig_socket(rig->hosts[1], AF_UNIX, SOCK_STREAM);
    EXPECT_INT(bind_to(client, "name"), ==, 0); /* Each host has names of its own. */
    torc__sim_file_release(client);
}

RIG_TEST(names_that_are_chosen_differ)
{
    struct sockaddr_un names[2];
    struct sim_file *files[2];

    for (int i = 0; i < 2; i++) {
        socklen_t length = sizeof(names[i]);

        files[i] = rig_socket(rig->hosts[0], AF_UNIX, SOCK_DGRAM);
        EXPECT_INT(bind_to(files[i], ""), ==, 0);
        EXPECT_INT(files[i]->ops->local(files[i], (struct sockaddr *)&names[i], &length), ==, 0);
        EXPECT_UINT(length, ==, offsetof(struct sockaddr_un, sun_path) + 6);
    }
    EXPECT(memcmp(&names[0], &names[1], offsetof(struct sockaddr_un, sun_path) + 6) != 0);
    rig_close_pair(files);
}

static void note_told(struct sim_waiter *waiter, uint32_t events)
{
    EXPECT_UINT(events & POLLOUT, ==, POLLOUT);
    torc__sim_wait_end(waiter);
}

RIG_TEST(a_listener_whose_queue_is_full_tells_those_who_wait)
{
    struct sim_file *listener;
    struct sim_file *clients[3];
    struct sim_waiter waiter;
    char byte;

    listener = rig_socket(rig->hosts[0], AF_UNIX, SOCK_STREAM);
    EXPECT_INT(bind_to(listener, "name"), ==, 0);
    EXPECT_INT(listener->ops->listen(listener, 1), ==, 0);
    for (int i = 0; i < 3; i++) {
        clients[i] = rig_socket(rig->hosts[0], AF_UNIX, SOCK_STREAM);
        EXPECT_INT(connect_to(clients[i], "name"), ==, i < 2 ? 0 : -EAGAIN);
    }
    torc__sim_wait_begin(&waiter, clients[2], POLLOUT, note_told);
    torc__sim_file_release(rig_accept(listener));
    EXPECT(waiter.file == NULL);
    EXPECT_INT(connect_to(clients[2], "name"), ==, 0);
    torc__sim_file_release(listener);
    for (int i = 0; i < 3; i++) { /* One was closed, two were never accepted. */
        EXPECT_INT(rig_recv(clients[i], &byte, 1, 0), ==, i == 0 ? 0 : -ECONNRESET);
        torc__sim_file_release(clients[i]);
    }
}

RIG_TEST(datagrams_go_to_whom_they_are_addressed_and_tell_from_whom_they_are)
{
    struct sockaddr_un name;
    char data[8];
    struct iovec vector = {data, sizeof(data)};
    struct msghdr message = {
        .msg_name = &name, .msg_namelen = sizeof(name), .msg_iov = &vector, .msg_iovlen = 1};
    struct sim_file *files[3];

    for (int i = 0; i < 3; i++)
        files[i] = rig_socket(rig->hosts[0], AF_UNIX, SOCK_DGRAM);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, -ENOTCONN);
    EXPECT_INT(send_to(files[0], "b", "x", 1), ==, -ECONNREFUSED);
    EXPECT_INT(bind_to(files[0], "a"), ==, 0);
    EXPECT_INT(bind_to(files[1], "b"), ==, 0);
    EXPECT_INT(send_to(files[0], "b", "me", 2), ==, 2);
    EXPECT_INT(send_to(files[2], "b", "who", 3), ==, 3);
    EXPECT_INT(files[1]->ops->recvmsg(files[1], &message, 0), ==, 2);
    EXPECT_UINT(message.msg_namelen, ==, offsetof(struct sockaddr_un, sun_path) + 2);
    EXPECT_INT(name.sun_path[1], ==, 'a');
    message.msg_namelen = sizeof(name);
    EXPECT_INT(files[1]->ops->recvmsg(files[1], &message, 0), ==, 3);
    EXPECT_UINT(message.msg_namelen, ==, 0);
    EXPECT_INT(connect_to(files[1], "a"), ==, 0);
    EXPECT_INT(send_to(files[2], "b", "x", 1), ==, -EPERM); /* It listens to another only. */
    for (int i = 0; i < 3; i++)
        torc__sim_file_release(files[i]);
}

RIG_TEST(a_queue_that_is_full_holds_back_those_who_are_not_its_peer)
{
    struct sim_file *files[2];
    struct sim_waiter waiter;
    unsigned count = 0;
    char byte;

    for (int i = 0; i < 2; i++)
        files[i] = rig_socket(rig->hosts[0], AF_UNIX, SOCK_DGRAM);
    EXPECT_INT(bind_to(files[1], "b"), ==, 0);
    EXPECT_INT(rig_set(files[0], SOL_SOCKET, SO_SNDBUF, 4000000), ==, 0);
    while (send_to(files[0], "b", "x", 1) == 1)
        count++;
    EXPECT_UINT(count, ==, 513);
    torc__sim_wait_begin(&waiter, files[0], POLLOUT, note_told);
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 1);
    EXPECT(waiter.file == NULL);
    EXPECT_INT(send_to(files[0], "b", "x", 1), ==, 1);
    rig_close_pair(files);
}

/* ---- Descriptors and credentials ---- */

union luggage {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(8 * sizeof(int))];
};

static ssize_t send_fds(struct sim_file *file, const char *data, const int *fds, unsigned count)
{
    union luggage luggage = {.header = {CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec vector = {(void *)(uintptr_t)data, strlen(data)};
    const struct msghdr message = {.msg_iov = &vector,
                                   .msg_iovlen = 1,
                                   .msg_control = &luggage,
                                   .msg_controllen = CMSG_SPACE(count * sizeof(int))};

    memcpy(CMSG_DATA(&luggage.header), fds, count * sizeof(int));
    return file->ops->sendmsg(file, &message, 0);
}

/* Receive up to `room` descriptors; how many came, or -1 with how many bytes it should be. */
static unsigned receive_fds(struct sim_file *file, size_t bytes, int *fds, unsigned room, int flags)
{
    union luggage luggage;
    char data[16];
    struct iovec vector = {data, sizeof(data)};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &luggage,
                             .msg_controllen = room > 0 ? CMSG_LEN(room * sizeof(int)) : 0};
    struct cmsghdr *header;

    EXPECT_INT(file->ops->recvmsg(file, &message, 0), ==, bytes);
    EXPECT_INT(message.msg_flags, ==, flags);
    header = CMSG_FIRSTHDR(&message);
    if (header == NULL)
        return 0;
    EXPECT_INT(header->cmsg_type, ==, SCM_RIGHTS);
    memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
}

/* A pipe of the first host, by descriptors. */
static void open_pipe(struct rig *rig, int ret_fds[2])
{
    struct sim_file *ends[2];

    EXPECT_INT(torc__sim_pipe_open(rig->hosts[0], 0, ends), ==, 0);
    for (int i = 0; i < 2; i++)
        ret_fds[i] = torc__sim_fd_open(rig->hosts[0], ends[i]);
}

RIG_TEST(descriptors_come_with_the_first_of_the_bytes_and_are_new_ones_of_the_same_file)
{
    struct sim_file *files[2];
    int received[8];
    int fds[2];
    const int none = SIM_FD_BASE + 999;

    open_pipe(rig, fds);
    for (int i = 0; i < 3; i++) {
        open_pair(rig, types[i], files);
        EXPECT_INT(send_fds(files[0], "x", &none, 1), ==, -EBADF);
        EXPECT_INT(send_fds(files[0], "two", fds, 2), ==, 3);
        EXPECT_UINT(receive_fds(files[1], 3, received, 8, 0), ==, 2);
        for (int j = 0; j < 2; j++) {
            EXPECT_INT(received[j], !=, fds[j]);
            EXPECT(torc__sim_fd_file(rig->hosts[0], received[j]) ==
                   torc__sim_fd_file(rig->hosts[0], fds[j]));
            EXPECT_INT(torc__sim_fd_close(rig->hosts[0], received[j]), ==, 0);
        }
        rig_close_pair(files);
    }
    EXPECT_UINT(torc__sim_fd_file(rig->hosts[0], fds[0])->references, ==, 1);
}

RIG_TEST(bytes_are_not_glued_to_those_with_which_descriptors_came)
{
    struct sim_file *files[2];
    int received[8];
    int fds[2];

    open_pipe(rig, fds);
    open_pair(rig, SOCK_STREAM, files);
    EXPECT_INT(rig_send(files[0], "gh", 2), ==, 2);
    EXPECT_INT(send_fds(files[0], "ij", fds, 1), ==, 2);
    EXPECT_INT(rig_send(files[0], "kl", 2), ==, 2);
    EXPECT_UINT(receive_fds(files[1], 4, received, 8, 0), ==, 1);
    EXPECT_UINT(receive_fds(files[1], 2, received, 8, 0), ==, 0);
    rig_close_pair(files);
}

RIG_TEST(descriptors_for_which_there_is_no_room_are_closed_and_that_is_told)
{
    struct sim_file *files[2];
    int received[8];
    int fds[2];

    open_pipe(rig, fds);
    open_pair(rig, SOCK_SEQPACKET, files);
    for (unsigned room = 0; room <= 2; room++) {
        EXPECT_INT(send_fds(files[0], "x", fds, 2), ==, 1);
        EXPECT_UINT(receive_fds(files[1], 1, received, room, room < 2 ? MSG_CTRUNC : 0), ==, room);
    }
    rig->hosts[0]->files_max = rig->hosts[0]->file_count + SIM_CONSOLES + 1;
    EXPECT_INT(send_fds(files[0], "x", fds, 2), ==, 1);
    EXPECT_UINT(receive_fds(files[1], 1, received, 2, MSG_CTRUNC), ==, 1);
    EXPECT_INT(send_fds(files[0], "x", fds, 2), ==, 1); /* Nobody will receive it. */
    rig_close_pair(files);
    EXPECT_UINT(torc__sim_fd_file(rig->hosts[0], fds[0])->references, ==, 4);
}

RIG_TEST(the_sender_is_told_where_asked_for)
{
    union luggage luggage;
    char data[8];
    struct iovec vector = {data, sizeof(data)};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &luggage,
                             .msg_controllen = sizeof(luggage)};
    struct sim_file *files[2];
    struct ucred sender;
    socklen_t length = sizeof(sender);

    open_pair(rig, SOCK_STREAM, files);
    EXPECT_INT(rig_set(files[1], SOL_SOCKET, SO_PASSCRED, 1), ==, 0);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
    EXPECT_INT(files[1]->ops->recvmsg(files[1], &message, 0), ==, 1);
    EXPECT_INT(CMSG_FIRSTHDR(&message)->cmsg_type, ==, SCM_CREDENTIALS);
    memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(sender));
    EXPECT_INT(sender.pid, ==, getpid());
    EXPECT_INT(files[1]->ops->get_option(files[1], SOL_SOCKET, SO_PEERCRED, &sender, &length), ==,
               0);
    EXPECT_UINT(sender.uid, ==, geteuid());
    EXPECT_INT(rig_set(files[1], IPPROTO_TCP, 1, 1), ==, -EOPNOTSUPP);
    rig_close_pair(files);
}

/* ---- Paths ---- */

static socklen_t make_path(struct sockaddr_un *name, const char *path)
{
    memset(name, 0, sizeof(*name));
    name->sun_family = AF_UNIX;
    memcpy(name->sun_path, path, strlen(path));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

static int bind_path(struct sim_file *file, const char *path, unsigned mode)
{
    struct sockaddr_un name;
    const socklen_t length = make_path(&name, path);

    return torc__sim_unix_bind_path(file, (struct sockaddr *)&name, length, mode);
}

static int free_path(struct sim_host *host, const char *path)
{
    struct sockaddr_un name;
    const socklen_t length = make_path(&name, path);

    return torc__sim_unix_free_path(host, (struct sockaddr *)&name, length);
}

static int connect_path(struct rig *rig, const char *path)
{
    struct sim_file *file = rig_socket(rig->hosts[0], AF_UNIX, SOCK_STREAM);
    struct sockaddr_un name;
    const socklen_t length = make_path(&name, path);
    const int result = file->ops->connect(file, (struct sockaddr *)&name, length);

    torc__sim_file_release(file);
    return result;
}

static int call(struct rig *rig, int number, const char *path, uintptr_t second, uintptr_t third,
                uintptr_t fourth)
{
    const uintptr_t arguments[6] = {(uintptr_t)AT_FDCWD, (uintptr_t)path, second, third, fourth};

    return (int)torc__sim_disk_call(rig->hosts[0], number, arguments);
}

RIG_TEST(a_path_outlives_its_socket_and_can_be_taken_over_renamed_and_removed)
{
    struct sim_file *first;
    struct sim_file *second;
    struct statx about;

    EXPECT_INT(torc__sim_disk_create(rig->hosts[0]), ==, 0);
    first = rig_socket(rig->hosts[0], AF_UNIX, SOCK_STREAM);
    second = rig_socket(rig->hosts[0], AF_UNIX, SOCK_STREAM);
    EXPECT_INT(connect_path(rig, "/tmp/socket"), ==, -ENOENT);
    EXPECT_INT(bind_path(first, "/nowhere/socket", 0), ==, -ENOENT);
    EXPECT_INT(bind_path(first, "/tmp/socket", 0602), ==, 0);
    EXPECT_INT(call(rig, SYS_statx, "/tmp/socket", 0, STATX_BASIC_STATS, (uintptr_t)&about), ==, 0);
    EXPECT_UINT(about.stx_mode, ==, S_IFSOCK | 0602);
    EXPECT_INT(first->ops->listen(first, 5), ==, 0);
    EXPECT_INT(bind_path(second, "/tmp/socket", 0), ==, -EADDRINUSE);
    EXPECT_INT(connect_path(rig, "/tmp/socket"), ==, 0);
    EXPECT_INT(connect_path(rig, "tmp/../tmp/socket"), ==, 0); /* By any name that it has. */
    EXPECT_INT(
        call(rig, SYS_renameat2, "/tmp/socket", (uintptr_t)AT_FDCWD, (uintptr_t) "/tmp/renamed", 0),
        ==, 0);
    EXPECT_INT(connect_path(rig, "/tmp/socket"), ==, -ENOENT);
    EXPECT_INT(connect_path(rig, "/tmp/renamed"), ==, 0);
    EXPECT_INT(free_path(rig->hosts[0], "/tmp/renamed"), ==, -EADDRINUSE);
    EXPECT_INT(free_path(rig->hosts[0], "/tmp"), ==, -ENOTSOCK);
    torc__sim_file_release(first);
    EXPECT_INT(connect_path(rig, "/tmp/renamed"), ==, -ECONNREFUSED);
    EXPECT_INT(bind_path(second, "/tmp/renamed", 0), ==, 0);
    torc__sim_file_release(second);
    EXPECT_INT(free_path(rig->hosts[0], "/tmp/renamed"), ==, 0);
    EXPECT_INT(free_path(rig->hosts[0], "/tmp/renamed"), ==, 0);
    EXPECT_INT(connect_path(rig, "/tmp/renamed"), ==, -ENOENT);
    torc__sim_disk_destroy(rig->hosts[0]);
}
