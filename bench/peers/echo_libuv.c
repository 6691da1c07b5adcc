/* SPDX-License-Identifier: MIT */
/*
 * echo_libuv.c - the echo server as libuv's users write it: uv_read_start() and uv_write(), on a
 * TCP or a Unix socket.
 *
 * As in libuv's own example each answer has a write request of its own; unlike there the buffer
 * belongs to the connection, since allocating 64 KiB per message would only hurt libuv. uv_write()
 * hands the data to the kernel at once in all but a few cases; in those the connection stops
 * reading until its buffer is free again.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

enum {
    BUFFER_SIZE = 64 * 1024,
    LISTEN_BACKLOG = 4096,
    LIFETIME_SEC = 3600,
};

/* Either kind of stream socket. Its data is its connection; listener and signal have none. */
union stream_handle {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct connection {
    union stream_handle socket; /* first, so that its address is the connection's */
    bool paused;                /* reads nothing until the kernel has taken the whole buffer */
    char buffer[BUFFER_SIZE];
};

static void fail(const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, uv_strerror(error));
    exit(1);
}

static void must(const char *what, int result)
{
    if (result < 0)
        fail(what, result);
}

static void free_connection(uv_handle_t *handle)
{
    free(handle->data);
}

static void drop(uv_stream_t *stream)
{
    if (!uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, free_connection);
}

static void lend_buffer(uv_handle_t *handle, size_t suggested_size, uv_buf_t *buffer)
{
    (void)suggested_size;
    struct connection *connection = (struct connection *)handle;
    *buffer = uv_buf_init(connection->buffer, BUFFER_SIZE);
}

static void received(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer);

static void written(uv_write_t *request, int status)
{
    uv_stream_t *stream = request->handle;
    struct connection *connection = stream->data;
    free(request);
    if (status < 0) {
        drop(stream);
        return;
    }
    if (connection->paused && uv_stream_get_write_queue_size(stream) == 0 &&
        !uv_is_closing((uv_handle_t *)stream)) {
        connection->paused = false;
        must("uv_read_start", uv_read_start(stream, lend_buffer, received));
    }
}

static void received(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    if (size < 0) {
        drop(stream);
        return;
    }
    if (size == 0)
        return;

    uv_write_t *request = malloc(sizeof(*request));
    if (request == NULL)
        fail("malloc", UV_ENOMEM);
    const uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)size);
    must("uv_write", uv_write(request, stream, &answer, 1, written));
    if (uv_stream_get_write_queue_size(stream) > 0) {
        ((struct connection *)stream->data)->paused = true;
        uv_read_stop(stream);
    }
}

static void init_socket(uv_loop_t *loop, union stream_handle *socket, bool is_pipe)
{
    if (is_pipe)
        must("uv_pipe_init", uv_pipe_init(loop, &socket->pipe, 0));
    else
        must("uv_tcp_init", uv_tcp_init(loop, &socket->tcp));
}

static void accepted(uv_stream_t *listener, int status)
{
    must("accept", status);
    struct connection *connection = malloc(sizeof(*connection));
    if (connection == NULL)
        fail("malloc", UV_ENOMEM);
    connection->paused = false;
    init_socket(listener->loop, &connection->socket, listener->type == UV_NAMED_PIPE);
    connection->socket.handle.data = connection;
    must("uv_accept", uv_accept(listener, &connection->socket.stream));
    if (listener->type == UV_TCP)
        uv_tcp_nodelay(&connection->socket.tcp, 1);
    must("uv_read_start", uv_read_start(&connection->socket.stream, lend_buffer, received));
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, handle->data != NULL ? free_connection : NULL);
}

static void stopped(uv_signal_t *signal, int number)
{
    (void)number;
    uv_walk(signal->loop, close_handle, NULL);
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void listen_unix(union stream_handle *listener, const char *path)
{
    must("uv_pipe_bind", uv_pipe_bind(&listener->pipe, path));
    must("uv_listen", uv_listen(&listener->stream, LISTEN_BACKLOG, accepted));
    printf("path %s\n", path);
}

static void listen_tcp(union stream_handle *listener, int port)
{
    struct sockaddr_in address;
    int length = sizeof(address);

    must("uv_ip4_addr", uv_ip4_addr("127.0.0.1", port, &address));
    must("uv_tcp_bind", uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&address, 0));
    must("uv_listen", uv_listen(&listener->stream, LISTEN_BACKLOG, accepted));
    must("uv_tcp_getsockname",
         uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&address, &length));
    printf("port %u\n", ntohs(address.sin_port));
}

int main(int argc, char **argv)
{
    static union stream_handle listener;
    char *end = NULL;
    const bool is_path = argc == 2 && argv[1][0] == '/';
    const long port = argc == 2 && !is_path ? strtol(argv[1], &end, 10) : -1;
    if (!is_path && (port < 0 || port > 65535 || *end != '\0')) {
        fprintf(stderr, "usage: %s PORT | /PATH   (port 0 = any free one)\n", argv[0]);
        return 2;
    }
    raise_file_limit();
    alarm(LIFETIME_SEC); /* A server that was forgotten ends by itself. */
    uv_loop_t *loop = uv_default_loop();
    init_socket(loop, &listener, is_path);
    if (is_path)
        listen_unix(&listener, argv[1]);
    else
        listen_tcp(&listener, (int)port);
    fflush(stdout);

    static uv_signal_t terminate;
    must("uv_signal_init", uv_signal_init(loop, &terminate));
    must("uv_signal_start", uv_signal_start(&terminate, stopped, SIGTERM));

    uv_run(loop, UV_RUN_DEFAULT);
    must("uv_loop_close", uv_loop_close(loop));
    return 0;
}
