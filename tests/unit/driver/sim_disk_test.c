/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_test.c - what a simulated disk has after the power was lost.
 */
#include "unit/driver/sim_disk_rig.h"
#include <stdio.h>

#define SEEDS 200

static char old[20000];
static char new[20000];
static char data[20001];

static void fill(void)
{
    memset(old, 'o', sizeof(old));
    memset(new, 'n', sizeof(new));
}

static struct torc_sim_chaos tearing(void)
{
    struct torc_sim_chaos chaos = rig_chaos();

    chaos.crash_tear_rate = 200000;
    return chaos;
}

/* /tmp, which each test works in, is as it was made. */
static void open_in_tmp(struct rig *rig, uint64_t seed, const struct torc_sim_chaos *chaos)
{
    fill();
    rig_open(rig, seed, chaos);
    EXPECT_INT(RIG_CALL(rig, SYS_chdir, (uintptr_t) "/tmp"), ==, 0);
}

static void crash_in_tmp(struct rig *rig)
{
    rig_crash(rig);
    rig_expect_sound(rig);
    EXPECT_INT(RIG_CALL(rig, SYS_chdir, (uintptr_t) "/tmp"), ==, 0);
}

/* ---- What is sure ---- */

TEST(what_was_synchronised_with_its_name_is_there_after_every_crash)
{
    const struct torc_sim_chaos chaos = tearing();

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;

        open_in_tmp(&rig, seed, &chaos);
        EXPECT_INT(rig_mkdir(&rig, "dir"), ==, 0);
        rig_put(&rig, "dir/file", new, sizeof(new));
        rig_sync_path(&rig, "dir/file");
        rig_sync_path(&rig, "dir");
        rig_sync_path(&rig, ".");
        rig_put(&rig, "dir/other", old, sizeof(old));
        crash_in_tmp(&rig);
        EXPECT_INT(rig_get(&rig, "dir/file", data, sizeof(data)), ==, sizeof(new));
        EXPECT_MEM(data, new, sizeof(new));
        rig_close(&rig);
    }
}

TEST(attributes_that_were_synchronised_are_there_and_others_are_old_or_new)
{
    const struct torc_sim_chaos chaos = rig_chaos();
    unsigned modes[2] = {0, 0};

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;
        struct statx about;

        open_in_tmp(&rig, seed, &chaos);
        rig_put(&rig, "file", "x", 1);
        EXPECT_INT(RIG_CALL(&rig, SYS_setxattr, (uintptr_t) "file", (uintptr_t) "user.a",
                            (uintptr_t) "1", 1),
                   ==, 0);
        rig_sync_path(&rig, "file");
        rig_sync_path(&rig, ".");
        EXPECT_INT(RIG_CALL(&rig, SYS_fchmodat, RIG_CWD, (uintptr_t) "file", 0600), ==, 0);
        EXPECT_INT(RIG_CALL(&rig, SYS_removexattr, (uintptr_t) "file", (uintptr_t) "user.a"), ==,
                   0);
        crash_in_tmp(&rig);
        EXPECT_INT(rig_stat(&rig, "file", &about), ==, 0);
        EXPECT((about.stx_mode & 0777) == 0600 || (about.stx_mode & 0777) == 0644);
        modes[(about.stx_mode & 0777) == 0600]++;
        EXPECT_INT(RIG_CALL(&rig, SYS_getxattr, (uintptr_t) "file", (uintptr_t) "user.a", 0, 0), ==,
                   (about.stx_mode & 0777) == 0600 ? -ENODATA : 1);
        rig_close(&rig);
    }
    EXPECT_UINT(modes[0], >, SEEDS / 4);
    EXPECT_UINT(modes[1], >, SEEDS / 4);
}

TEST(fdatasync_is_for_data_and_size_and_not_for_attributes)
{
    struct torc_sim_chaos chaos = rig_chaos();
    struct rig rig;
    struct statx about;
    int fd;

    chaos.crash_lose_rate = 1000000;
    open_in_tmp(&rig, 1, &chaos);
    rig_put(&rig, "file", old, 100);
    torc__sim_disk_sync(rig.host);
    fd = rig_file(&rig, "file", O_WRONLY);
    EXPECT_INT(rig_write(&rig, fd, new, 5000, 0), ==, 5000);
    EXPECT_INT(RIG_CALL(&rig, SYS_fchmod, (uintptr_t)fd, 0600), ==, 0);
    EXPECT_INT(RIG_CALL(&rig, SYS_fdatasync, (uintptr_t)fd), ==, 0);
    crash_in_tmp(&rig);
    EXPECT_INT(rig_get(&rig, "file", data, sizeof(data)), ==, 5000);
    EXPECT_MEM(data, new, 5000);
    EXPECT_INT(rig_stat(&rig, "file", &about), ==, 0);
    EXPECT_UINT(about.stx_mode & 0777, ==, 0644);
    rig_close(&rig);
}

