/* SPDX-License-Identifier: MIT */
/*
 * consumer.c - the smallest program that uses torc: run a main on one shard.
 */
#include <torc/torc.h>

static int answer(void *arg)
{
    *(int *)arg = 42;
    return 0;
}

int main(void)
{
    int seen = 0;
    int error = torc_run(answer, &seen, NULL);

    return error == 0 && seen == 42 ? 0 : 1;
}
