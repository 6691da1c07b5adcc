/* SPDX-License-Identifier: MIT */
/*
 * fs_watch.c - what changes in a tree of directories.
 *
 * The kernel watches directories one by one, and tells by a number, of which a table says what
 * path it is. A directory is watched first and then read, so that what is made in it meanwhile is
 * told by the one or by the other.
 *
 * To read a directory gives events, too: with a large tree they are an overflow, after which all
 * has to be read again. So while the whole tree is read its directories are watched without these.
 *
 * A rename in the tree is two events. After the first it is not known yet that the directory stays:
 * so whether the second has come is asked when there is something to tell of it, or of another one.
 * If not, it is forgotten. What has happened below it comes under the same numbers as before.
 *
 * torc_fs_watch_next() can be interrupted anywhere and goes on there: an event leaves the buffer
 * only when all that it brings about has been done, and so does an entry of a scan.
 */
#include "base/compiler.h"
#include "driver/thread.h"
#include "io/blocking.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <torc/dir.h>
#include <torc/fs.h>
#include <torc/fs_watch.h>
#include <torc/io.h>
#include <unistd.h>

#define BUCKETS 256u /* Chains of some hundred entries are still short beside a system call. */

/* What reading a directory brings about. */
#define READING_EVENTS ((uint32_t)(IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE))

/* A directory that is watched. */
struct node {
    struct node *next; /* in its bucket */
    int number;        /* the kernel's */
    unsigned pass;     /* the reading of the whole tree in or since which it was last found */
    bool is_read;      /* what was in it when it came has been told, or is being told */
    bool is_partly;    /* watched without the events of reading it, which the caller wants */
    uint8_t depth;     /* deeper than a walk goes: what is below has to be read, see node_depth */
    char path[];       /* from the root, which is "" */
};

enum node_depth {
    DEPTH_REACHED,
    DEPTH_TELL,   /* what is below is to be told, when it is read */
    DEPTH_SILENT, /* and here not, since the whole tree is being read */
};

enum scan_state {
    SCAN_NONE,
    SCAN_READING, /* takes the next entry */
    SCAN_TAKEN,   /* has one, with which it is not done */
};

struct torc_fs_watch {
    int fd;
    uint32_t mask; /* what the caller wants to know */
    int root;      /* the number of the root, -1 once it is gone */
    unsigned pass; /* counts readings of the whole tree */
    struct node *buckets[BUCKETS];
    unsigned partly;      /* how many are watched so */
    unsigned deep;        /* how many are deeper than has been read */
    unsigned next_bucket; /* where to look for both */
    /* Events read and not told, [at, filled). */
    uint32_t at;
    uint32_t filled;
    _Alignas(struct inotify_event) char buffer[4096];
    bool has_overflowed; /* which is to be told when the tree has been read */
    /* A directory that was moved from `moved`, and has not come back yet. */
    uint32_t moved_cookie; /* of the event; 0: none */
    char moved[PATH_MAX];
    /* A tree that is being read. */
    enum scan_state scan;
    bool is_silent; /* it is the whole tree, and its entries are not told */
    uint32_t top_length;
    struct torc_walk walk;
    struct torc_walk_entry entry;
    char base[PATH_MAX]; /* the absolute path of the root */
    char path[PATH_MAX]; /* what is told, from the root */
    char full[PATH_MAX]; /* the same, absolute: for system calls */
};

/* ---- Directories watched ---- */

static struct node **find(struct torc_fs_watch *watch, int number)
{
    struct node **link = &watch->buckets[(unsigned)number % BUCKETS];

    while (*link != NULL && (*link)->number != number)
        link = &(*link)->next;
    return link;
}

static void set_partly(struct torc_fs_watch *watch, struct node *node, bool is_partly)
{
    watch->partly += (unsigned)is_partly - (unsigned)node->is_partly;
    node->is_partly = is_partly;
}

static void set_depth(struct torc_fs_watch *watch, struct node *node, enum node_depth depth)
{
    watch->deep += (unsigned)(depth != DEPTH_REACHED) - (unsigned)(node->depth != DEPTH_REACHED);
    node->depth = (uint8_t)depth;
}