/* ---- What is not ---- */

TEST(a_file_whose_directory_was_not_synchronised_is_gone_after_some_crashes)
{
    const struct torc_sim_chaos chaos = rig_chaos();
    unsigned kept = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;

        open_in_tmp(&rig, seed, &chaos);
        rig_put(&rig, "file", new, sizeof(new));
        rig_sync_path(&rig, "file");
        crash_in_tmp(&rig);
        kept += rig_exists(&rig, "file");
        if (rig_exists(&rig, "file"))
            EXPECT_INT(rig_get(&rig, "file", data, sizeof(data)), ==, sizeof(new));
        rig_close(&rig);
    }
    EXPECT_UINT(kept, >, SEEDS / 4);
    EXPECT_UINT(kept, <, SEEDS - SEEDS / 4);
}

TEST(where_a_files_fsync_is_for_its_name_too_it_is_never_gone)
{
    struct torc_sim_chaos chaos = rig_chaos();

    chaos.disk_sync_names = 1;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;

        open_in_tmp(&rig, seed, &chaos);
        rig_put(&rig, "before", "x", 1);
        EXPECT_INT(rig_rename(&rig, "before", "file"), ==, 0);
        rig_sync_path(&rig, "file");
        crash_in_tmp(&rig);
        EXPECT_INT(rig_get(&rig, "file", data, sizeof(data)), ==, 1);
        EXPECT(!rig_exists(&rig, "before"));
        rig_close(&rig);
    }
}

struct seen {
    unsigned old;
    unsigned new;
    unsigned mixed; /* within a page, too */
};

/* What an overwritten file has: each sector is an old or a new one. */
static void look(const char *bytes, size_t size, struct seen *seen)
{
    bool has_old = false;
    bool has_new = false;

    for (size_t i = 0; i < size; i++) {
        EXPECT(bytes[i] == 'o' || bytes[i] == 'n');
        EXPECT_INT(bytes[i], ==, bytes[i - i % SIM_SECTOR]);
        has_old |= bytes[i] == 'o';
        has_new |= bytes[i] == 'n';
    }
    seen->old += has_old && !has_new;
    seen->new += has_new && !has_old;
    seen->mixed += has_new && has_old;
}

TEST(data_that_were_not_synchronised_are_old_or_new_or_torn_by_sectors)
{
    const struct torc_sim_chaos chaos = tearing();
    struct seen seen = {0};

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;
        int fd;

        open_in_tmp(&rig, seed, &chaos);
        rig_put(&rig, "file", old, sizeof(old));
        rig_sync_path(&rig, "file");
        rig_sync_path(&rig, ".");
        fd = rig_file(&rig, "file", O_WRONLY);
        EXPECT_INT(rig_write(&rig, fd, new, sizeof(new), 0), ==, sizeof(new));
        crash_in_tmp(&rig);
        EXPECT_INT(rig_get(&rig, "file", data, sizeof(data)), ==, sizeof(old));
        look(data, sizeof(old), &seen);
        rig_close(&rig);
    }
    EXPECT_UINT(seen.old, >, 10);
    EXPECT_UINT(seen.new, >, 10);
    EXPECT_UINT(seen.mixed, >, 10);
}

TEST(a_file_that_grew_has_its_old_or_its_new_size_and_zeros_where_data_were_lost)
{
    const struct torc_sim_chaos chaos = tearing();
    unsigned sizes[2] = {0, 0};
    unsigned zeros = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;
        ssize_t size;
        int fd;

        open_in_tmp(&rig, seed, &chaos);
        rig_put(&rig, "file", old, 5000);
        rig_sync_path(&rig, "file");
        rig_sync_path(&rig, ".");
        fd = rig_file(&rig, "file", O_WRONLY | O_APPEND);
        EXPECT_INT(rig_write(&rig, fd, new, 9000, -1), ==, 9000);
        crash_in_tmp(&rig);
        size = rig_get(&rig, "file", data, sizeof(data));
        EXPECT(size == 5000 || size == 14000);
        EXPECT_MEM(data, old, 5000);
        for (ssize_t i = 5000; i < size; i++)
            EXPECT(data[i] == 'n' || data[i] == '\0');
        sizes[size == 14000]++;
        zeros += size == 14000 && memchr(data, '\0', (size_t)size) != NULL;
        rig_close(&rig);
    }
    EXPECT_UINT(sizes[0], >, 10);
    EXPECT_UINT(sizes[1], >, 10);
    EXPECT_UINT(zeros, >, 10);
}

