/* SPDX-License-Identifier: MIT */
/*
 * listen.h - what the raw echo servers have in common: a listening socket, SIGTERM, limits.
 *
 * Everything here runs once at start, so none of it can favour one server over the other.
 */
#ifndef TORC_BENCH_PEERS_LISTEN_H
#define TORC_BENCH_PEERS_LISTEN_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    LISTEN_BACKLOG = 4096,
    LIFETIME_SEC = 3600, /* a server that was forgotten ends by itself */
};

static inline _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The first argument: where to listen. */
static inline const char *parse_address(int argc, char **argv)
{
    char *end = NULL;
    const long port = argc >= 2 ? strtol(argv[1], &end, 10) : -1;
    const bool is_port = end != NULL && end != argv[1] && *end == '\0';
    if (argc < 2 || (argv[1][0] != '/' && (!is_port || port < 0 || port > 65535))) {
        fprintf(stderr, "usage: %s PORT | /PATH   (port 0 = any free one)\n", argv[0]);
        exit(2);
    }
    return argv[1];
}

static inline void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static inline void bind_and_listen(int fd, const void *address, socklen_t length)
{
    if (bind(fd, address, length) != 0)
        die("bind");
    if (listen(fd, LISTEN_BACKLOG) != 0)
        die("listen");
}

static inline void say_port(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        die("getsockname");
    printf("port %u\n", ntohs(address.sin_port));
}

/* Accepted sockets inherit TCP_NODELAY. */
static inline int listen_tcp(int port, int socket_flags)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | socket_flags, 0);
    if (fd < 0)
        die("socket");

    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    bind_and_listen(fd, &address, sizeof(address));
    say_port(fd);
    return fd;
}

/* The path is the caller's to remove. */
static inline int listen_unix(const char *path, int socket_flags)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | socket_flags, 0);
    if (fd < 0)
        die("socket");

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >=
        (int)sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        die(path);
    }
    bind_and_listen(fd, &address, sizeof(address));
    printf("path %s\n", path);
    return fd;
}

/* A listening socket on 127.0.0.1:`address`, or at a path. Says where on standard output. */
static inline int listen_on(const char *address, int socket_flags)
{
    const int fd = address[0] == '/' ? listen_unix(address, socket_flags)
                                     : listen_tcp(atoi(address), socket_flags);
    fflush(stdout);
    return fd;
}

/*
 * SIGTERM, SIGINT and the end of a server's time become readable bytes: no handler, so no race
 * between check and wait.
 */
static inline int open_stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);

    alarm(LIFETIME_SEC);
    const int fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        die("signalfd");
    return fd;
}

#endif
