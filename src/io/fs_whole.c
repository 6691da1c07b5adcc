/* SPDX-License-Identifier: MIT */
/*
 * fs_whole.c - files as a whole: read, replaced, copied.
 *
 * A file is replaced in these steps, each of which may fail and leaves the old one until the last:
 * a temporary file beside it; data; permissions; fsync; rename; fsync of the directory. What is
 * left behind by a failure or a cancelled scope is removed, in a shield.
 */
#include "io/await.h"
#include "io/temporary.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <torc/file.h>
#include <torc/fs.h>
#include <torc/io.h>
#include <torc/scope.h>
#include <unistd.h>

/* ---- Reading ---- */

/*
 * Fill the buffer from the position on; until the end, whatever size the file says to have. Returns
 * the count, or an error.
 */
static ssize_t read_to_end(int fd, char *buffer, size_t size)
{
    size_t done = 0;
    int result = torc_read_all(fd, buffer, size, &done);

    return result < 0 && result != -ENODATA ? result : (ssize_t)done;
}

/* 0 if the file has been read to its end, -EFBIG if it goes on. */
static int expect_end(int fd)
{
    char more;
    ssize_t result = torc_read(fd, &more, 1);

    return result < 0 ? (int)result : result > 0 ? -EFBIG : 0;
}

ssize_t torc_read_file(const char *path, void *buffer, size_t size)
{
    int fd = torc_open(path, O_RDONLY, 0);
    ssize_t length;
    int result = 0;

    if (fd < 0)
        return fd;
    length = read_to_end(fd, buffer, size);
    if (length == (ssize_t)size)
        result = expect_end(fd);
    (void)torc_close(fd);
    return result < 0 ? result : length;
}

/*
 * How much memory to begin with: for what the file says to have, or for some if that is nothing; a
 * byte more, so that its end is seen where it says; and the NUL.
 */
static size_t first_room(int fd, size_t limit)
{
    struct statx status;
    size_t size = 0;

    if (torc_fstatx(fd, STATX_SIZE, &status) == 0)
        size = status.stx_size;
    if (size == 0)
        size = 4096 - 2;
    return (size < limit ? size + 1 : limit) + 1;
}

/* Read into memory that grows as it turns out to be needed. Whatever happens, *data is to free. */
static int load(int fd, size_t limit, char **data, size_t *length)
{
    size_t room = first_room(fd, limit);

    for (;;) {
        char *larger = realloc(*data, room);
        ssize_t count;

        if (larger == NULL)
            return -ENOMEM;
        *data = larger;
        count = read_to_end(fd, larger + *length, room - 1 - *length);
        if (count < 0)
            return (int)count;
        *length += (size_t)count;
        larger[*length] = '\0';
        if (*length < room - 1)
            return 0;
        if (*length == limit)
            return expect_end(fd);
        room = room > limit / 2 ? limit + 1 : 2 * room;
    }
}

