/* SPDX-License-Identifier: MIT */
/*
 * view.c - look at the runtime of another process.
 *
 * Its page is found among its descriptors. Nothing on it is believed: the process may be hostile to
 * whoever looks, who may be root. So it has to be sealed, and what sizes are is read once.
 */
#include "base/clock.h"
#include "shard/page.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <torc/time.h>
#include <unistd.h>

#define ANSWER_NS   NS_PER_SECOND
#define PATIENCE_NS (NS_PER_SECOND / 20)
#define COPIES_MAX  1000u

/* A memfd of another process, mapped. */
struct found {
    void *memory;
    size_t size;
    int fd;
    int fd_there; /* its number in that process */
};

struct torc_view {
    pid_t pid;
    int pidfd;          /* -1 where there are none */
    struct found found; /* the page, and the descriptor by which it is locked */
    struct torc__page *page;
    bool has_lock;
    unsigned shard_count;
    uint64_t owner;
    uint64_t time_ns;
    unsigned name_count;
    char driver[sizeof(((struct torc__page *)NULL)->driver) + 1];
    struct torc_name_stats names[PAGE_NAMES];
    struct torc_stats stats[];
};

static void forget(const struct found *found)
{
    munmap(found->memory, found->size);
    close(found->fd);
}

/* ---- Finding memory ---- */

static bool is_sealed(int fd)
{
    const int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & F_SEAL_SHRINK);
}

static int map_found(int folder, const char *name, size_t least, struct found *ret_found)
{
    const int fd = openat(folder, name, O_RDWR | O_CLOEXEC);
    struct stat status;
    void *memory = MAP_FAILED;

    if (fd < 0)
        return -errno;
    if (is_sealed(fd) && fstat(fd, &status) == 0 && (size_t)status.st_size >= least)
        memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        close(fd);
        return -EPROTO;
    }
    *ret_found = (struct found){.memory = memory,
                                .size = (size_t)status.st_size,
                                .fd = fd,
                                .fd_there = (int)strtol(name, NULL, 10)};
    return 0;
}

/* 1 or 0; -EACCES if we are not to know: the folder can be read by more than its links can. */
static int is_memfd(int folder, const char *name, const char *wanted)
{
    char target[64];
    const ssize_t length = readlinkat(folder, name, target, sizeof(target) - 1);

    if (length <= 0)
        return length < 0 && errno == EACCES ? -EACCES : 0;
    target[length] = '\0';
    return strcmp(target, wanted) == 0;
}

/* Whether a memfd is the one that is looked for: 1, 0, or an error that is told if none is. */
typedef int accept_fn(const struct found *found, void *arg);

/* Find a memfd of that name which is accepted. -ENOENT if there is none at all. */
static int find_memory(pid_t pid, const char *name, size_t least, accept_fn *accepts, void *arg,
                       struct found *ret_found)
{
    char path[64];
    char target[64];
    const struct dirent *entry;
    int result = -ENOENT;
    DIR *folder;

    (void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    (void)snprintf(target, sizeof(target), "/memfd:%s (deleted)", name);
    folder = opendir(path);
    if (folder == NULL)
        return errno == ENOENT ? -ESRCH : -errno;
    while (result != 1 && (errno = 0, entry = readdir(folder)) != NULL) {
        int status = is_memfd(dirfd(folder), entry->d_name, target);

        if (status > 0)
            status = map_found(dirfd(folder), entry->d_name, least, ret_found);
        else if (status == 0)
            continue;
        if (status == 0) {
            status = accepts(ret_found, arg);
            if (status != 1)
                forget(ret_found);
        }
        result = status != 0 ? status : result;
    }
    if (result == -ENOENT && errno != 0)
        result = -errno; /* The folder could be opened, and not read. */
    closedir(folder);
    return result == 1 ? 0 : result;
}

/* ---- Opening ---- */

struct wanted {
    unsigned number; /* so many others come before it */
    uint32_t pid;
};

static int accepts_page(const struct found *found, void *arg)
{
    struct wanted *wanted = arg;
    const struct torc__page *page = found->memory;
    const unsigned count = PEEK(page->shard_count);

    if (page->magic != PAGE_MAGIC)
        return 0;
    if (page->pid != wanted->pid)
        return 0; /* A parent's, inherited. */
    if (page->version != PAGE_VERSION || page->stats_size != sizeof(struct torc_stats) ||
        page->name_size != sizeof(struct torc_name_stats) || count > PAGE_SHARDS_MAX ||
        found->size != torc__page_size(count))
        return -EPROTO;
    if (page->fd != found->fd_there)
        return 0; /* A view's. */
    return wanted->number-- == 0;
}

/* What a process is called in its own namespace, which is the last number in "NSpid:". */
static uint32_t own_pid(pid_t pid)
{
    char path[64];
    char line[256];
    uint32_t result = (uint32_t)pid;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "NSpid:", 6) == 0 && strrchr(line, '\t') != NULL)
            result = (uint32_t)strtoul(strrchr(line, '\t'), NULL, 10);
    }
    if (file != NULL)
        fclose(file);
    return result;
}