TEST(what_was_removed_and_not_synchronised_may_come_back_with_its_data)
{
    const struct torc_sim_chaos chaos = rig_chaos();
    unsigned back = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;

        open_in_tmp(&rig, seed, &chaos);
        rig_put(&rig, "file", old, sizeof(old));
        rig_sync_path(&rig, "file");
        rig_sync_path(&rig, ".");
        EXPECT_INT(rig_unlink(&rig, "file"), ==, 0);
        EXPECT_INT(rig_get(&rig, "file", data, sizeof(data)), ==, -ENOENT);
        crash_in_tmp(&rig);
        if (rig_exists(&rig, "file")) {
            EXPECT_INT(rig_get(&rig, "file", data, sizeof(data)), ==, sizeof(old));
            EXPECT_MEM(data, old, sizeof(old));
            back++;
        }
        rig_close(&rig);
    }
    EXPECT_UINT(back, >, SEEDS / 4);
    EXPECT_UINT(back, <, SEEDS - SEEDS / 4);
}

/* ---- Names ---- */

static unsigned names_kept(struct rig *rig, bool *ret_is_prefix)
{
    unsigned kept = 0;

    *ret_is_prefix = true;
    for (unsigned i = 0; i < 10; i++) {
        const char name[2] = {(char)('0' + i), '\0'};

        if (!rig_exists(rig, name))
            continue;
        *ret_is_prefix &= kept == i;
        kept++;
    }
    return kept;
}

static unsigned count_prefixes(const struct torc_sim_chaos *chaos)
{
    unsigned prefixes = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;
        bool is_prefix;

        open_in_tmp(&rig, seed, chaos);
        for (unsigned i = 0; i < 10; i++)
            rig_put(&rig, (const char[2]){(char)('0' + i), '\0'}, "", 0);
        crash_in_tmp(&rig);
        (void)names_kept(&rig, &is_prefix);
        prefixes += is_prefix;
        rig_close(&rig);
    }
    return prefixes;
}

TEST(changes_in_a_directory_are_kept_up_to_some_point_or_in_any_order)
{
    struct torc_sim_chaos chaos = rig_chaos();

    EXPECT_UINT(count_prefixes(&chaos), ==, SEEDS);
    chaos.disk_any_order = 1;
    EXPECT_UINT(count_prefixes(&chaos), <, SEEDS / 2);
}

static void rename_between(const struct torc_sim_chaos *chaos)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;

        open_in_tmp(&rig, seed, chaos);
        EXPECT_INT(rig_mkdir(&rig, "a"), ==, 0);
        EXPECT_INT(rig_mkdir(&rig, "b"), ==, 0);
        rig_put(&rig, "a/file", old, 100);
        torc__sim_disk_sync(rig.host);
        for (unsigned i = 0; i < 5; i++) {
            const char to[] = {'b', '/', (char)('0' + i), '\0'};

            rig_put(&rig, "a/other", "", 0);
            EXPECT_INT(rig_rename(&rig, "a/other", to), ==, 0);
        }
        EXPECT_INT(rig_rename(&rig, "a/file", "b/file"), ==, 0);
        crash_in_tmp(&rig);
        EXPECT(rig_exists(&rig, "a/file") != rig_exists(&rig, "b/file"));
        rig_close(&rig);
    }
}

TEST(a_rename_between_directories_is_never_half_done)
{
    struct torc_sim_chaos chaos = rig_chaos();

    rename_between(&chaos);
    chaos.disk_any_order = 1;
    rename_between(&chaos);
}

