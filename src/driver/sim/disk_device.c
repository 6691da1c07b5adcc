/* SPDX-License-Identifier: MIT */
/*
 * disk_device.c - files whose content is nowhere: devices, and those of /proc.
 */
#include "driver/sim/disk_device.h"
#include "base/compiler.h"
#include "driver/sim/disk_names.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MEMORY_MAJOR 1u /* of the devices below */
#define CONTENT_MAX  16384u

enum device {
    DEVICE_NULL = 3,
    DEVICE_ZERO = 5,
    DEVICE_FULL = 7,
    DEVICE_RANDOM = 8,
    DEVICE_URANDOM = 9,
};

/* ---- Reading and writing ---- */

static ssize_t fill(const struct sim_disk_file *file, const struct iovec *vector, size_t count,
                    bool is_random)
{
    struct sim_world *world = file->inode->disk->world;
    size_t done = 0;

    for (size_t i = 0; i < count; i++) {
        uint8_t *to = vector[i].iov_base;

        if (vector[i].iov_len > 0 && !is_random)
            memset(to, 0, vector[i].iov_len);
        for (size_t j = 0; is_random && j < vector[i].iov_len; j++)
            to[j] = (uint8_t)torc__sim_random(world);
        done += vector[i].iov_len;
    }
    return (ssize_t)done;
}

ssize_t torc__sim_device_read(const struct sim_disk_file *file, const struct iovec *vector,
                              size_t count, uint64_t offset)
{
    if (file->content != NULL) {
        if (offset >= file->content_size)
            return 0;
        return (ssize_t)torc__sim_vector_fill(vector, count, 0, file->content + offset,
                                              file->content_size - offset);
    }
    switch (minor(file->inode->device)) {
    case DEVICE_NULL:
        return 0;
    case DEVICE_RANDOM:
    case DEVICE_URANDOM:
        return fill(file, vector, count, true);
    default:
        return fill(file, vector, count, false);
    }
}

ssize_t torc__sim_device_write(const struct sim_disk_file *file, size_t size)
{
    if (file->content != NULL)
        return -EINVAL; /* Nothing there can be set. */
    return minor(file->inode->device) == DEVICE_FULL && size > 0 ? -ENOSPC : (ssize_t)size;
}

/* ---- What /proc tells ---- */

/* Where text is being put together. */
struct text {
    char *to;
    size_t size;
    size_t length;
};

static void put(struct text *text, const char *line)
{
    const size_t length = strlen(line);

    if (text->length + length > text->size)
        return;
    memcpy(text->to + text->length, line, length);
    text->length += length;
}

static void put_number(struct text *text, uint64_t number)
{
    char digits[21];
    size_t at = sizeof(digits) - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put(text, digits + at);
}

static size_t make_status(struct sim_host *host, char *to, size_t size)
{
    static const char *const ids[] = {"Uid:", "Gid:"};
    struct text text = {.to = to, .size = size};

    put(&text, "Name:\t");
    put(&text, host->name);
    put(&text, "\nUmask:\t0022\nState:\tR (running)\nTgid:\t1\nNgid:\t0\nPid:\t1\nPPid:\t0\n"
               "TracerPid:\t0\n");
    for (unsigned i = 0; i < 2; i++) {
        put(&text, ids[i]);
        for (unsigned j = 0; j < 4; j++) {
            put(&text, "\t");
            put_number(&text, i == 0 ? host->disk->user : host->disk->group);
        }
        put(&text, "\n");
    }
    put(&text, "FDSize:\t");
    put_number(&text, host->file_room);
    put(&text, "\nThreads:\t1\n");
    return text.length;
}

/* Nothing is mapped that is worth telling; but readers want it to be long. */
static size_t make_maps(struct sim_host *host, char *to, size_t size)
{
    struct text text = {.to = to, .size = size};

    (void)host;
    for (unsigned i = 0; i < 100; i++) {
        put(&text, "7f0000");
        put_number(&text, 100000 + 2 * i);
        put(&text, "-7f0000");
        put_number(&text, 100001 + 2 * i);
        put(&text, " r--p 00000000 00:00 0 \n");
    }
    return text.length;
}

static size_t make_mounts(struct sim_host *host, char *to, size_t size)
{
    struct text text = {.to = to, .size = size};

    put(&text, "disk / sim ");
    put(&text, host->disk->is_read_only ? "ro" : "rw");
    put(&text, ",relatime 0 0\n");
    return text.length;
}

static size_t make_queue_limit(struct sim_host *host, char *to, size_t size)
{
    struct text text = {.to = to, .size = size};

    (void)host;
    put_number(&text, SIM_WATCH_QUEUE_MAX);
    put(&text, "\n");
    return text.length;
}

void torc__sim_content_make(struct sim_disk_file *file)
{
    if (file->inode->generator == NULL)
        return;
    file->content = torc__sim_allocate(CONTENT_MAX);
    file->content_size =
        file->inode->generator->make(file->inode->disk->host, file->content, CONTENT_MAX);
}

/* ---- Making ---- */

static struct sim_inode *make(struct sim_disk *disk, const char *path, mode_t mode)
{
    struct sim_walk walk;
    struct sim_inode *inode = NULL;

    if (torc__sim_walk_init(&walk, disk, -1, path, 0) == 0 && torc__sim_walk_parent(&walk) == 0) {
        inode = torc__sim_inode_create(disk, mode);
        torc__sim_add_name(&walk, inode);
        torc__sim_inode_release(inode); /* It has a name now. */
    }
    return inode;
}

void torc__sim_devices_make(struct sim_disk *disk)
{
    static const struct {
        const char *path;
        enum device device;
    } devices[] = {{"/dev/null", DEVICE_NULL},
                   {"/dev/zero", DEVICE_ZERO},
                   {"/dev/full", DEVICE_FULL},
                   {"/dev/random", DEVICE_RANDOM},
                   {"/dev/urandom", DEVICE_URANDOM}};
    static const char *const directories[] = {"/dev",      "/proc",        "/proc/self",
                                              "/proc/sys", "/proc/sys/fs", "/proc/sys/fs/inotify"};
    static const struct {
        const char *path;
        struct sim_generator generator;
    } files[] = {{"/proc/self/status", {make_status}},
                 {"/proc/self/maps", {make_maps}},
                 {"/proc/self/mounts", {make_mounts}},
                 {"/proc/mounts", {make_mounts}},
                 {"/proc/sys/fs/inotify/max_queued_events", {make_queue_limit}}};

    for (size_t i = 0; i < ARRAY_LENGTH(directories); i++)
        (void)make(disk, directories[i], S_IFDIR | 0755);
    for (size_t i = 0; i < ARRAY_LENGTH(devices); i++)
        make(disk, devices[i].path, S_IFCHR | 0666)->device =
            makedev(MEMORY_MAJOR, devices[i].device);
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++)
        make(disk, files[i].path, S_IFREG | 0444)->generator = &files[i].generator;
}
