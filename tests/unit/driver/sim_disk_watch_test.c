/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_watch_test.c - inotify of simulated disks tells what the kernel's does.
 */
#include "unit/driver/sim_disk_rig.h"
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>

#define WATCHES 4
#define STEPS   60

static struct rig rig;
static char directory[256];

static int kernel_fd;
static int model_fd;
static int kernel_numbers[WATCHES];
static int model_numbers[WATCHES];

/* ---- One side alone ---- */

static void open_model(uint64_t seed)
{
    const struct torc_sim_chaos chaos = rig_chaos();

    rig_open(&rig, seed, &chaos);
    EXPECT_INT(RIG_CALL(&rig, SYS_chdir, (uintptr_t) "/tmp"), ==, 0);
    model_fd = (int)RIG_CALL(&rig, SYS_inotify_init1, IN_NONBLOCK);
    EXPECT_INT(model_fd, >=, 0);
}

static int watch(const char *path, uint32_t mask)
{
    return (int)RIG_CALL(&rig, SYS_inotify_add_watch, (uintptr_t)model_fd, (uintptr_t)path, mask);
}

TEST(a_file_of_events_is_readable_when_there_are_some)
{
    char buffer[512];
    struct sim_file *file;

    open_model(1);
    file = torc__sim_fd_file(rig.host, model_fd);
    EXPECT_INT(watch(".", IN_CREATE), ==, 1);
    EXPECT_UINT(torc__sim_file_poll(file) & POLLIN, ==, 0);
    EXPECT_INT(rig_read(&rig, model_fd, buffer, sizeof(buffer), -1), ==, -EAGAIN);
    EXPECT_INT(rig_mkdir(&rig, "dir"), ==, 0);
    EXPECT_UINT(torc__sim_file_poll(file) & POLLIN, ==, POLLIN);
    EXPECT_INT(rig_read(&rig, model_fd, buffer, 16, -1), ==, -EINVAL); /* No room for a name. */
    EXPECT_INT(rig_read(&rig, model_fd, buffer, sizeof(buffer), -1), ==, 32);
    EXPECT_STR(buffer + sizeof(struct inotify_event), "dir");
    EXPECT_UINT(torc__sim_file_poll(file) & POLLIN, ==, 0);
    rig_close(&rig);
}

static unsigned notices;

static void count_notice(struct sim_waiter *waiter, uint32_t events)
{
    (void)waiter;
    notices += (events & POLLIN) != 0;
}

TEST(who_waits_for_events_is_noticed)
{
    struct sim_waiter waiter;

    open_model(1);
    notices = 0;
    EXPECT_INT(watch(".", IN_CREATE), ==, 1);
    torc__sim_wait_begin(&waiter, torc__sim_fd_file(rig.host, model_fd), POLLIN, count_notice);
    EXPECT_INT(rig_mkdir(&rig, "dir"), ==, 0);
    EXPECT_UINT(notices, ==, 1);
    torc__sim_wait_end(&waiter);
    rig_close(&rig);
}

TEST(more_events_than_are_kept_end_in_an_overflow)
{
    static char buffer[1 << 20];
    const struct inotify_event *last;

    open_model(1);
    EXPECT_INT(watch(".", IN_OPEN | IN_CLOSE_NOWRITE), ==, 1);
    rig_put(&rig, "file", "", 0);
    for (unsigned i = 0; i < SIM_WATCH_QUEUE_MAX; i++)
        rig_shut(&rig, rig_file(&rig, "file", O_RDONLY));
    EXPECT_INT(rig_read(&rig, model_fd, buffer, sizeof(buffer), -1), ==,
               (ssize_t)(SIM_WATCH_QUEUE_MAX * 32 + 16));
    last = (const struct inotify_event *)(const void *)(buffer + SIM_WATCH_QUEUE_MAX * 32);
    EXPECT_UINT(last->mask, ==, IN_Q_OVERFLOW);
    EXPECT_INT(last->wd, ==, -1);
    rig_close(&rig);
}