static void remove_node(struct torc_fs_watch *watch, struct node **link)
{
    struct node *node = *link;

    set_partly(watch, node, false);
    set_depth(watch, node, DEPTH_REACHED);
    *link = node->next;
    free(node);
}

/* The directory with a number has that path. 0 or -ENOMEM. */
static int note(struct torc_fs_watch *watch, int number, const char *path, struct node **ret_node)
{
    struct node **link = find(watch, number);
    const size_t size = strlen(path) + 1;
    struct node *node = *link;

    if (node == NULL || strcmp(node->path, path) != 0) {
        node = malloc(sizeof(*node) + size);
        if (node == NULL)
            return -ENOMEM;
        if (*link != NULL)
            remove_node(watch, link);
        node->next = *link;
        node->number = number;
        node->is_read = false;
        node->is_partly = false;
        node->depth = DEPTH_REACHED;
        memcpy(node->path, path, size);
        *link = node;
    }
    node->pass = watch->pass;
    *ret_node = node;
    return 0;
}

static bool is_below(const char *path, const char *top, size_t top_length)
{
    return strncmp(path, top, top_length) == 0 &&
           (path[top_length] == '\0' || path[top_length] == '/');
}

/*
 * Directories have left the tree: what happens in them is no concern any more. They are those at
 * `path` and below; if that is NULL, those that were not found when the whole tree was read.
 */
static void forget(struct torc_fs_watch *watch, const char *path)
{
    const size_t length = path != NULL ? strlen(path) : 0;
    const int saved = errno;

    for (unsigned i = 0; i < BUCKETS; i++) {
        struct node **link = &watch->buckets[i];

        while (*link != NULL) {
            const struct node *node = *link;

            if (path != NULL ? is_below(node->path, path, length) : node->pass != watch->pass) {
                (void)torc__system_call(/* Never waits. */
                                        SYS_inotify_rm_watch,
                                        (uintptr_t[6]){(uintptr_t)watch->fd,
                                                       (uintptr_t)node->number});
                remove_node(watch, link);
            } else {
                link = &(*link)->next;
            }
        }
    }
    errno = saved;
}

/* What was at `from` and below is at `to` by now. 0, or -ENOMEM with a part of it done. */
static int rename_nodes(struct torc_fs_watch *watch, const char *from, const char *to)
{
    const size_t from_length = strlen(from);
    const size_t to_length = strlen(to);

    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct node **link = &watch->buckets[i]; *link != NULL; link = &(*link)->next) {
            struct node *node = *link;
            const char *rest;
            size_t rest_size;
            struct node *renamed;

            if (!is_below(node->path, from, from_length))
                continue;
            rest = node->path + from_length;
            rest_size = strlen(rest) + 1;
            renamed = malloc(sizeof(*node) + to_length + rest_size);
            if (renamed == NULL)
                return -ENOMEM;
            *renamed = *node;
            memcpy(renamed->path, to, to_length);
            memcpy(renamed->path + to_length, rest, rest_size);
            renamed->is_read = node->is_read && *rest != '\0'; /* What came before is missing. */
            *link = renamed;
            free(node);
        }
    }
    return 0;
}

/* `first`, "/" and `second` into `to`, without what is empty; false if there is no room. */
static bool join(char *to, const char *first, const char *second)
{
    const size_t first_length = strlen(first);
    const size_t second_length = strlen(second);
    size_t at = first_length;

    if (first_length + second_length + 2 > PATH_MAX)
        return false;
    memmove(to, first, first_length + 1);
    if (first_length > 0 && second_length > 0)
        to[at++] = '/';
    memcpy(to + at, second, second_length + 1);
    return true;
}

/* Watch the directory at `path` for `events`, and what we need to know. 0 or an error. */
static int watch_for(struct torc_fs_watch *watch, const char *path, uint32_t events,
                     struct node **ret_node)
{
    const uint32_t of_root = *path == '\0' ? IN_MOVE_SELF : 0;
    const uint32_t mask =
        events | of_root | IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW;
    int number;

