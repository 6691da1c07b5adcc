/* SPDX-License-Identifier: MIT */
/*
 * disk_watch.c - inotify(7) on a simulated disk.
 *
 * A mark ties an inode to an instance; it holds neither. An instance has a queue of events, of
 * which the last is told once only, and which ends in an overflow when it is full.
 */
#include "driver/sim/disk_watch.h"
#include "base/compiler.h"
#include "base/vector.h"
#include "driver/sim/disk_path.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MASK_FLAGS \
    (IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ONESHOT)

struct event {
    struct event *next;
    int number;
    uint32_t mask;
    uint32_t length;                         /* of the name, padded */
    char head[sizeof(struct inotify_event)]; /* all that, as it is read */
    char name[];
};

struct sim_watch {
    struct sim_file file;
    struct sim_watch *next; /* of the disk */
    struct sim_watch **link;
    struct sim_watch_mark *marks;
    int next_number;
    unsigned count;      /* of events */
    bool has_overflowed; /* and that has not been read yet */
    struct event *first;
    struct event **last;
    struct event *newest;
};

struct sim_watch_mark {
    struct sim_watch_mark *next; /* of the instance */
    struct sim_watch_mark *next_of_inode;
    struct sim_watch *instance;
    struct sim_inode *inode;
    int number;
    uint32_t mask;
};

/* ---- Events ---- */

static size_t size_of(const struct event *event)
{
    return sizeof(event->head) + event->length;
}

static void append(struct sim_watch *instance, const struct inotify_event *head, const char *name)
{
    struct event *event = torc__sim_allocate(sizeof(*event) + head->len + 1);

    memcpy(event->head, head, sizeof(*head));
    event->number = head->wd;
    event->mask = head->mask;
    event->length = head->len;
    if (head->len > 0)
        memcpy(event->name, name, strlen(name));
    *instance->last = event;
    instance->last = &event->next;
    instance->newest = event;
    instance->count++;
    torc__sim_notify(&instance->file, POLLIN | POLLRDNORM);
}

static bool is_same(const struct event *event, const struct inotify_event *head, const char *name)
{
    return event != NULL && event->number == head->wd && event->mask == head->mask &&
           event->length == head->len && (head->len == 0 || strcmp(event->name, name) == 0);
}

static void put_event(const struct sim_watch_mark *mark, uint32_t mask, uint32_t cookie,
                      const char *name)
{
    struct sim_watch *instance = mark->instance;
    struct inotify_event head = {.wd = mark->number, .mask = mask, .cookie = cookie};

    if (name != NULL) /* With its NUL, rounded up as the kernel does it. */
        head.len = (uint32_t)((strlen(name) + 1 + sizeof(head) - 1) & ~(sizeof(head) - 1));
    if (is_same(instance->newest, &head, name))
        return;
    if (instance->count < SIM_WATCH_QUEUE_MAX) {
        append(instance, &head, name);
    } else if (!instance->has_overflowed) {
        instance->has_overflowed = true;
        append(instance, &(struct inotify_event){.wd = -1, .mask = IN_Q_OVERFLOW}, NULL);
    }
}

static void free_mark(struct sim_watch_mark *mark)
{
    struct sim_watch_mark **link = &mark->instance->marks;

    while (*link != mark)
        link = &(*link)->next;
    *link = mark->next;
    link = &mark->inode->marks;
    while (*link != mark)
        link = &(*link)->next_of_inode;
    *link = mark->next_of_inode;
    torc__sim_free(mark);
}

static void end_mark(struct sim_watch_mark *mark)
{
    put_event(mark, IN_IGNORED, 0, NULL);
    free_mark(mark);
}

/* Tell all who have a mark on this inode. */
static void tell_marks(struct sim_inode *inode, uint32_t mask, uint32_t cookie, const char *name)
{
    struct sim_watch_mark *next;

    for (struct sim_watch_mark *mark = inode->marks; mark != NULL; mark = next) {
        next = mark->next_of_inode;
        if (!(mark->mask & mask & IN_ALL_EVENTS))
            continue;
        put_event(mark, mask, cookie, name);
        if (mark->mask & IN_ONESHOT)
            end_mark(mark);
    }
}

