/* SPDX-License-Identifier: MIT */
/*
 * file_lock.c - wait for the lock of a file without a thread that waits for it.
 *
 * The kernel tells nobody when a lock becomes free: a thread that waits in fcntl() can be
 * interrupted by a signal alone, whose handler would be the program's business, and some waiters
 * that nobody ever lets go would use up the pool. So the fiber asks, and sleeps in between. Asking
 * goes through the pool as well, since on a network file system it takes a round trip. Letting go
 * is never refused, whatever the scope says.
 */
#include "io/await.h"
#include "io/blocking.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <torc/file.h>
#include <torc/time.h>

#define PAUSE_MIN_NS TORC_MILLISECOND
#define PAUSE_MAX_NS (64 * TORC_MILLISECOND)

/* Repeat a call until it gives something other than -EAGAIN, or the scope has a reason. */
static int ask_until_free(int number, const uintptr_t arguments[6])
{
    uint64_t pause_ns = PAUSE_MIN_NS;

    for (;;) {
        int result = (int)torc__file_call(number, arguments);

        if (result != -EAGAIN)
            return result;
        result = torc_sleep(pause_ns);
        if (result < 0)
            return result;
        if (pause_ns < PAUSE_MAX_NS)
            pause_ns *= 2;
    }
}

int torc_flock(int fd, int operation)
{
    const uintptr_t arguments[6] = {(uintptr_t)fd, (uintptr_t)(operation | LOCK_NB)};

    if ((operation & ~LOCK_NB) == LOCK_UN)
        return (int)torc__file_call_shielded(SYS_flock, arguments);
    if (operation & LOCK_NB)
        return (int)torc__file_call(SYS_flock, arguments);
    return ask_until_free(SYS_flock, arguments);
}

static int change_lock(int fd, int type, off_t start, off_t length, bool waits)
{
    const struct flock lock = {
        .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    const uintptr_t arguments[6] = {(uintptr_t)fd, F_OFD_SETLK, (uintptr_t)&lock};

    if (type == F_UNLCK)
        return (int)torc__file_call_shielded(SYS_fcntl, arguments);
    return waits ? ask_until_free(SYS_fcntl, arguments)
                 : (int)torc__file_call(SYS_fcntl, arguments);
}

int torc_try_lock(int fd, int type, off_t start, off_t length)
{
    return change_lock(fd, type, start, length, false);
}

int torc_lock(int fd, int type, off_t start, off_t length)
{
    return change_lock(fd, type, start, length, true);
}