    if (!join(watch->full, watch->base, path))
        return -ENAMETOOLONG;
    number = (int)torc__file_call(
        SYS_inotify_add_watch, (uintptr_t[6]){(uintptr_t)watch->fd, (uintptr_t)watch->full, mask});
    if (number < 0)
        return number;
    if (*path == '\0')
        watch->root = number;
    return note(watch, number, path, ret_node);
}

/* Watch the directory at `path`, for now without the events of reading it if `partly`. */
static int follow(struct torc_fs_watch *watch, const char *path, bool partly,
                  struct node **ret_node)
{
    const uint32_t without = partly ? watch->mask & READING_EVENTS : 0;
    int result = watch_for(watch, path, watch->mask & ~without, ret_node);

    if (result == 0)
        set_partly(watch, *ret_node, without != 0);
    return result;
}

static bool is_reason(int error)
{
    return error == -ECANCELED || error == -ETIME;
}

/* The directory is no more, or is another kind of thing by now: of no interest. */
static bool has_gone(int error)
{
    return error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -EACCES;
}

/* One of those directories with which more is to be done. There is one. */
static struct node *find_unfinished(struct torc_fs_watch *watch,
                                    bool (*is_one)(const struct node *))
{
    struct node *node = watch->buckets[watch->next_bucket];

    while (node == NULL || !is_one(node)) {
        if (node == NULL)
            watch->next_bucket = (watch->next_bucket + 1) % BUCKETS;
        node = node != NULL ? node->next : watch->buckets[watch->next_bucket];
    }
    return node;
}

static bool is_partly(const struct node *node)
{
    return node->is_partly;
}

/* Watch for all events one of those directories that are watched partly. There is one. */
static int complete_one(struct torc_fs_watch *watch)
{
    struct node *node = find_unfinished(watch, is_partly);
    struct node *found;
    int result;

    result = watch_for(watch, node->path, watch->mask, &found);
    if (is_reason(result))
        return result;
    set_partly(watch, node, false); /* If another is there now, an event will say so. */
    return has_gone(result) ? 0 : result;
}

/* ---- Reading a tree ---- */

/* Begin to read the directory at `path`, which is followed already. */
static int begin_scan(struct torc_fs_watch *watch, const char *path, bool is_silent)
{
    int result;

    if (!join(watch->full, watch->base, path))
        return -ENAMETOOLONG;
    result = torc_walk_open(&watch->walk, AT_FDCWD, watch->full, 0);
    if (result < 0)
        return has_gone(result) ? 0 : result;
    (void)join(watch->path, path, "");
    watch->top_length = (uint32_t)strlen(watch->path);
    watch->is_silent = is_silent;
    watch->scan = SCAN_READING;
    return 0;
}

static void end_scan(struct torc_fs_watch *watch)
{
    if (watch->scan != SCAN_NONE)
        torc_walk_close(&watch->walk);
    watch->scan = SCAN_NONE;
}

static bool is_deep(const struct node *node)
{
    return node->depth != DEPTH_REACHED;
}

/* Begin to read one of those directories at which a walk had to end. There is one. */
static int go_deeper(struct torc_fs_watch *watch)
{
    struct node *node = find_unfinished(watch, is_deep);
    const int result = begin_scan(watch, node->path, node->depth == DEPTH_SILENT);

    if (!is_reason(result))
        set_depth(watch, node, DEPTH_REACHED);
    return result;
}

/* Follow, if it is a directory, what the scan has come to. */
static int settle_entry(struct torc_fs_watch *watch)
{
    const struct torc_walk_entry *entry = &watch->entry;
    const bool is_too_deep = entry->visit == TORC_WALK_FAILED && entry->error == -ELOOP &&
                             entry->depth == TORC_WALK_DEPTH_MAX;
    struct node *node;
    int result;

    watch->path[watch->top_length] = '\0';
    if (!join(watch->path, watch->path, entry->path))
        return -ENAMETOOLONG;
    if (entry->visit != TORC_WALK_ENTER && !is_too_deep)
        return has_gone(entry->error) ? 0 : entry->error;
    result = follow(watch, watch->path, watch->is_silent, &node);
    if (result == 0)
        node->is_read = true; /* The scan goes there next, or another one. */
    if (result == 0 && is_too_deep)
        set_depth(watch, node, watch->is_silent ? DEPTH_SILENT : DEPTH_TELL);
    return has_gone(result) ? 0 : result;
}