int torc_load_file(const char *path, size_t limit, char **ret_data, size_t *ret_length)
{
    char *data = NULL;
    size_t length = 0;
    int fd;
    int result;

    if (limit >= SIZE_MAX)
        limit = SIZE_MAX - 1;
    fd = torc_open(path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    result = load(fd, limit, &data, &length);
    (void)torc_close(fd);
    if (result < 0) {
        free(data);
        return result;
    }
    *ret_data = data;
    *ret_length = length;
    return 0;
}

/* ---- Replacing ---- */

#define NAMES_MAX 100 /* tried for a temporary file */

struct replacement {
    const char *path;
    size_t directory_length; /* of `path`, with the last slash */
    int fd;
    char temporary[PATH_MAX];
};

/* Beside the file. */
static int name_temporary(struct replacement *replacement)
{
    const size_t length = replacement->directory_length;

    if (length + TEMPORARY_LENGTH + 1 > sizeof(replacement->temporary))
        return -ENAMETOOLONG;
    memcpy(replacement->temporary, replacement->path, length);
    torc__temporary_name(replacement->temporary + length);
    return 0;
}

static int begin_replacing(struct replacement *replacement, const char *path, mode_t mode)
{
    const char *slash = strrchr(path, '/');
    int result = -EEXIST;

    replacement->path = path;
    replacement->directory_length = slash == NULL ? 0 : (size_t)(slash + 1 - path);
    for (int i = 0; i < NAMES_MAX && result == -EEXIST; i++) {
        result = name_temporary(replacement);
        if (result == 0)
            result = torc_open(replacement->temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
        if (torc__is_disturbed(result)) {
            (void)torc_unlink(replacement->temporary); /* It may have come to be. */
            result = -EEXIST;
        }
    }
    replacement->fd = result;
    return result < 0 ? result : 0;
}

/* Remove the temporary file, of which the caller's scope may want no more. */
static void give_up_replacing(const struct replacement *replacement)
{
    struct torc_scope shield;

    torc_scope_open(&shield, TORC_SHIELD);
    (void)torc_close(replacement->fd);
    (void)torc_unlink(replacement->temporary);
    (void)torc_scope_close(&shield);
}

/*
 * The new name survives a crash once the directory has been written, which some file systems have
 * no need of, and which takes the right to read it.
 */
static int synchronise_directory(struct replacement *replacement)
{
    char *directory = replacement->temporary;
    int fd;
    int result;

    if (replacement->directory_length == 0)
        directory[replacement->directory_length++] = '.';
    directory[replacement->directory_length] = '\0';
    fd = torc_open(directory, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd == -EACCES ? 0 : fd;
    result = torc_fsync(fd);
    (void)torc_close(fd);
    return result == -EINVAL ? 0 : result;
}

/* One that was disturbed may have come through: then nothing is there to rename any more. */
static int rename_temporary(const struct replacement *replacement)
{
    bool disturbed = false;
    int result;

    do {
        result = torc_rename(replacement->temporary, replacement->path);
        disturbed |= torc__is_disturbed(result);
    } while (torc__is_disturbed(result));
    return disturbed && result == -ENOENT ? 0 : result;
}

/* The data are in the temporary file, or `result` says why not. */
static int finish_replacing(struct replacement *replacement, int result)
{
    struct torc_scope shield;

    if (result == 0)
        result = torc_fsync(replacement->fd);
    if (result == 0)
        result = rename_temporary(replacement);
    if (result < 0) {
        give_up_replacing(replacement);
        return result;
    }
    /* It is replaced: no reason of the scope's may say that it is not. */
    torc_scope_open(&shield, TORC_SHIELD);
    result = torc_close(replacement->fd);
    if (result == 0 || torc__is_disturbed(result)) /* It is closed all the same, and was written. */
        result = synchronise_directory(replacement);
    (void)torc_scope_close(&shield);
    return result;
}

int torc_save_file(const char *path, const void *data, size_t length, mode_t mode)
{
    struct replacement replacement;
    int result = begin_replacing(&replacement, path, mode);

    if (result < 0)
        return result;
    result = torc_write_all(replacement.fd, data, length, NULL);
    return finish_replacing(&replacement, result);
}

/* ---- Copying ---- */

/* Copied at a time: long enough to be quick, short enough to be interrupted soon. */
#define COPY_CHUNK ((size_t)16 << 20)

/* By way of our memory, from wherever the two files are. */
static int copy_through_memory(int in, int out)
{
    char buffer[16 * 1024];

    for (;;) {
        ssize_t count = torc_read(in, buffer, sizeof(buffer));
        int result;

        if (count <= 0)
            return (int)count;
        result = torc_write_all(out, buffer, (size_t)count, NULL);
        if (result < 0)
            return result;
    }
}

/*
 * In the kernel, which refuses some pairs of files, and takes those for empty that do not say
 * their size.
 */
static int copy_data(int in, int out)
{
    ssize_t count;

    do {
        count = torc_copy_file_range(in, NULL, out, NULL, COPY_CHUNK);
    } while (count > 0);
    if (count == 0 || count == -EXDEV || count == -EINVAL || count == -EOPNOTSUPP ||
        count == -ENOSYS || count == -EPERM)
        return copy_through_memory(in, out);
    return (int)count;
}

/* Looked at before it is opened, since opening a FIFO might wait for ever. */
static int open_regular(const char *path, mode_t *ret_mode)
{
    struct statx status;
    int result = torc_statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_MODE, &status);

    if (result < 0)
        return result;
    if (!S_ISREG(status.stx_mode))
        return S_ISDIR(status.stx_mode) ? -EISDIR : -EINVAL;
    *ret_mode = status.stx_mode & 0777; /* To run as its owner is no right of the copy's. */
    return torc_open(path, O_RDONLY, 0);
}

int torc_copy_file(const char *from, const char *to)
{
    struct replacement replacement;
    mode_t mode;
    int result;
    int in = open_regular(from, &mode);

    if (in < 0)
        return in;
    result = begin_replacing(&replacement, to, 0600);
    if (result < 0)
        goto close_in;
    result = copy_data(in, replacement.fd);
    if (result == 0)
        result = torc_fchmod(replacement.fd, mode);
    result = finish_replacing(&replacement, result);
close_in:
    (void)torc_close(in);
    return result;
}
