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
#include <unistd.h>

static char directory[256];

void harness_enter_directory(void)
{
    const char *base = getenv("TMPDIR");

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
    if (nftw(directory, remove_visited, 16, FTW_DEPTH | FTW_PHYS) < 0)
        FAIL("cannot remove %s: %s", directory, strerror(errno));
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

unsigned harness_count_names(void)
{
    DIR *dir = opendir(".");
    unsigned count = 0;

    EXPECT(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 2;
}