/* 1 and an event; 0 if there is none, perhaps since the scan is at its end; or an error. */
static int scan_next(struct torc_fs_watch *watch, struct torc_fs_watch_event *ret_event)
{
    bool is_directory;
    int result;

    if (watch->scan == SCAN_READING) {
        result = torc_walk_next(&watch->walk, &watch->entry);
        if (is_reason(result))
            return result;
        if (result <= 0) {
            end_scan(watch);
            if (result == 0 && watch->is_silent && watch->deep == 0)
                forget(watch, NULL);
            return has_gone(result) ? 0 : result;
        }
        watch->scan = SCAN_TAKEN;
    }
    result = settle_entry(watch);
    if (is_reason(result))
        return result;
    watch->scan = SCAN_READING;
    if (result < 0)
        return result;
    is_directory = watch->entry.visit == TORC_WALK_ENTER;
    if (watch->is_silent || !(watch->mask & IN_CREATE) ||
        (!is_directory && watch->entry.visit != TORC_WALK_ENTRY))
        return 0;
    *ret_event = (struct torc_fs_watch_event){.mask = IN_CREATE | (is_directory ? IN_ISDIR : 0),
                                              .path = watch->path};
    return 1;
}

/* ---- Events ---- */

/* Read events behind those not told, as many as have room. The descriptor is non-blocking. */
static int read_on(struct torc_fs_watch *watch)
{
    const int saved = errno;
    ssize_t count;

    watch->filled -= watch->at;
    memmove(watch->buffer, watch->buffer + watch->at, watch->filled);
    watch->at = 0;
    count = torc__system_call(SYS_read, (uintptr_t[6]){(uintptr_t)watch->fd,
                                                       (uintptr_t)watch->buffer + watch->filled,
                                                       sizeof(watch->buffer) - watch->filled});
    errno = saved;
    watch->filled += count < 0 ? 0 : (uint32_t)count;
    return count < 0 && count != -EAGAIN && count != -EINTR ? (int)count : 0;
}

/* Wait for events. 0 or an error. */
static int fill(struct torc_fs_watch *watch)
{
    const int result = torc_poll(watch->fd, POLLIN);

    return result < 0 ? result : read_on(watch);
}

/* Follow the root, and all that is below it by now. */
static int follow_all(struct torc_fs_watch *watch)
{
    struct node *root;
    int result;

    watch->pass++;
    result = follow(watch, "", true, &root);
    return result < 0 ? result : begin_scan(watch, "", true);
}

/* A directory that is new was not found. If the root is not either, it has moved. */
static int check_root(struct torc_fs_watch *watch)
{
    const int before = watch->root;
    struct node *root;
    int result = before < 0 ? 0 : watch_for(watch, "", watch->mask, &root);

    if (is_reason(result))
        return result;
    if (result < 0 || watch->root != before)
        watch->root = -1;
    return 0;
}

/* A directory has come into the tree at watch->path. */
static int came(struct torc_fs_watch *watch)
{
    struct node *node;
    int result = follow(watch, watch->path, false, &node);

    if (result == 0 && !node->is_read) {
        result = begin_scan(watch, node->path, false);
        node->is_read = result == 0;
    }
    if (result == -ENOENT)
        return check_root(watch);
    return has_gone(result) ? 0 : result;
}

static const struct inotify_event *event_at(const struct torc_fs_watch *watch, uint32_t at)
{
    return (const struct inotify_event *)(const void *)(watch->buffer + at);
}