TEST(what_cannot_be_watched_is_refused)
{
    open_model(1);
    rig_put(&rig, "file", "", 0);
    EXPECT_INT(watch("file", IN_CREATE | IN_ONLYDIR), ==, -ENOTDIR);
    EXPECT_INT(watch("none", IN_CREATE), ==, -ENOENT);
    EXPECT_INT(watch("file", 0), ==, -EINVAL);
    EXPECT_INT(watch("file", IN_MODIFY), ==, 1);
    EXPECT_INT(watch("file", IN_MODIFY | IN_MASK_CREATE), ==, -EEXIST);
    EXPECT_INT(watch("file", IN_CREATE), ==, 1); /* Changed, not added. */
    EXPECT_INT(RIG_CALL(&rig, SYS_inotify_rm_watch, (uintptr_t)model_fd, 2), ==, -EINVAL);
    EXPECT_INT(RIG_CALL(&rig, SYS_inotify_rm_watch, (uintptr_t)model_fd, 1), ==, 0);
    rig_close(&rig);
}

/* ---- Both sides ---- */

static int64_t call_both(int number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)
{
    int64_t expected = syscall(number, a, b, c, d, 0);
    const int64_t result = RIG_CALL(&rig, number, a, b, c, d, 0);

    if (expected < 0)
        expected = -errno;
    EXPECT_INT(result, ==, expected);
    return result;
}

static const char *any_path(void)
{
    static const char *const paths[] = {"a", "b", "d", "d/a", "d/b", "e", "d/e", "d/e/a", "e/a"};

    return paths[rig_any(sizeof(paths) / sizeof(paths[0]))];
}

/* Open both, do something, and close them again. */
static void use_file(const char *path)
{
    const int flags = rig_any(2) ? O_RDONLY : O_RDWR | O_CREAT;
    int kernel = openat(AT_FDCWD, path, flags | O_CLOEXEC, 0644);
    int model = rig_file(&rig, path, flags);
    char byte = 'x';

    EXPECT((kernel < 0) == (model < 0));
    if (kernel < 0)
        return;
    if (rig_any(2)) {
        ssize_t expected = read(kernel, &byte, 1);

        EXPECT_INT(rig_read(&rig, model, &byte, 1, -1), ==, expected < 0 ? -errno : expected);
    } else if (flags != O_RDONLY) {
        EXPECT_INT(write(kernel, &byte, 1), ==, 1);
        EXPECT_INT(rig_write(&rig, model, &byte, 1, -1), ==, 1);
    }
    close(kernel);
    rig_shut(&rig, model);
}

static void change(void)
{
    const uintptr_t path = (uintptr_t)any_path();

    switch (rig_any(9)) {
    case 0:
        call_both(SYS_mkdirat, RIG_CWD, path, 0755, 0);
        break;
    case 1:
        call_both(SYS_unlinkat, RIG_CWD, path, rig_any(2) ? AT_REMOVEDIR : 0, 0);
        break;
    case 2: {
        const uintptr_t to = (uintptr_t)any_path();
        const uintptr_t flags = rig_any(4) == 0 ? 2 : 0;
        int64_t expected = syscall(SYS_renameat2, RIG_CWD, path, RIG_CWD, to, flags);

        expected = expected < 0 ? -errno : expected;
        EXPECT_INT(RIG_CALL(&rig, SYS_renameat2, RIG_CWD, path, RIG_CWD, to, flags), ==, expected);
        break;
    }
    case 3:
        call_both(SYS_fchmodat, RIG_CWD, path, 0700 + rig_any(64), 0);
        break;
    case 4:
        call_both(SYS_truncate, path, 5, 0, 0);
        break;
    case 5:
        call_both(SYS_symlinkat, (uintptr_t) "nowhere", RIG_CWD, path, 0);
        break;
    default:
        use_file((const char *)path);
        break;
    }
}

/* Watch a path on both sides, or change what is watched there. */
static void watch_some(unsigned slot)
{
    const char *path = rig_any(3) == 0 ? "." : any_path();
    uint32_t mask = rig_any(2) ? IN_ALL_EVENTS : 1u << rig_any(12);

    if (rig_any(6) == 0)
        mask |= IN_ONESHOT;
    kernel_numbers[slot] = inotify_add_watch(kernel_fd, path, mask);
    model_numbers[slot] = watch(path, mask);
    EXPECT((kernel_numbers[slot] < 0) == (model_numbers[slot] < 0));
}

static bool is_same_watch(int model, int kernel)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        if (kernel_numbers[i] == kernel && model_numbers[i] == model)
            return true;
    }
    return false;
}

