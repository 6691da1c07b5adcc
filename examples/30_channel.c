/* SPDX-License-Identifier: MIT */
/*
 * 30_channel.c - numbers pass through a channel to three fibers, and their squares through another.
 *
 * The first channel holds four numbers: a producer that is faster than its consumers waits. Closing
 * ends a stream; who receives has all that was sent before. Run it without arguments.
 */
#include <stdio.h>
#include <torc/torc.h>

static struct torc_channel numbers;
static struct torc_channel squares;

static int produce(void *arg)
{
    int result = 0;

    (void)arg;
    for (int i = 1; i <= 20 && result == 0; i++)
        result = torc_channel_send(&numbers, &i);
    torc_channel_close(&numbers);
    return result;
}

static int square(void *arg)
{
    struct torc_wait_group *working = arg;
    int number;

    while (torc_channel_receive(&numbers, &number) == 0) {
        number *= number;
        (void)torc_channel_send(&squares, &number);
    }
    torc_wait_group_done(working);
    return 0;
}

static int run(void *arg)
{
    int slots[4];
    struct torc_wait_group working = {0};
    int sum = 0;
    int number;

    (void)arg;
    torc_channel_init(&numbers, slots, sizeof(int), 4);
    torc_channel_init(&squares, NULL, sizeof(int), 0); /* Sender and receiver meet. */
    torc_wait_group_add(&working, 3);
    for (int i = 0; i < 4; i++)
        (void)torc_spawn(i == 0 ? produce : square, &working);
    for (int i = 0; i < 20 && torc_channel_receive(&squares, &number) == 0; i++)
        sum += number;
    printf("the sum of the squares of 1 to 20 is %d\n", sum);
    return torc_wait_group_wait(&working);
}

int main(void)
{
    return torc_run(run, NULL, NULL) < 0;
}