/* The second event of the rename, if it is among those that have been read. */
static const struct inotify_event *find_return(const struct torc_fs_watch *watch)
{
    for (uint32_t at = watch->at; at < watch->filled;) {
        const struct inotify_event *event = event_at(watch, at);

        if ((event->mask & IN_MOVED_TO) && event->cookie == watch->moved_cookie)
            return event;
        at += (uint32_t)(sizeof(*event) + event->len);
    }
    return NULL;
}

/* What was at watch->moved is where the second event says, or, without one, not in the tree. */
static int come_back(struct torc_fs_watch *watch, const struct inotify_event *event)
{
    const struct node *node = event != NULL ? *find(watch, event->wd) : NULL;

    if (node != NULL && join(watch->path, node->path, event->name))
        return rename_nodes(watch, watch->moved, watch->path);
    forget(watch, watch->moved);
    return 0;
}

/*
 * Something else may be there by now. Of two that were exchanged, which is told as one rename after
 * the other, only this look tells which of them it is.
 */
static int look_again(struct torc_fs_watch *watch)
{
    struct node *node;
    const int result = follow(watch, watch->moved, false, &node);

    if (result == 0 && !node->is_read) {
        set_depth(watch, node, DEPTH_TELL);
        node->is_read = true;
    }
    return is_reason(result) || result == -ENOMEM ? result : 0;
}

/*
 * Before an event: if it is of the directory that was moved, or names one, that which was moved has
 * another name by now, or has left the tree. Of others that were renamed at the same time, and are
 * being worked in, events may come between the two of its rename. 0, or an error to be tried again.
 */
static int settle_moved(struct torc_fs_watch *watch)
{
    const struct inotify_event *event = event_at(watch, watch->at);
    const struct node *node = *find(watch, event->wd);
    const bool names_one =
        (event->mask & IN_ISDIR) && (event->mask & (IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO));
    int result;

    if (watch->moved_cookie == 0 ||
        (!names_one && (node == NULL || !is_below(node->path, watch->moved, strlen(watch->moved)))))
        return 0;
    event = find_return(watch);
    if (event == NULL && read_on(watch) == 0)
        event = find_return(watch);
    result = come_back(watch, event);
    if (result == 0)
        result = look_again(watch);
    if (result == 0)
        watch->moved_cookie = 0;
    return result;
}

/* What an event means for us. 0, or an error that keeps it in the buffer. */
static int serve(struct torc_fs_watch *watch, const struct inotify_event *event)
{
    if (!(event->mask & IN_ISDIR) || event->len == 0)
        return 0;
    if (event->mask & IN_MOVED_FROM) {
        watch->moved_cookie = event->cookie;
        (void)join(watch->moved, watch->path, "");
    }
    if (event->mask & (IN_CREATE | IN_MOVED_TO))
        return came(watch);
    return 0;
}

/* Whether the caller is to hear of an event of a directory. */
static bool is_wanted(const struct torc_fs_watch *watch, const struct inotify_event *event)
{
    const uint32_t of_itself = IN_DELETE_SELF | IN_MOVE_SELF;

    if (event->mask & (of_itself | IN_UNMOUNT) && event->wd != watch->root)
        return false; /* The directory above tells of it. */
    return event->mask & (watch->mask | IN_UNMOUNT);
}

/* An event of a directory that is watched. 1 if it is for the caller, 0 if not, or an error. */
static int take_known(struct torc_fs_watch *watch, const struct node *node,
                      const struct inotify_event *event, struct torc_fs_watch_event *ret_event)
{
    int result;

    if (!join(watch->path, node->path, event->len > 0 ? event->name : ""))
        return -ENAMETOOLONG;
    result = serve(watch, event);
    if (result < 0)
        return result;
    result = is_wanted(watch, event);
    if ((event->mask & IN_MOVE_SELF) && event->wd == watch->root)
        watch->root = -1; /* What is below cannot be found by its path any more. */
    if (result == 0)
        return 0;
    *ret_event = (struct torc_fs_watch_event){
        .mask = event->mask, .cookie = event->cookie, .path = watch->path};
    return 1;
}

