/* SPDX-License-Identifier: MIT */
/*
 * 25_pass.c - hand a descriptor over to somebody at the other end of a Unix socket.
 *
 * Here that is another fiber; it might as well be another process. It is given the end of a pipe
 * that is to be written, and credentials tell who it is.
 */
#include <stdio.h>
#include <torc/torc.h>

static int take(void *arg)
{
    const int *channel = arg;
    struct torc_unix_credentials peer;
    int fd;
    char kind;
    struct torc_unix_parcel parcel = {.fds = &fd, .fd_capacity = 1};
    ssize_t result = torc_unix_recv(*channel, &kind, 1, &parcel);

    if (result == 1 && parcel.fd_count == 1) {
        result = torc_write_all(fd, "thank you\n", 10, NULL);
        (void)torc_close(fd);
    }
    if (torc_unix_peer(*channel, &peer) == 0)
        printf("taken from process %d of user %u\n", (int)peer.pid, (unsigned)peer.uid);
    return (int)result;
}

static int run(void *arg)
{
    struct torc_unix_parcel parcel = {.fd_count = 1};
    char answer[16];
    int channel[2];
    int pipe[2];
    ssize_t result;

    (void)arg;
    if (torc_unix_pair(SOCK_STREAM, channel) < 0 || torc_pipe(pipe, 0) < 0 ||
        torc_spawn(take, &channel[1]) < 0)
        return -EIO;
    parcel.fds = &pipe[1];
    result = torc_unix_send(channel[0], "p", 1, &parcel);
    (void)torc_close(pipe[1]); /* Theirs is another one. */
    if (result == 1)
        result = torc_read_all(pipe[0], answer, 10, NULL);
    if (result == 0)
        printf("the answer is: %.10s", answer);
    return (int)result;
}

int main(void)
{
    return torc_run(run, NULL, NULL) < 0;
}