/* The cookies of a rename are the same, whatever they are. */
struct cookies {
    uint32_t kernel;
    uint32_t model;
};

static void expect_same_event(const struct inotify_event *is, const struct inotify_event *shall,
                              struct cookies *cookies)
{
    EXPECT_MSG(is->mask == shall->mask, "%x, not %x", is->mask, shall->mask);
    EXPECT_UINT(is->len, ==, shall->len);
    if (shall->len > 0)
        EXPECT_STR(is->name, shall->name);
    EXPECT(is_same_watch(is->wd, shall->wd));
    EXPECT((is->cookie == 0) == (shall->cookie == 0));
    EXPECT((is->cookie == cookies->model) == (shall->cookie == cookies->kernel));
    *cookies = (struct cookies){shall->cookie, is->cookie};
}

static void compare_events(void)
{
    static _Alignas(8) char kernel[65536];
    static _Alignas(8) char model[65536];
    ssize_t size = read(kernel_fd, kernel, sizeof(kernel));
    struct cookies cookies = {0, 0};

    if (size < 0) {
        EXPECT_INT(rig_read(&rig, model_fd, model, sizeof(model), -1), ==, -errno);
        return;
    }
    EXPECT_INT(rig_read(&rig, model_fd, model, sizeof(model), -1), ==, size);
    for (ssize_t at = 0; at < size;) {
        const struct inotify_event *shall = (const void *)(kernel + at);

        expect_same_event((const void *)(model + at), shall, &cookies);
        at += (ssize_t)(sizeof(*shall) + shall->len);
    }
}

static int remove_visited(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static void run_both(uint64_t seed)
{
    static char rest[4096];

    rig_set_dice(seed);
    open_model(seed);
    memset(kernel_numbers, -1, sizeof(kernel_numbers));
    memset(model_numbers, -1, sizeof(model_numbers));
    EXPECT_INT(mkdir("top", 0755), ==, 0);
    EXPECT_INT(chdir("top"), ==, 0);
    for (unsigned i = 0; i < STEPS; i++) {
        if (i % 15 == 0)
            watch_some(i / 15);
        change();
        if (rig_any(3) == 0)
            compare_events();
    }
    compare_events();
    rig_close(&rig);
    EXPECT_INT(chdir(directory), ==, 0);
    EXPECT_INT(nftw("top", remove_visited, 16, FTW_DEPTH | FTW_PHYS), ==, 0);
    while (read(kernel_fd, rest, sizeof(rest)) > 0)
        continue;
}

/* Since 5.17 the end of a directory is told before that of its name. */
static bool is_order_known(void)
{
    struct inotify_event first = {.mask = 0};
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    char buffer[512];

    if (fd < 0)
        return false;
    EXPECT_INT(mkdir("dir", 0755), ==, 0);
    if (inotify_add_watch(fd, "dir", IN_DELETE_SELF) >= 0 &&
        inotify_add_watch(fd, ".", IN_DELETE) >= 0) {
        EXPECT_INT(rmdir("dir"), ==, 0);
        if (read(fd, buffer, sizeof(buffer)) > 0)
            memcpy(&first, buffer, sizeof(first));
    }
    close(fd);
    return first.mask == IN_DELETE_SELF;
}

TEST(the_model_tells_what_the_kernel_does_and_in_the_same_order)
{
    const char *base = getenv("TMPDIR");
    bool is_known;

    snprintf(directory, sizeof(directory), "%s/torc-test-XXXXXX", base != NULL ? base : "/tmp");
    EXPECT(mkdtemp(directory) != NULL);
    EXPECT_INT(chdir(directory), ==, 0);
    umask(022);
    is_known = is_order_known();
    kernel_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC); /* One for all: its end takes a while. */
    is_known &= kernel_fd >= 0;
    for (unsigned i = 0; i < harness_scaled(100) && is_known; i++)
        run_both(i);
    if (kernel_fd >= 0)
        close(kernel_fd);
    (void)rmdir("dir"); /* If the probe was broken off. */
    EXPECT_INT(chdir("/"), ==, 0);
    EXPECT_INT(rmdir(directory), ==, 0);
    if (!is_known)
        SKIP("this kernel has no inotify, or tells in another order");
}
