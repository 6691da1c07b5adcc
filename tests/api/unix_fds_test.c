/* SPDX-License-Identifier: MIT */
/*
 * unix_fds_test.c - descriptors and credentials that come with a message.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <torc/torc.h>
#include <unistd.h>

static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};

static bool same_file(int a, int b)
{
    struct stat status[2];

    EXPECT_INT(fstat(a, &status[0]), ==, 0);
    EXPECT_INT(fstat(b, &status[1]), ==, 0);
    return status[0].st_dev == status[1].st_dev && status[0].st_ino == status[1].st_ino;
}

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        EXPECT_INT(close(fds[i]), ==, 0);
}

/* `count` descriptors of pipes, all different. */
static void open_many(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i += 2) {
        int pair[2];

        harness_pipe(pair);
        fds[i] = pair[0];
        if (i + 1 < count)
            fds[i + 1] = pair[1];
        else
            close(pair[1]);
    }
}

FIBER_TEST(descriptors_arrive_with_the_bytes_close_on_exec)
{
    for (int i = 0; i < 3; i++) {
        int received[4] = {-1, -1, -1, -1};
        struct torc_unix_parcel in = {.fds = received, .fd_capacity = 4};
        char data[8];
        int pipe[2];
        struct torc_unix_parcel out = {.fds = pipe, .fd_count = 2};
        int fds[2];

        harness_pipe(pipe);
        EXPECT_INT(torc_unix_pair(types[i], fds), ==, 0);
        EXPECT_INT(torc_unix_send(fds[0], "two", 3, &out), ==, 3);
        EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, 3);
        EXPECT_MEM(data, "two", 3);
        EXPECT_UINT(in.fd_count, ==, 2);
        EXPECT(!in.fds_lost);
        EXPECT(!in.truncated);
        EXPECT(!in.has_credentials);
        for (int j = 0; j < 2; j++) {
            EXPECT_INT(received[j], !=, pipe[j]);
            EXPECT(same_file(received[j], pipe[j]));
            EXPECT(harness_is_cloexec(received[j]));
        }
        harness_put(received[1], "x", 1);
        harness_get(pipe[0], data, 1);
        close_all(received, 2);
        harness_close_pair(pipe);
        harness_close_pair(fds);
    }
}

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76 /* Linux 6.5 */
#endif

FIBER_TEST(a_descriptor_of_the_senders_process_that_nobody_asks_for_is_closed)
{
    const unsigned before = harness_open_fds();
    struct torc_unix_parcel parcel = {0};
    struct torc_datagram datagram = {0};
    const int on = 1;
    char data[8];
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    if (torc_setsockopt(fds[1], SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on)) == -ENOPROTOOPT) {
        harness_close_pair(fds);
        SKIP("no SO_PASSPIDFD");
    }
    datagram.data = data;
    datagram.size = sizeof(data);
    for (int i = 0; i < 3; i++)
        harness_put(fds[0], "x", 1);
    EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &parcel), ==, 1);
    EXPECT_INT(torc_datagram_recv(fds[1], &datagram, 0), ==, 1);
    EXPECT_INT(torc_datagram_recv_batch(fds[1], &datagram, 1), ==, 1);
    EXPECT_UINT(harness_open_fds(), ==, before + 2);
    harness_close_pair(fds);
}

FIBER_TEST(a_message_carries_up_to_253_descriptors)
{
    static int sent[TORC_UNIX_FDS_MAX + 1];
    static int received[TORC_UNIX_FDS_MAX];
    struct torc_unix_parcel out = {.fds = sent, .fd_count = TORC_UNIX_FDS_MAX};
    struct torc_unix_parcel in = {.fds = received, .fd_capacity = TORC_UNIX_FDS_MAX};
    char data[8];
    int fds[2];

    harness_raise_fd_limit();
    open_many(sent, TORC_UNIX_FDS_MAX);
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    EXPECT_INT(torc_unix_send(fds[0], "many", 4, &out), ==, 4);
    EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, 4);
    EXPECT_UINT(in.fd_count, ==, TORC_UNIX_FDS_MAX);
    EXPECT(!in.fds_lost);
    for (unsigned i = 0; i < TORC_UNIX_FDS_MAX; i++)
        EXPECT(same_file(sent[i], received[i]));
    close_all(received, in.fd_count);
    out.fd_count = TORC_UNIX_FDS_MAX + 1;
    EXPECT_INT(torc_unix_send(fds[0], "more", 4, &out), ==, -EINVAL);
    in.fd_capacity = TORC_UNIX_FDS_MAX + 1;
    EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, -EINVAL);
    close_all(sent, TORC_UNIX_FDS_MAX);
    harness_close_pair(fds);
}

