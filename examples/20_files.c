/* SPDX-License-Identifier: MIT */
/*
 * 20_files.c - how many bytes a tree of files has, while a clock ticks beside.
 *
 * No call on files keeps the shard waiting. Run it with a directory; without, it is /usr/include.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <torc/torc.h>

static unsigned ticks;

static int tick(void *arg)
{
    (void)arg;
    while (torc_sleep(TORC_MILLISECOND) == 0)
        ticks++;
    return 0;
}

static int add_up(void *arg)
{
    unsigned long long bytes = 0;
    struct torc_walk_entry entry;
    struct torc_walk walk;
    struct statx status;
    int result = torc_walk_open(&walk, AT_FDCWD, arg, 0);

    if (result < 0)
        return result;
    while ((result = torc_walk_next(&walk, &entry)) > 0) {
        if (entry.visit == TORC_WALK_FAILED) {
            printf("%s: %s\n", entry.path, torc_strerror(entry.error));
        } else if (entry.visit == TORC_WALK_ENTRY &&
                   torc_statx(entry.dirfd, entry.name, AT_SYMLINK_NOFOLLOW, STATX_SIZE, &status) ==
                       0) {
            bytes += status.stx_size;
        }
    }
    torc_walk_close(&walk);
    printf("%llu bytes; %u ticks meanwhile\n", bytes, ticks);
    return result;
}

static int run(void *arg)
{
    int result = torc_spawn(tick, NULL);

    return result < 0 ? result : add_up(arg);
}

int main(int argc, char **argv)
{
    int result = torc_run(run, argc > 1 ? argv[1] : (char[]){"/usr/include"}, NULL);

    if (result < 0)
        fprintf(stderr, "20_files: %s\n", torc_strerror(result));
    return result < 0;
}
