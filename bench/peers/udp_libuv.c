/* SPDX-License-Identifier: MIT */
/*
 * udp_libuv.c - a UDP echo as libuv's users write it: uv_udp_recv_start(), and uv_udp_try_send(),
 * which needs no request and hands the datagram to the kernel at once.
 *
 * With UV_UDP_RECVMMSG libuv takes many datagrams by one call, if the buffer it is lent has room.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

enum {
    DATAGRAM_MAX = 64 * 1024, /* libuv's measure: a buffer is for as many as have this room */
    LIFETIME_SEC = 3600,
    BATCH = 20, /* as many as libuv takes at most */
};

static void must(const char *what, int result)
{
    if (result >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, uv_strerror(result));
    exit(1);
}

static void lend_buffer(uv_handle_t *handle, size_t suggested_size, uv_buf_t *buffer)
{
    static char memory[BATCH * DATAGRAM_MAX];

    (void)handle;
    (void)suggested_size;
    *buffer = uv_buf_init(memory, sizeof(memory));
}

static void received(uv_udp_t *socket, ssize_t size, const uv_buf_t *buffer,
                     const struct sockaddr *peer, unsigned flags)
{
    (void)flags;
    must("receive", (int)size);
    if (peer == NULL)
        return; /* Nothing more is there, or the buffer is given back. */

    const uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)size);
    const int sent = uv_udp_try_send(socket, &answer, 1, peer);
    if (sent != UV_EAGAIN) /* As it may be with UDP, the datagram is lost. */
        must("uv_udp_try_send", sent);
}

static void stopped(uv_signal_t *signal, int number)
{
    (void)number;
    uv_stop(signal->loop);
}

int main(int argc, char **argv)
{
    char *end = NULL;
    const long port = argc == 2 ? strtol(argv[1], &end, 10) : -1;
    if (port < 0 || port > 65535 || *end != '\0') {
        fprintf(stderr, "usage: %s PORT   (0 = any free one)\n", argv[0]);
        return 2;
    }
    alarm(LIFETIME_SEC); /* A server that was forgotten ends by itself. */
    uv_loop_t *loop = uv_default_loop();

    struct sockaddr_in address;
    static uv_udp_t socket;
    must("uv_ip4_addr", uv_ip4_addr("127.0.0.1", (int)port, &address));
    must("uv_udp_init_ex", uv_udp_init_ex(loop, &socket, AF_INET | UV_UDP_RECVMMSG));
    must("uv_udp_bind", uv_udp_bind(&socket, (const struct sockaddr *)&address, 0));
    must("uv_udp_recv_start", uv_udp_recv_start(&socket, lend_buffer, received));

    static uv_signal_t terminate;
    must("uv_signal_init", uv_signal_init(loop, &terminate));
    must("uv_signal_start", uv_signal_start(&terminate, stopped, SIGTERM));

    int length = sizeof(address);
    must("uv_udp_getsockname", uv_udp_getsockname(&socket, (struct sockaddr *)&address, &length));
    printf("port %u\n", ntohs(address.sin_port));
    fflush(stdout);

    uv_run(loop, UV_RUN_DEFAULT);
    return 0;
}
