/* SPDX-License-Identifier: MIT */
/*
 * 01_hello.c - the smallest program, and two fibers that take turns.
 *
 * torc_run() makes this thread a shard and runs say_hello() as its first fiber. Run it without
 * arguments: it ends by itself.
 */
#include <stdio.h>
#include <torc/torc.h>

static int count(void *name)
{
    for (int i = 1; i <= 3; i++) {
        printf("%s: %d\n", (const char *)name, i);
        if (torc_sleep(10 * TORC_MILLISECOND) < 0)
            break; /* The scope was cancelled, or its deadline has passed. */
    }
    return 0;
}

static int say_hello(void *name)
{
    static char names[][8] = {"one", "other"};
    struct torc_scope scope;
    int result;

    printf("hello, %s, from fiber %u of shard %u\n", (const char *)name, torc_fiber_id(),
           torc_shard_index());
    torc_scope_open(&scope, 0);
    result = torc_scope_spawn(&scope, count, names[0]);
    if (result == 0)
        result = torc_scope_spawn(&scope, count, names[1]);
    if (result < 0)
        torc_scope_cancel(&scope);
    return torc_scope_close(&scope); /* Waits for both. */
}

int main(void)
{
    char name[] = "world";
    int result = torc_run(say_hello, name, NULL);

    if (result < 0)
        fprintf(stderr, "01_hello: %s\n", torc_strerror(result));
    return result < 0;
}