static uint32_t directory_flag(const struct sim_inode *inode)
{
    return torc__sim_is_directory(inode) ? IN_ISDIR : 0;
}

void torc__sim_tell_name(struct sim_inode *directory, const struct sim_entry *entry,
                         const struct sim_inode *inode, uint32_t mask, uint32_t cookie)
{
    if (directory->marks != NULL)
        tell_marks(directory, mask | directory_flag(inode), cookie, entry->name);
}

/* Who watches a directory hears of what is in it. */
static void tell_directory(struct sim_watch_mark *mark, const struct sim_inode *inode,
                           uint32_t mask)
{
    const struct sim_directory *here = mark->inode->directory;

    for (size_t i = 0; i < here->count; i++) {
        if (here->entries[i]->live != inode)
            continue;
        put_event(mark, mask | directory_flag(inode), 0, here->entries[i]->name);
        if (mark->mask & IN_ONESHOT) {
            end_mark(mark);
            return;
        }
    }
}

void torc__sim_tell_self(struct sim_inode *inode, uint32_t mask)
{
    if (inode->marks != NULL)
        tell_marks(inode, mask & IN_MOVE_SELF ? mask : mask | directory_flag(inode), 0, NULL);
}

void torc__sim_tell_inode(struct sim_inode *inode, uint32_t mask)
{
    struct sim_watch_mark *next;

    for (struct sim_watch *instance = inode->disk->watches; instance != NULL;
         instance = instance->next) {
        for (struct sim_watch_mark *mark = instance->marks; mark != NULL; mark = next) {
            next = mark->next;
            if (mark->inode->directory != NULL && mark->mask & mask)
                tell_directory(mark, inode, mask);
        }
    }
    torc__sim_tell_self(inode, mask);
}

void torc__sim_tell_gone(struct sim_inode *inode)
{
    if (inode->marks != NULL)
        tell_marks(inode, IN_DELETE_SELF, 0, NULL);
    while (inode->marks != NULL)
        end_mark(inode->marks);
}

/* ---- Reading ---- */

static ssize_t read_events(struct sim_file *file, const struct iovec *vector, size_t count,
                           off_t offset, int flags)
{
    struct sim_watch *instance = container_of(file, struct sim_watch, file);
    const size_t size = torc__vector_size(vector, count);
    size_t done = 0;

    (void)offset;
    (void)flags;
    if (instance->first == NULL)
        return -EAGAIN;
    while (instance->first != NULL && size_of(instance->first) <= size - done) {
        struct event *event = instance->first;

        done += torc__sim_vector_fill(vector, count, done, event->head, sizeof(event->head));
        done += torc__sim_vector_fill(vector, count, done, event->name, event->length);
        instance->first = event->next;
        instance->count--;
        if (event->mask & IN_Q_OVERFLOW)
            instance->has_overflowed = false;
        if (instance->first == NULL) {
            instance->last = &instance->first;
            instance->newest = NULL;
        }
        torc__sim_free(event);
    }
    return done > 0 ? (ssize_t)done : -EINVAL;
}

static uint32_t poll_events(struct sim_file *file)
{
    const struct sim_watch *instance = container_of(file, struct sim_watch, file);

    return instance->first != NULL ? POLLIN | POLLRDNORM : 0;
}

static int ioctl_events(struct sim_file *file, unsigned long request, void *arg)
{
    const struct sim_watch *instance = container_of(file, struct sim_watch, file);
    size_t size = 0;

    if (request != FIONREAD)
        return -ENOTTY;
    for (const struct event *event = instance->first; event != NULL; event = event->next)
        size += size_of(event);
    *(int *)arg = (int)size;
    return 0;
}

