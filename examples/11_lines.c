/* SPDX-License-Identifier: MIT */
/*
 * 11_lines.c - a server that answers each line with its length, and a client that asks it.
 */
#include <errno.h>
#include <stdio.h>
#include <torc/torc.h>

/* A line of more than 1,000 bytes ends the connection of whoever sent it, and no other. */
static int serve_one(void *listener)
{
    const int fd = torc_listener_accept(listener, NULL);
    struct torc_stream stream;
    const char *line;
    size_t length;
    ssize_t count;

    torc_stream_open(&stream, fd);
    while ((count = torc_stream_peek_line(&stream, 1000, &line, &length)) > 0) {
        char answer[64];
        const int size = snprintf(answer, sizeof(answer), "%zu bytes\n", length);

        torc_stream_consume(&stream, (size_t)count);
        if (torc_stream_write(&stream, answer, (size_t)size, NULL) < 0)
            break;
    }
    return torc_stream_close(&stream);
}

static int run(void *arg)
{
    struct torc_listener *listener = arg;
    struct torc_address address;
    struct torc_stream stream;
    const void *data;
    ssize_t count = torc_address_parse("127.0.0.1:0", &address);

    if (count < 0 || torc_listener_open(listener, &address, NULL) < 0 ||
        torc_local_address(torc_listener_fd(listener), &address) < 0 ||
        torc_spawn(serve_one, listener) < 0 || (count = torc_tcp_connect(&address, 1, NULL)) < 0)
        return -EIO;
    torc_stream_open(&stream, (int)count);
    if ((count = torc_stream_write(&stream, "hello\nhow long am I?\n\n", 22, NULL)) == 0)
        count = torc_stream_shutdown(&stream);
    while (count >= 0 && (count = torc_stream_peek(&stream, &data)) > 0) {
        fwrite(data, 1, (size_t)count, stdout);
        torc_stream_consume(&stream, (size_t)count);
    }
    (void)torc_stream_close(&stream);
    (void)torc_listener_close(listener);
    return (int)count;
}

int main(void)
{
    struct torc_listener listener;

    return torc_run(run, &listener, NULL) < 0;
}