TEST(synchronising_one_of_two_directories_makes_a_rename_durable_in_both)
{
    const struct torc_sim_chaos chaos = rig_chaos();

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;

        open_in_tmp(&rig, seed, &chaos);
        EXPECT_INT(rig_mkdir(&rig, "a"), ==, 0);
        EXPECT_INT(rig_mkdir(&rig, "b"), ==, 0);
        rig_put(&rig, "a/file", "", 0);
        rig_sync_path(&rig, ".");
        EXPECT_INT(rig_rename(&rig, "a/file", "b/file"), ==, 0);
        rig_sync_path(&rig, seed % 2 ? "a" : "b");
        crash_in_tmp(&rig);
        EXPECT(!rig_exists(&rig, "a/file"));
        EXPECT(rig_exists(&rig, "b/file"));
        rig_close(&rig);
    }
}

TEST(directories_are_moved_in_their_order_and_none_is_lost_or_double)
{
    struct torc_sim_chaos chaos = rig_chaos();

    chaos.disk_any_order = 1;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;

        open_in_tmp(&rig, seed, &chaos);
        EXPECT_INT(rig_mkdir(&rig, "a"), ==, 0);
        EXPECT_INT(rig_mkdir(&rig, "b"), ==, 0);
        torc__sim_disk_sync(rig.host);
        EXPECT_INT(rig_rename(&rig, "a", "b/a"), ==, 0);
        EXPECT_INT(rig_rename(&rig, "b/a", "c"), ==, 0);
        EXPECT_INT(rig_rename(&rig, "b", "c/b"), ==, 0);
        crash_in_tmp(&rig); /* Which counts the links of all. */
        EXPECT_UINT(rig_exists(&rig, "a") + rig_exists(&rig, "b/a") + rig_exists(&rig, "c"), ==, 1);
        EXPECT_UINT(rig_exists(&rig, "b") + rig_exists(&rig, "c/b"), ==, 1);
        rig_close(&rig);
    }
}

/* ---- Well-known mistakes, and how it is done ---- */

enum care {
    CARELESS, /* no fsync at all: the new name may come before the data */
    CAREFUL,
};

/* Replace a file up to a step, of which there are five. */
static void replace(struct rig *rig, enum care care, unsigned steps)
{
    int fd;

    if (steps < 1)
        return;
    fd = rig_file(rig, "temporary", O_WRONLY | O_CREAT | O_EXCL);
    if (steps > 1)
        EXPECT_INT(rig_write(rig, fd, new, sizeof(new), -1), ==, sizeof(new));
    if (steps > 2 && care == CAREFUL)
        EXPECT_INT(rig_sync(rig, fd), ==, 0);
    rig_shut(rig, fd);
    if (steps > 3)
        EXPECT_INT(rig_rename(rig, "temporary", "file"), ==, 0);
    if (steps > 4 && care == CAREFUL)
        rig_sync_path(rig, ".");
}

/* What the file is after a crash: whole, or something else. */
static void replace_and_crash(enum care care, unsigned steps, struct seen *seen)
{
    struct torc_sim_chaos chaos = tearing();

    chaos.disk_any_order = steps % 2;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;
        ssize_t size;

        open_in_tmp(&rig, seed, &chaos);
        rig_put(&rig, "file", old, sizeof(old));
        torc__sim_disk_sync(rig.host);
        replace(&rig, care, steps);
        crash_in_tmp(&rig);
        size = rig_get(&rig, "file", data, sizeof(data));
        if (size == sizeof(old) && memcmp(data, old, sizeof(old)) == 0)
            seen->old++;
        else if (size == sizeof(new) && memcmp(data, new, sizeof(new)) == 0)
            seen->new ++;
        else
            seen->mixed++;
        rig_close(&rig);
    }
}

TEST(a_file_replaced_with_care_is_the_old_or_the_new_one_and_in_the_end_the_new)
{
    for (unsigned steps = 0; steps <= 5; steps++) {
        struct seen seen = {0};

        replace_and_crash(CAREFUL, steps, &seen);
        EXPECT_UINT(seen.mixed, ==, 0);
        if (steps == 4) {
            EXPECT_UINT(seen.old, >, 10);
            EXPECT_UINT(seen.new, >, 10);
        }
        EXPECT_UINT(seen.new, ==, steps == 5 ? SEEDS : steps == 4 ? seen.new : 0);
    }
}

TEST(a_file_replaced_without_synchronising_its_data_is_neither_after_some_crashes)
{
    struct seen seen = {0};

    replace_and_crash(CARELESS, 4, &seen);
    EXPECT_UINT(seen.mixed, >, 10);
}