int torc_view_open(pid_t pid, unsigned number, struct torc_view **ret_view)
{
    struct wanted wanted = {.number = number, .pid = own_pid(pid)};
    const int saved = errno;
    struct torc_view *view;
    struct found found;
    unsigned count;
    int result =
        find_memory(pid, PAGE_FD_NAME, sizeof(struct torc__page), accepts_page, &wanted, &found);

    errno = saved;
    if (result < 0)
        return result;
    count = (unsigned)((found.size - torc__page_size(0)) / sizeof(struct torc_stats));
    view = calloc(1, sizeof(*view) + count * sizeof(view->stats[0]));
    if (view == NULL) {
        forget(&found);
        return -ENOMEM;
    }
    view->pid = pid;
    view->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    view->page = found.memory;
    view->found = found;
    view->shard_count = count;
    view->owner = view->page->owner;
    errno = saved;
    *ret_view = view;
    return 0;
}

void torc_view_close(struct torc_view *view)
{
    if (view == NULL)
        return;
    if (view->pidfd >= 0)
        close(view->pidfd);
    forget(&view->found);
    free(view);
}

/* ---- Asking ---- */

bool torc_view_has_ended(const struct torc_view *view)
{
    struct pollfd process = {.fd = view->pidfd, .events = POLLIN};
    const int saved = errno;
    const bool has_ended = atomic_load(&view->page->ended) != 0 || poll(&process, 1, 0) > 0;

    errno = saved;
    return has_ended;
}

static int await_answer(struct torc_view *view, uint32_t number)
{
    const struct timespec timeout = {.tv_nsec = (long)PATIENCE_NS};
    const uint64_t until_ns = torc__clock_now() + ANSWER_NS;

    for (;;) {
        const uint32_t answered = atomic_load(&view->page->answered);

        /* Or a later one: several may ask. */
        if ((int32_t)(answered - number) >= 0)
            return 0;
        if (torc_view_has_ended(view))
            return -ENOENT;
        if (torc__clock_now() >= until_ns)
            return -ETIMEDOUT;
        (void)syscall(SYS_futex, &view->page->answered, FUTEX_WAIT, answered, &timeout, NULL, 0);
    }
}

static int ask(struct torc_view *view, uint32_t command)
{
    struct torc__page *page = view->page;
    const int saved = errno;
    uint32_t number;
    int result;

    if (command != PAGE_NOTHING)
        atomic_store(&page->command, command);
    number = atomic_fetch_add(&page->asked, 1) + 1;
    atomic_fetch_add(&page->bell, 1);
    (void)syscall(SYS_futex, &page->bell, FUTEX_WAKE, 1, NULL, NULL, 0);
    result = await_answer(view, number);
    if (result == 0 && command != PAGE_NOTHING)
        result = atomic_load(&page->command_result);
    else if (result == -ETIMEDOUT) /* Nobody would want it done later. */
        (void)atomic_compare_exchange_strong(&page->command, &command, PAGE_NOTHING);
    errno = saved;
    return result <= 0 ? result : -EPROTO;
}

/* Copy the answer. False if it was being written. */
static bool copy_answer(struct torc_view *view)
{
    const struct torc__page *page = view->page;
    const uint32_t sequence = atomic_load(&page->sequence);

    if (sequence & 1)
        return false;
    memcpy(view->stats, page->shards, view->shard_count * sizeof(view->stats[0]));
    memcpy(view->names, page->names, sizeof(view->names));
    memcpy(view->driver, page->driver, sizeof(page->driver));
    view->name_count = PEEK(page->name_count);
    view->time_ns = page->time_ns;
    atomic_thread_fence(memory_order_acquire);
    return atomic_load(&page->sequence) == sequence;
}

