/* SPDX-License-Identifier: MIT */
/*
 * 04_deadline.c - a deadline around any wait, and no byte lost by it.
 *
 * There are no functions with timeouts: a scope has a deadline, and all waits in it end with it.
 * Run it without arguments: it ends by itself.
 */
#include <stdio.h>
#include <torc/torc.h>

static ssize_t recv_within(int fd, void *buffer, size_t length, uint64_t timeout_ns)
{
    struct torc_scope scope;
    ssize_t count;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, timeout_ns);
    count = torc_recv(fd, buffer, length, 0);
    (void)torc_scope_close(&scope); /* If the data came just in time, `count` says so. */
    return count;
}

static int run(void *arg)
{
    int *pair = arg;
    char buffer[16];
    uint64_t begun_ns = torc_now();
    ssize_t count = recv_within(pair[0], buffer, sizeof(buffer), 50 * TORC_MILLISECOND);

    printf("nobody has sent: %s after %llu ms\n", torc_strerror((int)count),
           (unsigned long long)((torc_now() - begun_ns) / TORC_MILLISECOND));
    if (count != -ETIME)
        return -EIO;
    count = torc_send(pair[1], "in time", 7, 0);
    if (count == 7)
        count = recv_within(pair[0], buffer, sizeof(buffer), TORC_SECOND);
    if (count < 0)
        return (int)count;
    printf("now there is data: \"%.*s\"\n", (int)count, buffer);
    (void)torc_close(pair[0]);
    return torc_close(pair[1]);
}

int main(void)
{
    int pair[2];
    int result = -1;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        perror("04_deadline: socketpair");
    else
        result = torc_run(run, pair, NULL);
    return result < 0;
}