/* ---- Failures ---- */

TEST(after_a_failed_fsync_the_next_one_succeeds_and_data_are_lost_all_the_same)
{
    struct torc_sim_chaos chaos = rig_chaos();
    unsigned lost = 0;

    chaos.crash_lose_rate = 0; /* But what nobody will write is lost in any case. */
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig rig;
        int fd;

        open_in_tmp(&rig, seed, &chaos);
        rig_put(&rig, "file", old, sizeof(old));
        torc__sim_disk_sync(rig.host);
        fd = rig_file(&rig, "file", O_RDWR);
        EXPECT_INT(rig_write(&rig, fd, new, sizeof(new), 0), ==, sizeof(new));
        rig.world->chaos.disk_error_rate = 1000000;
        EXPECT_INT(rig_sync(&rig, fd), ==, -EIO);
        rig.world->chaos.disk_error_rate = 0;
        EXPECT_INT(rig_sync(&rig, fd), ==, 0);
        crash_in_tmp(&rig);
        EXPECT_INT(rig_get(&rig, "file", data, sizeof(data)), ==, sizeof(new));
        lost += memchr(data, 'o', sizeof(new)) != NULL;
        rig_close(&rig);
    }
    EXPECT_UINT(lost, >, SEEDS / 2);
}

TEST(a_failed_fsync_is_told_once_to_each_open_file)
{
    const struct torc_sim_chaos chaos = rig_chaos();
    struct rig rig;
    int fds[3];

    open_in_tmp(&rig, 1, &chaos);
    for (unsigned i = 0; i < 2; i++)
        fds[i] = rig_file(&rig, "file", O_RDWR | O_CREAT);
    EXPECT_INT(rig_write(&rig, fds[0], new, 100, 0), ==, 100);
    rig.world->chaos.disk_error_rate = 1000000;
    EXPECT_INT(rig_sync(&rig, fds[0]), ==, -EIO);
    rig.world->chaos.disk_error_rate = 0;
    fds[2] = rig_file(&rig, "file", O_RDWR);
    EXPECT_INT(rig_sync(&rig, fds[0]), ==, 0);
    EXPECT_INT(rig_sync(&rig, fds[1]), ==, -EIO);
    EXPECT_INT(rig_sync(&rig, fds[1]), ==, 0);
    EXPECT_INT(rig_sync(&rig, fds[2]), ==, 0); /* It was opened when somebody had been told. */
    rig_close(&rig);
}

TEST(a_full_disk_says_so_and_gives_room_for_what_is_removed)
{
    struct torc_sim_chaos chaos = rig_chaos();
    struct rig rig;
    int fd;

    chaos.disk_bytes = 64 * SIM_PAGE;
    open_in_tmp(&rig, 1, &chaos);
    fd = rig_file(&rig, "large", O_WRONLY | O_CREAT);
    for (unsigned i = 0; i < 64; i++)
        EXPECT_INT(rig_write(&rig, fd, new, SIM_PAGE, -1), ==, SIM_PAGE);
    EXPECT_INT(rig_write(&rig, fd, new, 1, -1), ==, -ENOSPC);
    EXPECT_INT(rig_write(&rig, fd, old, 100, 0), ==, 100); /* It has room where it has data. */
    EXPECT_INT(RIG_CALL(&rig, SYS_fallocate, (uintptr_t)fd, 0, 0, 65 * SIM_PAGE), ==, -ENOSPC);
    rig_shut(&rig, fd);
    for (unsigned i = 0; i < 3; i++) {
        torc__sim_disk_sync(rig.host);
        EXPECT_INT(rig_unlink(&rig, i == 0 ? "large" : "again"), ==, 0);
        rig_put(&rig, "again", new, 4 * SIM_PAGE);
        fd = rig_file(&rig, "again", O_WRONLY | O_APPEND);
        for (unsigned j = 4; j < 64; j++)
            EXPECT_INT(rig_write(&rig, fd, new, SIM_PAGE, -1), ==, SIM_PAGE);
        EXPECT_INT(rig_write(&rig, fd, new, SIM_PAGE, -1), ==, -ENOSPC);
        rig_shut(&rig, fd);
    }
    rig_expect_sound(&rig);
    rig_close(&rig);
}

