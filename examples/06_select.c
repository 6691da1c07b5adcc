/* SPDX-License-Identifier: MIT */
/*
 * 06_select.c - read from two pipes, whichever has something first.
 *
 * Operations are described by liburing's inline functions. The loser is cancelled and waited for:
 * its buffer is free again, and had it read something in spite of that, its result would say so.
 * Run it without arguments: it ends by itself.
 */
#include <liburing.h>
#include <stdio.h>
#include <torc/torc.h>
#include <unistd.h>

static int read_first(int a, int b)
{
    char buffers[2][16];
    struct torc_op ops[2];
    struct torc_op *const list[] = {&ops[0], &ops[1]};
    int first;

    io_uring_prep_read(torc_op_prepare(&ops[0]), a, buffers[0], sizeof(buffers[0]), 0);
    io_uring_prep_read(torc_op_prepare(&ops[1]), b, buffers[1], sizeof(buffers[1]), 0);
    first = torc_op_select(list, 2);
    if (first < 0)
        return first;
    for (int i = 0; i < 2; i++) {
        int count = torc_op_wait(&ops[i]); /* Has completed, so this only tells the result. */

        printf("pipe %d%s: ", i, i == first ? ", the first" : "");
        printf("%.*s\n", count < 0 ? 64 : count, count < 0 ? torc_strerror(count) : buffers[i]);
    }
    return first;
}

static int write_later(void *arg)
{
    int result = torc_sleep(20 * TORC_MILLISECOND);

    return result < 0 ? result : torc_write_all(*(int *)arg, "hello", 5, NULL);
}

static int run(void *arg)
{
    int first = -EIO, a[2], b[2];

    (void)arg;
    if (pipe2(a, O_CLOEXEC) < 0 || pipe2(b, O_CLOEXEC) < 0)
        return -errno;
    if (torc_spawn(write_later, &b[1]) == 0)
        first = read_first(a[0], b[0]);
    for (int i = 0; i < 2; i++)
        first = torc_close(a[i]) < 0 || torc_close(b[i]) < 0 ? -EIO : first;
    return first == 1 ? 0 : -EIO;
}

int main(void)
{
    return torc_run(run, NULL, NULL) < 0;
}