/* Every number of descriptors, sent to rooms that are too small, exact and too large. */
FIBER_TEST(descriptors_that_do_not_fit_are_closed_and_reported)
{
    int sent[9];
    int received[9];
    int fds[2];

    open_many(sent, 9);
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    for (unsigned count = 0; count <= 9; count++) {
        for (unsigned room = 0; room <= 9; room++) {
            const unsigned before = harness_open_fds();
            struct torc_unix_parcel out = {.fds = sent, .fd_count = count};
            struct torc_unix_parcel in = {.fds = received, .fd_capacity = room};
            char data[8];

            EXPECT_INT(torc_unix_send(fds[0], "some", 4, &out), ==, 4);
            EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, 4);
            EXPECT_UINT(in.fd_count, ==, count < room ? count : room);
            EXPECT(in.fds_lost == (count > room));
            EXPECT_UINT(harness_open_fds(), ==, before + in.fd_count);
            close_all(received, in.fd_count);
        }
    }
    close_all(sent, 9);
    harness_close_pair(fds);
}

FIBER_TEST(an_ordinary_receive_closes_descriptors_that_come_along)
{
    int sent[3];
    struct torc_unix_parcel out = {.fds = sent, .fd_count = 3};
    unsigned before;
    char data[8];
    int fds[2];

    open_many(sent, 3);
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    before = harness_open_fds();
    EXPECT_INT(torc_unix_send(fds[0], "some", 4, &out), ==, 4);
    EXPECT_INT(torc_recv(fds[1], data, sizeof(data), 0), ==, 4);
    EXPECT_UINT(harness_open_fds(), ==, before);
    close_all(sent, 3);
    harness_close_pair(fds);
}

/* Three messages, each with descriptors. */
static void send_with_fds(int fd)
{
    int sent[3];
    struct torc_unix_parcel out = {.fds = sent, .fd_count = 3};

    open_many(sent, 3);
    for (int i = 0; i < 3; i++)
        EXPECT_INT(torc_unix_send(fd, "some", 4, &out), ==, 4);
    close_all(sent, 3);
}

FIBER_TEST(receiving_datagrams_closes_descriptors_that_come_along)
{
    char data[2][8];
    struct torc_datagram datagrams[2] = {{.data = data[0], .size = 8},
                                         {.data = data[1], .size = 8}};
    unsigned before;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    before = harness_open_fds();
    send_with_fds(fds[0]);
    EXPECT_INT(torc_datagram_recv(fds[1], &datagrams[0], 0), ==, 4);
    EXPECT_UINT(harness_open_fds(), ==, before);
    EXPECT_INT(torc_datagram_recv_batch(fds[1], datagrams, 2), ==, 2);
    EXPECT_UINT(harness_open_fds(), ==, before);
    harness_close_pair(fds);
}

FIBER_TEST(a_feed_closes_descriptors_that_come_along_with_what_is_taken_and_what_is_not)
{
    struct torc_datagram_feed feed;
    struct torc_datagram datagram;
    unsigned before;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    before = harness_open_fds();
    EXPECT_INT(torc_datagram_feed_open(&feed, fds[1], NULL), ==, 0);
    send_with_fds(fds[0]);
    EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, 1);
    EXPECT_UINT(harness_open_fds(), ==, before);
    torc_datagram_feed_close(&feed);
    EXPECT_UINT(harness_open_fds(), ==, before);
    harness_close_pair(fds);
}

FIBER_TEST(descriptors_for_which_there_is_no_number_are_reported_as_lost)
{
    int sent[3];
    int received[3];
    int filler[64];
    struct torc_unix_parcel out = {.fds = sent, .fd_count = 3};
    struct torc_unix_parcel in = {.fds = received, .fd_capacity = 3};
    unsigned count = 0;
    char data[8];
    int fds[2];

    if (harness_is_valgrind())
        return; /* It only pretends that there is a limit. */
    open_many(sent, 3);
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    EXPECT_INT(torc_unix_send(fds[0], "some", 4, &out), ==, 4);
    harness_leave_fds(32);
    while (count < 64 && (filler[count] = dup(STDERR_FILENO)) >= 0)
        count++;
    EXPECT_UINT(count, >, 1);
    close(filler[--count]); /* One is free. */
    EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, 4);
    EXPECT_UINT(in.fd_count, ==, 1);
    EXPECT(in.fds_lost);
    close_all(received, in.fd_count);
    close_all(filler, count);
    harness_raise_fd_limit();
    close_all(sent, 3);
    harness_close_pair(fds);
}