TEST(a_read_only_disk_changes_nothing)
{
    const struct torc_sim_chaos chaos = rig_chaos();
    struct rig rig;

    open_in_tmp(&rig, 1, &chaos);
    rig_put(&rig, "file", old, 10);
    torc__sim_disk_set_read_only(rig.host, true);
    EXPECT_INT(rig_file(&rig, "file", O_RDWR), ==, -EROFS);
    EXPECT_INT(rig_file(&rig, "none", O_RDWR | O_CREAT), ==, -EROFS);
    EXPECT_INT(rig_mkdir(&rig, "dir"), ==, -EROFS);
    EXPECT_INT(rig_unlink(&rig, "file"), ==, -EROFS);
    EXPECT_INT(rig_rename(&rig, "file", "other"), ==, -EROFS);
    EXPECT_INT(rig_get(&rig, "file", data, sizeof(data)), ==, 10);
    torc__sim_disk_set_read_only(rig.host, false);
    EXPECT_INT(rig_unlink(&rig, "file"), ==, 0);
    rig_close(&rig);
}

TEST(after_its_time_everything_is_durable_by_itself)
{
    struct torc_sim_chaos chaos = rig_chaos();

    chaos.disk_write_back_ns = 1000000000;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rig rig;

        open_in_tmp(&rig, seed, &chaos);
        rig_put(&rig, "file", new, sizeof(new));
        EXPECT(!torc__sim_step(rig.world, rig.world->now_ns + 1000000000));
        crash_in_tmp(&rig);
        EXPECT_INT(rig_get(&rig, "file", data, sizeof(data)), ==, sizeof(new));
        EXPECT_MEM(data, new, sizeof(new));
        rig_close(&rig);
    }
}

TEST(more_changes_than_the_journal_holds_become_durable_by_themselves)
{
    const struct torc_sim_chaos chaos = rig_chaos();
    struct rig rig;

    open_in_tmp(&rig, 1, &chaos);
    for (unsigned i = 0; i < 3 * SIM_JOURNAL_SIZE + 7; i++) {
        const char from[] = {(char)('a' + harness_random_below(4)), '\0'};
        const char to[] = {(char)('a' + harness_random_below(4)), '\0'};

        switch (harness_random_below(3)) {
        case 0:
            rig_put(&rig, from, old, 100);
            break;
        case 1:
            (void)rig_unlink(&rig, from);
            break;
        default:
            (void)rig_rename(&rig, from, to);
            break;
        }
    }
    rig_expect_sound(&rig);
    EXPECT_UINT(rig.host->disk->journal_count, <, SIM_JOURNAL_SIZE);
    crash_in_tmp(&rig);
    rig_close(&rig);
}

/* ---- Anything ---- */

static const char *const paths[] = {"f", "g", "d/f", "d/g", "d/e/f", "d/e/g"};

#define PATHS (sizeof(paths) / sizeof(paths[0]))

/* What is known of a path: `is_sure` if a crash must leave it so. */
struct known {
    bool is_there;
    bool is_sure_name;
    bool is_sure_data;
    bool is_whole; /* 6,000 times the byte, if no crash comes in between */
    char byte;
};

static void change(struct rig *rig, struct known *known)
{
    const size_t i = harness_random_below(PATHS);
    const size_t j = harness_random_below(PATHS);

    switch (harness_random_below(6)) {
    case 0: /* Written anew, whole. */
    case 1:
        known[i].byte = (char)('a' + harness_random_below(26));
        memset(data, known[i].byte, 6000);
        rig_put(rig, paths[i], data, 6000);
        known[i].is_sure_name &= known[i].is_there;
        known[i].is_there = true;
        known[i].is_sure_data = false;
        known[i].is_whole = true;
        break;
    case 2:
        EXPECT_INT(rig_unlink(rig, paths[i]), ==, known[i].is_there ? 0 : -ENOENT);
        known[i].is_sure_name &= !known[i].is_there;
        known[i].is_there = false;
        break;
    case 3:
        if (i == j)
            break;
        EXPECT_INT(rig_rename(rig, paths[i], paths[j]), ==, known[i].is_there ? 0 : -ENOENT);
        if (!known[i].is_there)
            break;
        known[j] = (struct known){
            .is_there = true, .is_sure_data = known[i].is_sure_data, .byte = known[i].byte};
        known[i] = (struct known){.is_there = false};
        break;
    case 4:
        if (!known[i].is_there)
            break;
        rig_sync_path(rig, paths[i]);
        known[i].is_sure_data = known[i].is_whole;
        break;
    default: { /* All names in its directory. */
        static const char *const directories[] = {".", ".", "d", "d", "d/e", "d/e"};

        rig_sync_path(rig, directories[i]);
        for (size_t k = 0; k < PATHS; k++)
            known[k].is_sure_name |= strcmp(directories[k], directories[i]) == 0;
        break;
    }
    }
}

