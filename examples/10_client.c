/* SPDX-License-Identifier: MIT */
/*
 * 10_client.c - connect to an address, send a line, print the answer until its end.
 *
 * `10_client 127.0.0.1:7777` asks the server there (02_echo, for one). Without an argument it asks
 * a server that is a fiber of this very program.
 */
#include <stdio.h>
#include <torc/torc.h>

static int answer_one(void *listener)
{
    char buffer[256];
    const int fd = torc_accept(*(int *)listener, NULL);
    ssize_t count = fd < 0 ? fd : torc_recv(fd, buffer, sizeof(buffer), 0);

    if (count > 0)
        count = torc_send_all(fd, buffer, (size_t)count, NULL);
    if (fd >= 0)
        (void)torc_close(fd);
    return (int)count;
}

static int ask(const struct torc_address *address)
{
    char buffer[256];
    const int fd = torc_tcp_connect(address, 1, NULL);
    ssize_t result = fd < 0 ? fd : torc_send_all(fd, "hello\n", 6, NULL);

    if (result == 0) /* We have said all; an echo server ends then, too. */
        result = torc_shutdown(fd, SHUT_WR);
    while (result >= 0 && (result = torc_recv(fd, buffer, sizeof(buffer), 0)) > 0)
        fwrite(buffer, 1, (size_t)result, stdout);
    if (fd >= 0)
        (void)torc_close(fd);
    return (int)result;
}

static int run(void *text)
{
    struct torc_address address;
    int listener = torc_address_parse(text != NULL ? text : "127.0.0.1:0", &address);

    if (listener == 0 && text == NULL)
        listener = torc_tcp_listen(&address, NULL);
    if (listener >= 0 && text == NULL &&
        (torc_local_address(listener, &address) < 0 || torc_spawn(answer_one, &listener) < 0))
        return -EIO;
    return listener < 0 ? listener : ask(&address);
}

int main(int argc, char **argv)
{
    int result = torc_run(run, argc > 1 ? argv[1] : NULL, NULL);

    if (result < 0)
        fprintf(stderr, "10_client: %s\n", torc_strerror(result));
    return result < 0;
}
