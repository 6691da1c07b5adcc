/* SPDX-License-Identifier: MIT */
/*
 * 05_shield.c - say goodbye to the peer when cancelled.
 *
 * In a cancelled scope every wait ends at once. What has to be done all the same stands in a
 * shield, which reasons from outside do not reach. Run it without arguments: it ends by itself.
 */
#include <stdio.h>
#include <torc/torc.h>

static void say_bye(int fd)
{
    struct torc_scope scope;

    torc_scope_open(&scope, TORC_SHIELD);
    torc_scope_set_timeout(&scope, TORC_SECOND); /* It has a deadline of its own. */
    if (torc_send_all(fd, "bye", 3, NULL) < 0)
        fprintf(stderr, "the peer heard no goodbye\n");
    (void)torc_scope_close(&scope);
}

static int serve(void *arg)
{
    const int fd = *(int *)arg;
    char buffer[16];
    ssize_t count;

    while ((count = torc_recv(fd, buffer, sizeof(buffer), 0)) > 0)
        continue;
    if (count == -ECANCELED)
        say_bye(fd);
    (void)torc_close(fd); /* Closing is never refused. */
    return (int)count;
}

static int run(void *arg)
{
    struct torc_scope scope;
    int pair[2];
    char buffer[16];
    ssize_t count;

    (void)arg;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    torc_scope_open(&scope, 0);
    if (torc_scope_spawn(&scope, serve, &pair[0]) == 0)
        (void)torc_yield(); /* Now it waits in torc_recv(). */
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    count = torc_recv(pair[1], buffer, sizeof(buffer), 0);
    printf("the last words were \"%.*s\"\n", (int)(count > 0 ? count : 0), buffer);
    return torc_close(pair[1]) < 0 || count != 3 ? -EIO : 0;
}

int main(void)
{
    return torc_run(run, NULL, NULL) < 0;
}