static void expect_known(struct rig *rig, const struct known *known)
{
    for (size_t i = 0; i < PATHS; i++) {
        ssize_t size;

        if (!known[i].is_sure_name)
            continue;
        size = rig_get(rig, paths[i], data, sizeof(data));
        EXPECT_MSG((size >= 0) == known[i].is_there, "%s: %zd", paths[i], size);
        if (!known[i].is_there || !known[i].is_sure_data)
            continue;
        EXPECT_INT(size, ==, 6000);
        for (unsigned k = 0; k < 6000; k++)
            EXPECT_INT(data[k], ==, known[i].byte);
    }
}

/* After a crash everything is what it is, and durable. */
static void learn(struct rig *rig, struct known *known)
{
    for (size_t i = 0; i < PATHS; i++) {
        ssize_t size = rig_get(rig, paths[i], data, sizeof(data));

        known[i] = (struct known){.is_there = size >= 0, .is_sure_name = true};
    }
}

static void change_and_crash(uint64_t seed, const struct torc_sim_chaos *chaos)
{
    struct known known[PATHS] = {0};
    struct rig rig;

    open_in_tmp(&rig, seed, chaos);
    EXPECT_INT(rig_mkdir(&rig, "d"), ==, 0);
    EXPECT_INT(rig_mkdir(&rig, "d/e"), ==, 0);
    torc__sim_disk_sync(rig.host);
    for (size_t i = 0; i < PATHS; i++)
        known[i].is_sure_name = true;
    for (unsigned crashes = 0; crashes < 5; crashes++) {
        const unsigned changes = harness_random_below(60);

        for (unsigned i = 0; i < changes; i++)
            change(&rig, known);
        rig_expect_sound(&rig);
        crash_in_tmp(&rig);
        expect_known(&rig, known);
        learn(&rig, known);
    }
    rig_close(&rig);
}

TEST(whatever_was_done_what_must_be_there_after_a_crash_is)
{
    struct torc_sim_chaos chaos = tearing();

    for (uint64_t seed = 0; seed < harness_scaled(1000); seed++) {
        chaos.disk_any_order = seed % 2;
        chaos.disk_sync_names = seed / 2 % 2;
        change_and_crash(seed, &chaos);
    }
}

/* ---- Again ---- */

static uint64_t hash_of_run(uint64_t seed)
{
    struct torc_sim_chaos chaos;
    struct rig rig;
    uint64_t hash;

    torc_sim_chaos_init(&chaos, TORC_SIM_WILD);
    open_in_tmp(&rig, seed, &chaos);
    for (unsigned i = 0; i < 300; i++) {
        const char name[] = {(char)('a' + i % 7), '\0'};
        int fd = rig_file(&rig, name, O_RDWR | O_CREAT);
        ssize_t result = fd < 0 ? fd : rig_write(&rig, fd, new, i * 31 % 9000, i * 97 % 5000);

        torc__sim_trace(rig.world, rig.host, "result", result, 0);
        if (fd >= 0 && i % 5 == 0)
            torc__sim_trace(rig.world, rig.host, "fsync", rig_sync(&rig, fd), 0);
        if (fd >= 0)
            rig_shut(&rig, fd);
        if (i % 11 == 0)
            torc__sim_trace(rig.world, rig.host, "unlink", rig_unlink(&rig, name), 0);
        if (i % 100 == 99)
            crash_in_tmp(&rig);
        result = rig_get(&rig, name, data, sizeof(data));
        for (ssize_t j = 0; j < result; j += 64)
            torc__sim_trace(rig.world, rig.host, "data", data[j], j);
    }
    hash = rig.world->trace_hash ^ torc__sim_random(rig.world);
    rig_close(&rig);
    return hash;
}

TEST(the_same_seed_gives_the_same_disk_and_another_another)
{
    for (uint64_t seed = 1; seed < 20; seed++) {
        EXPECT_UINT(hash_of_run(seed), ==, hash_of_run(seed));
        EXPECT_UINT(hash_of_run(seed), !=, hash_of_run(seed + 100));
    }
}
