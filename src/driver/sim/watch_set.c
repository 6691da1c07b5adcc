/* SPDX-License-Identifier: MIT */
/*
 * watch_set.c - sets of watched files.
 *
 * A watch waits at its file without a reference of its own: as in the kernel it ends when the last
 * descriptor of the file is closed.
 */
#include "driver/sim/watch_set.h"
#include "base/compiler.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct watch {
    struct sim_waiter waiter;
    struct watch_set *set;
    struct watch *next; /* in the order in which they were added; those taken go to the end */
    int fd;
    uint32_t events;
    bool is_new; /* something has happened, for an edge-triggered one */
    uint64_t key;
};

struct watch_set {
    struct sim_file file;
    struct watch *first;
};

static const struct sim_file_ops set_ops;

static struct watch_set *to_set(struct sim_file *file)
{
    return file->ops == &set_ops ? container_of(file, struct watch_set, file) : NULL;
}

static uint32_t ready_events(const struct watch *watch)
{
    const uint32_t wanted = watch->events | EPOLLERR | EPOLLHUP;

    if ((watch->events & EPOLLET) && !watch->is_new)
        return 0;
    if ((watch->events & ~(uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE)) == 0)
        return 0; /* One that was told once. */
    return torc__sim_file_poll(watch->waiter.file) & wanted & 0xffffu;
}

static void noticed(struct sim_waiter *waiter, uint32_t events)
{
    struct watch *watch = container_of(waiter, struct watch, waiter);

    (void)events;
    watch->is_new = true;
    torc__sim_notify(&watch->set->file, POLLIN);
}

static struct watch **find(struct watch_set *set, int fd, const struct sim_file *file)
{
    struct watch **link = &set->first;

    while (*link != NULL && ((*link)->fd != fd || (*link)->waiter.file != file))
        link = &(*link)->next;
    return *link != NULL ? link : NULL;
}

static void end(struct watch **link)
{
    struct watch *watch = *link;

    *link = watch->next;
    torc__sim_wait_end(&watch->waiter);
    free(watch);
}

static int add(struct watch_set *set, int fd, struct sim_file *file,
               const struct epoll_event *event)
{
    struct watch **last = &set->first;
    struct watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL)
        return -ENOMEM;
    while (*last != NULL)
        last = &(*last)->next;
    *last = watch;
    *watch = (struct watch){
        .set = set, .fd = fd, .events = event->events, .is_new = true, .key = event->data.u64};
    torc__sim_wait_begin(&watch->waiter, file, event->events, noticed);
    watch->waiter.is_weak = true;
    torc__sim_file_release(file);
    return 0;
}

int torc__sim_watch_control(struct sim_file *set_file, int operation, int fd,
                            const struct epoll_event *event)
{
    struct watch_set *set = to_set(set_file);
    struct sim_file *file = torc__sim_fd_file(set_file->host, fd);
    struct watch **found;
    int result;

    if (file == NULL)
        return -EBADF;
    if (set == NULL || file == set_file)
        return -EINVAL;
    if (file->ops->traits & (SIM_SEEKABLE | SIM_DIRECTORY))
        return -EPERM;
    found = find(set, fd, file);
    if (operation == EPOLL_CTL_ADD) {
        result = found != NULL ? -EEXIST : add(set, fd, file, event);
    } else if (found == NULL) {
        return -ENOENT;
    } else if (operation == EPOLL_CTL_DEL) {
        end(found);
        return 0;
    } else {
        (*found)->events = event->events;
        (*found)->waiter.events = event->events | POLLERR | POLLHUP;
        (*found)->key = event->data.u64;
        (*found)->is_new = true;
        result = 0;
    }
    if (result == 0)
        torc__sim_notify(set_file, POLLIN);
    return result;
}

int torc__sim_watch_take(struct sim_file *file, struct epoll_event *events, unsigned capacity)
{
    struct watch_set *set = to_set(file);
    struct watch *taken = NULL;
    struct watch **last_taken = &taken;
    struct watch **link;
    unsigned count = 0;

    if (set == NULL)
        return -EINVAL;
    link = &set->first;
    while (*link != NULL && count < capacity) {
        struct watch *watch = *link;
        const uint32_t ready = ready_events(watch);

        if (ready == 0) {
            link = &watch->next;
            continue;
        }
        events[count++] = (struct epoll_event){.events = ready, .data.u64 = watch->key};
        watch->is_new = false;
        if (watch->events & EPOLLONESHOT)
            watch->events = EPOLLONESHOT;
        *link = watch->next; /* It stands last from now on, so that all have their turn. */
        watch->next = NULL;
        *last_taken = watch;
        last_taken = &watch->next;
    }
    while (*link != NULL)
        link = &(*link)->next;
    *link = taken;
    return (int)count;
}

static uint32_t set_poll(struct sim_file *file)
{
    const struct watch_set *set = to_set(file);

    for (const struct watch *watch = set->first; watch != NULL; watch = watch->next) {
        if (ready_events(watch) != 0)
            return POLLIN | POLLRDNORM;
    }
    return 0;
}

static void set_release(struct sim_file *file, bool crashed)
{
    struct watch_set *set = to_set(file);

    (void)crashed;
    while (set->first != NULL)
        end(&set->first);
    free(set);
}

static const struct sim_file_ops set_ops = {
    .kind = "epoll",
    .poll = set_poll,
    .release = set_release,
};

int torc__sim_watch_open(struct sim_host *host, struct sim_file **ret_file)
{
    struct watch_set *set = calloc(1, sizeof(*set));

    if (set == NULL)
        return -ENOMEM;
    torc__sim_file_init(&set->file, &set_ops, host, 0);
    *ret_file = &set->file;
    return 0;
}

void torc__sim_watch_forget(struct sim_file *file)
{
    struct sim_waiter *waiter = file->waiters_first;

    while (waiter != NULL) {
        struct sim_waiter *next = waiter->next;

        if (waiter->notice == noticed) {
            struct watch *watch = container_of(waiter, struct watch, waiter);
            struct watch **link = &watch->set->first;

            while (*link != watch)
                link = &(*link)->next;
            end(link);
        }
        waiter = next;
    }
}
