/* SPDX-License-Identifier: MIT */
/*
 * echo_libuv.c - the echo server as libuv's users write it: uv_read_start() and uv_write().
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
#include <uv.h>

enum {
    BUFFER_SIZE = 16 * 1024,
    LISTEN_BACKLOG = 4096
};

struct connection {
    uv_tcp_t tcp; /* its data points back here: listener and signal have none and are not freed */
    bool paused;  /* reads nothing until the kernel has taken the whole buffer */
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

static void accepted(uv_stream_t *listener, int status)
{
    must("accept", status);
    struct connection *connection = malloc(sizeof(*connection));
    if (connection == NULL)
        fail("malloc", UV_ENOMEM);
    connection->paused = false;
    must("uv_tcp_init", uv_tcp_init(listener->loop, &connection->tcp));
    connection->tcp.data = connection;
    must("uv_accept", uv_accept(listener, (uv_stream_t *)&connection->tcp));
    uv_tcp_nodelay(&connection->tcp, 1);
    must("uv_read_start", uv_read_start((uv_stream_t *)&connection->tcp, lend_buffer, received));
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

int main(int argc, char **argv)
{
    char *end = NULL;
    const long port = argc == 2 ? strtol(argv[1], &end, 10) : -1;
    if (port < 0 || port > 65535 || *end != '\0') {
        fprintf(stderr, "usage: %s PORT   (0 = any free one)\n", argv[0]);
        return 2;
    }
    raise_file_limit();
    uv_loop_t *loop = uv_default_loop();

    struct sockaddr_in address;
    must("uv_ip4_addr", uv_ip4_addr("127.0.0.1", (int)port, &address));
    static uv_tcp_t listener;
    must("uv_tcp_init", uv_tcp_init(loop, &listener));
    must("uv_tcp_bind", uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0));
    must("uv_listen", uv_listen((uv_stream_t *)&listener, LISTEN_BACKLOG, accepted));

    static uv_signal_t terminate;
    must("uv_signal_init", uv_signal_init(loop, &terminate));
    must("uv_signal_start", uv_signal_start(&terminate, stopped, SIGTERM));

    int length = sizeof(address);
    must("uv_tcp_getsockname", uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length));
    printf("port %u\n", ntohs(address.sin_port));
    fflush(stdout);

    uv_run(loop, UV_RUN_DEFAULT);
    must("uv_loop_close", uv_loop_close(loop));
    return 0;
}
