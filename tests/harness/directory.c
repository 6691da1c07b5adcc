/* SPDX-License-Identifier: MIT */
/*
 * directory.c - files for tests, in a directory of their own.
 */
#include "harness/directory.h"
#include "harness/net.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <torc/sim.h>
#include <unistd.h>

static char directory[256];

void harness_enter_directory(void)
{
    const char *base = harness_is_simulated() ? NULL : getenv("TMPDIR");

    snprintf(directory, sizeof(directory), "%s/torc-test-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(directory) == NULL || chdir(directory) < 0)
        FAIL("%s: %s", directory, strerror(errno));
}

static int remove_visited(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void harness_leave_directory(void)
{
    EXPECT_INT(chdir("/"), ==, 0);
    if (harness_is_simulated())
        return; /* It goes with the host. */
    if (nftw(directory, remove_visited, 16, FTW_DEPTH | FTW_PHYS) < 0)
        FAIL("cannot remove %s: %s", directory, strerror(errno));
}

#define NOBODY 65534

bool harness_drop_root(void)
{
    if (getuid() != 0)
        return true;
    if (harness_is_simulated())
        return false;
    EXPECT_INT(chown(".", NOBODY, NOBODY), ==, 0);
    return setresgid(-1, NOBODY, -1) == 0 && setresuid(-1, NOBODY, -1) == 0;
}

void harness_regain_root(void)
{
    if (getuid() != 0)
        return;
    EXPECT_INT(setresuid(-1, 0, -1), ==, 0);
    EXPECT_INT(setresgid(-1, 0, -1), ==, 0);
}

const char *harness_directory(void)
{
    return directory;
}

void harness_put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0)
        FAIL("%s: %s", path, strerror(errno));
    harness_put(fd, text, strlen(text));
    close(fd);
}

void harness_expect_file(const char *path, const char *text)
{
    char data[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length;

    if (fd < 0)
        FAIL("%s: %s", path, strerror(errno));
    length = read(fd, data, sizeof(data) - 1);
    EXPECT_INT(length, >=, 0);
    data[length] = '\0';
    close(fd);
    EXPECT_STR(data, text);
}

bool harness_exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

off_t harness_file_size(const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0)
        FAIL("%s: %s", path, strerror(errno));
    return status.st_size;
}

/* There are no streams of simulated directories. */
static unsigned count_simulated(void)
{
    char buffer[4096];
    const int fd = open(".", O_RDONLY | O_DIRECTORY);
    unsigned count = 0;
    int64_t size;

    EXPECT_INT(fd, >=, 0);
    while ((size = torc_sim_syscall(SYS_getdents64, (uintptr_t)fd, (uintptr_t)buffer,
                                    sizeof(buffer), (uintptr_t)0, (uintptr_t)0, (uintptr_t)0)) >
           0) {
        for (int64_t at = 0; at < size; count++)
            at += ((const struct dirent64 *)(const void *)(buffer + at))->d_reclen;
    }
    close(fd);
    return count - 2;
}

unsigned harness_count_names(void)
{
    DIR *dir = harness_is_simulated() ? NULL : opendir(".");
    unsigned count = 0;

    if (harness_is_simulated())
        return count_simulated();
    EXPECT(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 2;
}
