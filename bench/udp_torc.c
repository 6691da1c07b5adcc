/* SPDX-License-Identifier: MIT */
/*
 * udp_torc.c - a UDP echo on torc: some fibers that receive a datagram from the one socket and send
 * it back, so that as many are under way at a time.
 *
 *     udp_torc PORT [FIBERS]
 *
 * Not too many: a datagram that comes makes the kernel try all receives that wait for one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <torc/torc.h>

enum {
    FIBERS_DEFAULT = 16,
    FIBERS_MAX = 1024,
    DATAGRAM_MAX = 8 * 1024, /* longer ones are cut */
};

struct server {
    const char *port;
    int fibers;
    int fd;
    int stop_fd;
};

static int echo(void *arg)
{
    const int fd = ((struct server *)arg)->fd;
    char buffer[DATAGRAM_MAX];
    struct sockaddr_in peer;
    struct iovec vector = {.iov_base = buffer};
    struct msghdr message = {.msg_name = &peer, .msg_iov = &vector, .msg_iovlen = 1};

    for (;;) {
        vector.iov_len = sizeof(buffer);
        message.msg_namelen = sizeof(peer);
        ssize_t size = torc_recvmsg(fd, &message, 0);
        if (size >= 0) {
            vector.iov_len = (size_t)size;
            size = torc_sendmsg(fd, &message, 0);
        }
        if (size < 0)
            return (int)size;
    }
}

static int open_socket(struct server *server)
{
    struct torc_address address;
    char text[TORC_ADDRESS_TEXT_SIZE];

    snprintf(text, sizeof(text), "127.0.0.1:%s", server->port);
    int error = torc_address_parse(text, &address);
    if (error < 0)
        return error;
    server->fd = torc_socket(AF_INET, SOCK_DGRAM, 0);
    if (server->fd < 0)
        return server->fd;
    error = torc_bind(server->fd, &address);
    if (error == 0)
        error = torc_local_address(server->fd, &address);
    if (error == 0)
        printf("port %u\n", (unsigned)torc_address_port(&address));
    fflush(stdout);
    return error;
}

static int serve(void *arg)
{
    struct server *server = arg;
    struct signalfd_siginfo info;

    int error = open_socket(server);
    for (int i = 0; i < server->fibers && error == 0; i++)
        error = torc_spawn(echo, server);
    if (error < 0)
        return error;
    const ssize_t size = torc_read(server->stop_fd, &info, sizeof(info));
    return size < 0 ? (int)size : 0; /* The fibers are cancelled, since main returns. */
}

int main(int argc, char **argv)
{
    const struct torc_options options = {.busy_poll = TORC_BUSY_POLL_OFF}; /* As the others. */
    struct server server = {.port = argc >= 2 ? argv[1] : "", .fd = -1};
    sigset_t set;

    server.fibers = argc >= 3 ? atoi(argv[2]) : FIBERS_DEFAULT;
    if (server.port[0] == '\0' || server.fibers < 1 || server.fibers > FIBERS_MAX) {
        fprintf(stderr, "usage: udp_torc PORT [FIBERS]   (port 0 = any free one)\n");
        return 2;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    server.stop_fd = signalfd(-1, &set, SFD_CLOEXEC);
    const int error = server.stop_fd < 0 ? -errno : torc_run(serve, &server, &options);
    if (error < 0)
        fprintf(stderr, "udp_torc: %s\n", torc_strerror(error));
    return error < 0;
}