int torc_view_refresh(struct torc_view *view)
{
    const int result = ask(view, PAGE_NOTHING);
    unsigned tries = 0;

    if (result < 0)
        return result;
    while (!copy_answer(view)) {
        if (++tries == COPIES_MAX)
            return -ETIMEDOUT;
        torc__cpu_relax();
    }
    view->name_count = view->name_count < PAGE_NAMES ? view->name_count : PAGE_NAMES;
    for (unsigned i = 0; i < view->name_count; i++)
        view->names[i].name[sizeof(view->names[i].name) - 1] = '\0';
    return 0;
}

/* ---- What was read ---- */

unsigned torc_view_shard_count(const struct torc_view *view)
{
    return view->shard_count;
}

const char *torc_view_driver(const struct torc_view *view)
{
    return view->driver;
}

uint64_t torc_view_time(const struct torc_view *view)
{
    return view->time_ns;
}

const struct torc_stats *torc_view_stats(const struct torc_view *view, unsigned shard)
{
    return &view->stats[shard < view->shard_count ? shard : 0];
}

unsigned torc_view_names(const struct torc_view *view, const struct torc_name_stats **ret_names)
{
    *ret_names = view->names;
    return view->name_count;
}

/* ---- Traces ---- */

/*
 * There is one command on the page, and one trace; so who records has a lock on the page's memfd
 * (flock(2)) from the start to the end, which the kernel takes away from those that die. Each tool
 * has opened the memfd anew, so the locks are its own.
 */
static int lock(struct torc_view *view)
{
    const int saved = errno;

    if (view->has_lock)
        return 0;
    view->has_lock = flock(view->found.fd, LOCK_EX | LOCK_NB) == 0;
    errno = saved;
    return view->has_lock ? 0 : -EBUSY;
}

static void unlock(struct torc_view *view)
{
    const int saved = errno;

    (void)flock(view->found.fd, LOCK_UN);
    view->has_lock = false;
    errno = saved;
}

int torc_view_trace_start(struct torc_view *view, uint32_t events, uint32_t duration_ms)
{
    const bool was_ours = view->has_lock;
    int result = lock(view);

    if (result < 0)
        return result;
    atomic_store(&view->page->trace_events, events);
    atomic_store(&view->page->trace_ms, duration_ms);
    result = ask(view, PAGE_TRACE_START);
    if (result < 0 && !was_ours) /* Else its older trace goes on. */
        unlock(view);
    return result;
}

int torc_view_trace_stop(struct torc_view *view)
{
    const bool was_ours = view->has_lock;
    int result = lock(view);

    if (result == 0)
        result = ask(view, PAGE_TRACE_STOP);
    if (!was_ours)
        unlock(view);
    return result;
}

int torc_view_trace_drop(struct torc_view *view)
{
    int result = lock(view);

    if (result == 0)
        result = ask(view, PAGE_TRACE_DROP);
    unlock(view);
    return result;
}

struct wanted_trace {
    uint64_t owner;
    struct torc__trace_shape shape;
};

static int accepts_trace(const struct found *found, void *arg)
{
    struct wanted_trace *wanted = arg;
    const struct torc__trace_area *area = found->memory;

    return torc__trace_is_valid(area, found->size, &wanted->shape) && area->owner == wanted->owner;
}

static int write_out(void *arg, const void *data, size_t size)
{
    const char *from = data;
    const int fd = *(const int *)arg;

    while (size > 0) {
        const ssize_t count = write(fd, from, size);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        from += count;
        size -= (size_t)count;
    }
    return 0;
}

int torc_view_trace_write(struct torc_view *view, int fd)
{
    struct wanted_trace wanted = {.owner = view->owner};
    const int saved = errno;
    struct found found;
    int result = find_memory(view->pid, TRACE_FD_NAME, sizeof(struct torc__trace_area),
                             accepts_trace, &wanted, &found);

    if (result == 0) {
        result = torc__trace_to_json(found.memory, wanted.shape, write_out, &fd);
        forget(&found);
    }
    errno = saved;
    return result == -ENOENT || result == -ESRCH ? -ENODATA : result;
}