FIBER_TEST(descriptors_stay_with_the_first_of_the_bytes)
{
    int received[4];
    int pipe[2];
    struct torc_unix_parcel out = {.fds = pipe, .fd_count = 1};
    struct torc_unix_parcel in = {.fds = received, .fd_capacity = 4};
    char data[8];
    int fds[2];

    harness_pipe(pipe);
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    EXPECT_INT(torc_send(fds[0], "abc", 3, 0), ==, 3);
    EXPECT_INT(torc_unix_send(fds[0], "def", 3, &out), ==, 3);
    EXPECT_INT(torc_send(fds[0], "gh", 2, 0), ==, 2);
    EXPECT_INT(torc_unix_recv(fds[1], data, 3, &in), ==, 3);
    EXPECT_UINT(in.fd_count, ==, 0);
    EXPECT_INT(torc_unix_recv(fds[1], data, 1, &in), ==, 1);
    EXPECT_INT(data[0], ==, 'd');
    EXPECT_UINT(in.fd_count, ==, 1);
    EXPECT_INT(close(received[0]), ==, 0);
    EXPECT_INT(torc_unix_recv(fds[1], data, 2, &in), ==, 2);
    EXPECT_UINT(in.fd_count, ==, 0);
    EXPECT_INT(torc_unix_send(fds[0], "ij", 2, &out), ==, 2);
    EXPECT_INT(torc_send(fds[0], "kl", 2, 0), ==, 2);
    EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, 4); /* Not what follows. */
    EXPECT_MEM(data, "ghij", 4);
    EXPECT_UINT(in.fd_count, ==, 1);
    EXPECT_INT(close(received[0]), ==, 0);
    EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, 2);
    EXPECT_UINT(in.fd_count, ==, 0);
    close(fds[0]);
    EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, 0);
    EXPECT_UINT(in.fd_count, ==, 0);
    EXPECT_INT(torc_unix_send(fds[1], "x", 1, &out), ==, -EPIPE);
    close(fds[1]);
    harness_close_pair(pipe);
}

FIBER_TEST(what_cannot_be_sent_gives_errors_and_is_not_sent)
{
    int bad = 9999;
    struct torc_unix_parcel out = {.fds = &bad, .fd_count = 1};
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    EXPECT_INT(torc_unix_send(fds[0], "x", 1, &out), ==, -EBADF);
    bad = fds[0];
    EXPECT_INT(torc_unix_send(fds[0], "", 0, &out), ==, -EINVAL);
    EXPECT(!harness_is_readable(fds[1]));
    EXPECT_INT(torc_unix_send(-1, "x", 1, &out), ==, -EBADF);
    out.fd_count = 0;
    EXPECT_INT(torc_unix_send(fds[0], "x", 1, &out), ==, 1); /* Without any it is a send. */
    harness_close_pair(fds);
}

struct receiver {
    int fd;
    struct torc_unix_parcel parcel;
    ssize_t result;
};

static int receive_one(void *arg)
{
    struct receiver *receiver = arg;
    char data[8];

    receiver->result = torc_unix_recv(receiver->fd, data, sizeof(data), &receiver->parcel);
    return 0;
}

FIBER_TEST(receiving_waits_and_ends_when_cancelled_without_losing_descriptors)
{
    int received[2];
    struct receiver receiver = {.parcel = {.fds = received, .fd_capacity = 2}};
    int pipe[2];
    struct torc_unix_parcel out = {.fds = pipe, .fd_count = 2};
    struct torc_scope scope;
    int fds[2];

    harness_pipe(pipe);
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    receiver.fd = fds[1];
    for (int i = 0; i < 100; i++) { /* Whichever of the two comes first. */
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, receive_one, &receiver);
        if (i % 2 == 0)
            harness_pass_kernel();
        EXPECT_INT(torc_unix_send(fds[0], "x", 1, &out), ==, 1);
        torc_scope_cancel(&scope);
        (void)torc_scope_close(&scope);
        if (receiver.result < 0) {
            EXPECT_INT(receiver.result, ==, -ECANCELED);
            receive_one(&receiver);
        }
        EXPECT_INT(receiver.result, ==, 1);
        EXPECT_UINT(receiver.parcel.fd_count, ==, 2);
        close_all(received, 2);
    }
    harness_close_pair(pipe);
    harness_close_pair(fds);
}

FIBER_TEST(the_sender_of_each_message_is_told_where_asked_for)
{
    int received[1];
    struct torc_unix_parcel in = {.fds = received, .fd_capacity = 1};
    int pipe[2];
    struct torc_unix_parcel out = {.fds = pipe, .fd_count = 2};
    char data[8];
    int fds[2];

    harness_pipe(pipe);
    EXPECT_INT(torc_unix_pair(SOCK_SEQPACKET, fds), ==, 0);
    EXPECT_INT(torc_unix_set_credentials(fds[1], true), ==, 0);
    EXPECT_INT(torc_unix_send(fds[0], "x", 1, &out), ==, 1);
    EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, 1);
    EXPECT(in.has_credentials);
    EXPECT_INT(in.sender.pid, ==, getpid());
    EXPECT_UINT(in.sender.uid, ==, getuid());
    EXPECT_UINT(in.sender.gid, ==, getgid());
    EXPECT_UINT(in.fd_count, ==, 1); /* Exactly: the credentials have a room of their own. */
    EXPECT(in.fds_lost);
    close_all(received, 1);
    EXPECT_INT(torc_unix_set_credentials(fds[1], false), ==, 0);
    EXPECT_INT(torc_unix_send(fds[0], "x", 1, &out), ==, 1);
    EXPECT_INT(torc_unix_recv(fds[1], data, sizeof(data), &in), ==, 1);
    EXPECT(!in.has_credentials);
    close_all(received, in.fd_count);
    harness_close_pair(pipe);
    harness_close_pair(fds);
}