/* The event at the front of the buffer, likewise. */
static int take_event(struct torc_fs_watch *watch, struct torc_fs_watch_event *ret_event)
{
    const struct inotify_event *event;
    struct node **link;
    int result = settle_moved(watch);

    if (result < 0)
        return result;
    event = event_at(watch, watch->at);
    link = find(watch, event->wd);
    if (event->mask & IN_Q_OVERFLOW) {
        watch->moved_cookie = 0; /* It is found again, or is not. */
        /* All may have been missed. The caller is told when all is followed again. */
        result = follow_all(watch);
        watch->has_overflowed = !is_reason(result);
    } else if (event->mask & IN_IGNORED) {
        if (event->wd == watch->root)
            watch->root = -1;
        if (*link != NULL)
            remove_node(watch, link);
    } else if (*link != NULL) { /* Others were forgotten. */
        result = take_known(watch, *link, event, ret_event);
    }
    if (!is_reason(result))
        watch->at += (uint32_t)(sizeof(*event) + event->len);
    return result;
}

static int tell_overflow(struct torc_fs_watch *watch, struct torc_fs_watch_event *ret_event)
{
    watch->has_overflowed = false;
    *ret_event = (struct torc_fs_watch_event){.mask = IN_Q_OVERFLOW, .path = ""};
    return 1;
}

/* Whether not all is followed yet as it should be. */
static bool is_behind(const struct torc_fs_watch *watch)
{
    return watch->scan != SCAN_NONE || watch->deep > 0 || watch->partly > 0;
}

/* The next step towards that. As scan_next(). */
static int catch_up(struct torc_fs_watch *watch, struct torc_fs_watch_event *ret_event)
{
    if (watch->scan != SCAN_NONE)
        return scan_next(watch, ret_event);
    return watch->deep > 0 ? go_deeper(watch) : complete_one(watch);
}

int torc_fs_watch_next(struct torc_fs_watch *watch, struct torc_fs_watch_event *ret_event)
{
    int result = 0;

    while (result == 0) {
        if (is_behind(watch))
            result = catch_up(watch, ret_event);
        else if (watch->has_overflowed)
            result = tell_overflow(watch, ret_event);
        else if (watch->at < watch->filled)
            result = take_event(watch, ret_event);
        else if (watch->root < 0)
            result = -ENOENT;
        else
            result = fill(watch);
    }
    return result < 0 ? result : 0;
}

/* ---- Life ---- */

static int start(struct torc_fs_watch *watch, const char *path)
{
    struct torc_fs_watch_event event;
    ssize_t length = torc_realpath(path, watch->base, sizeof(watch->base));
    int result;

    if (length < 0)
        return (int)length;
    result = follow_all(watch);
    while (result >= 0 && is_behind(watch))
        result = catch_up(watch, &event);
    return result < 0 ? result : 0;
}

int torc_fs_watch_open(const char *path, uint32_t mask, struct torc_fs_watch **ret_watch)
{
    struct torc_fs_watch *watch;
    int saved;
    int result;

    if ((mask & IN_ALL_EVENTS) == 0)
        return -EINVAL;
    saved = errno;
    watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return -ENOMEM;
    watch->mask = mask & IN_ALL_EVENTS;
    watch->root = -1;
    watch->fd = (int)torc__system_call(SYS_inotify_init1,
                                       (uintptr_t[6]){(uintptr_t)(IN_CLOEXEC | IN_NONBLOCK)});
    if (watch->fd < 0) {
        result = watch->fd;
        errno = saved;
        free(watch);
        return result;
    }
    result = start(watch, path);
    if (result < 0) {
        torc_fs_watch_close(watch);
        return result;
    }
    *ret_watch = watch;
    return 0;
}

void torc_fs_watch_close(struct torc_fs_watch *watch)
{
    if (watch == NULL)
        return;
    end_scan(watch);
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (watch->buckets[i] != NULL)
            remove_node(watch, &watch->buckets[i]);
    }
    (void)torc_close(watch->fd);
    free(watch);
}