static void release_events(struct sim_file *file, bool crashed)
{
    struct sim_watch *instance = container_of(file, struct sim_watch, file);

    (void)crashed;
    while (instance->marks != NULL)
        free_mark(instance->marks);
    while (instance->first != NULL) {
        struct event *event = instance->first;

        instance->first = event->next;
        torc__sim_free(event);
    }
    *instance->link = instance->next;
    if (instance->next != NULL)
        instance->next->link = instance->link;
    torc__sim_free(instance);
}

static const struct sim_file_ops inotify_ops = {.kind = "inotify",
                                                .read = read_events,
                                                .poll = poll_events,
                                                .ioctl = ioctl_events,
                                                .release = release_events};

/* ---- Watching ---- */

int torc__sim_inotify_open(struct sim_host *host, int flags, struct sim_file **ret_file)
{
    struct sim_disk *disk = host->disk;
    struct sim_watch *instance;

    if (flags & ~(IN_CLOEXEC | IN_NONBLOCK))
        return -EINVAL;
    instance = torc__sim_allocate(sizeof(*instance));
    torc__sim_file_init(&instance->file, &inotify_ops, host, flags & IN_NONBLOCK);
    instance->last = &instance->first;
    instance->next_number = 1;
    instance->link = &disk->watches;
    instance->next = disk->watches;
    if (instance->next != NULL)
        instance->next->link = &instance->next;
    disk->watches = instance;
    *ret_file = &instance->file;
    return 0;
}

static struct sim_watch_mark *find_mark(const struct sim_watch *instance,
                                        const struct sim_inode *inode)
{
    struct sim_watch_mark *mark = inode->marks;

    while (mark != NULL && mark->instance != instance)
        mark = mark->next_of_inode;
    return mark;
}

static struct sim_watch_mark *make_mark(struct sim_watch *instance, struct sim_inode *inode)
{
    struct sim_watch_mark *mark = torc__sim_allocate(sizeof(*mark));

    *mark = (struct sim_watch_mark){.instance = instance,
                                    .inode = inode,
                                    .number = instance->next_number++,
                                    .next = instance->marks,
                                    .next_of_inode = inode->marks};
    instance->marks = mark;
    inode->marks = mark;
    return mark;
}

int torc__sim_inotify_add(struct sim_file *file, const char *path, uint32_t mask)
{
    struct sim_watch *instance = container_of(file, struct sim_watch, file);
    struct sim_watch_mark *mark;
    struct sim_inode *inode;
    int result;

    if (file->ops != &inotify_ops || !(mask & (IN_ALL_EVENTS | MASK_FLAGS)) ||
        (mask & (IN_MASK_ADD | IN_MASK_CREATE)) == (IN_MASK_ADD | IN_MASK_CREATE))
        return -EINVAL;
    result = torc__sim_find(file->host->disk, AT_FDCWD, path,
                            mask & IN_DONT_FOLLOW ? AT_SYMLINK_NOFOLLOW : 0, &inode);
    if (result < 0)
        return result;
    if ((mask & IN_ONLYDIR) && !torc__sim_is_directory(inode))
        return -ENOTDIR;
    result = torc__sim_inode_permits(inode, R_OK);
    if (result < 0)
        return result;
    mark = find_mark(instance, inode);
    if (mark != NULL && (mask & IN_MASK_CREATE))
        return -EEXIST;
    if (mark == NULL)
        mark = make_mark(instance, inode);
    mark->mask = (mask & IN_MASK_ADD ? mark->mask : 0) | (mask & (IN_ALL_EVENTS | IN_ONESHOT));
    return mark->number;
}

int torc__sim_inotify_remove(struct sim_file *file, int number)
{
    struct sim_watch *instance = container_of(file, struct sim_watch, file);
    struct sim_watch_mark *mark;

    if (file->ops != &inotify_ops)
        return -EINVAL;
    mark = instance->marks;
    while (mark != NULL && mark->number != number)
        mark = mark->next;
    if (mark == NULL)
        return -EINVAL;
    end_mark(mark);
    return 0;
}
