/* SPDX-License-Identifier: MIT */
/*
 * epoll_watch.c - who waits for which descriptor, and what the kernel is asked to tell of it.
 *
 * A descriptor stays registered, level-triggered, for what was last waited for, so a connection
 * that is read again and again costs one registration. An event that nobody waits for takes its
 * registration back.
 *
 * Programs close descriptors without telling us, and the kernel gives their numbers to other files.
 * A registration belongs to the file. So one that an op relies on and that was made for an earlier
 * op is in doubt until it has been confirmed (EPOLL_CTL_MOD finds file and number together), which
 * happens before the driver sleeps, or after some turns; of many it is done only after a doze, in
 * which traffic as a rule does away with the doubts. And each registration has a generation, which
 * tells events of a file that lives on under another number. Those cannot be taken back but with
 * the whole set, which is then made anew.
 */
#include "base/compiler.h"
#include "base/log.h"
#include "driver/epoll.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A registration in doubt is looked at after so many turns, and so many are in one turn. */
#define DOUBT_TURNS_MAX   256u
#define VERIFICATIONS_MAX 256u
/* How many ops an event serves in each direction; the next event serves the others. */
#define SERVED_MAX 64u
/* So many false events in a row, and the kernel is asked for changes only. */
#define FALSE_EVENTS_MAX 8u

/* What is told whether it is asked for or not. */
#define ALWAYS (EPOLLERR | EPOLLHUP)

/* ---- The table ---- */

struct torc__epoll_watch *torc__epoll_find(const struct torc__epoll *epoll, int fd)
{
    const unsigned chunk = (unsigned)fd / WATCH_CHUNK;

    if (fd < 0 || chunk >= epoll->chunk_count || epoll->chunks[chunk] == NULL)
        return NULL;
    return &epoll->chunks[chunk][(unsigned)fd % WATCH_CHUNK];
}

static bool grow_table(struct torc__epoll *epoll, unsigned chunk)
{
    const unsigned count = chunk + 1 > 2 * epoll->chunk_count ? chunk + 1 : 2 * epoll->chunk_count;
    struct torc__epoll_watch **chunks;

    if (chunk < epoll->chunk_count)
        return true;
    chunks = realloc(epoll->chunks, count * sizeof(*chunks));
    if (chunks == NULL)
        return false;
    memset(&chunks[epoll->chunk_count], 0, (count - epoll->chunk_count) * sizeof(*chunks));
    epoll->chunks = chunks;
    epoll->chunk_count = count;
    return true;
}

/* The entry of a descriptor >= 0; NULL without memory for it. */
static struct torc__epoll_watch *find_or_make(struct torc__epoll *epoll, int fd)
{
    const unsigned chunk = (unsigned)fd / WATCH_CHUNK;
    struct torc__epoll_watch *watch = torc__epoll_find(epoll, fd);

    if (likely(watch != NULL))
        return watch;
    if (!grow_table(epoll, chunk))
        return NULL;
    epoll->chunks[chunk] = calloc(WATCH_CHUNK, sizeof(*watch));
    if (epoll->chunks[chunk] == NULL)
        return NULL;
    for (unsigned i = 0; i < WATCH_CHUNK; i++) {
        watch = &epoll->chunks[chunk][i];
        watch->fd = (int)(chunk * WATCH_CHUNK + i);
        torc__epoll_list_init(&watch->readers);
        torc__epoll_list_init(&watch->writers);
        torc__epoll_list_init(&watch->pollers);
    }
    return torc__epoll_find(epoll, fd);
}

int torc__epoll_make_watches(struct torc__epoll *epoll)
{
    return find_or_make(epoll, 0) != NULL ? 0 : -ENOMEM;
}

void torc__epoll_free_watches(struct torc__epoll *epoll)
{
    for (unsigned i = 0; i < epoll->chunk_count; i++)
        free(epoll->chunks[i]);
    free(epoll->chunks);
}

/* Polls are told; the others take something, so they do it in their order. */
static struct torc__epoll_link *list_of(struct torc__epoll_watch *watch,
                                        struct torc__epoll_note *note)
{
    if (torc__epoll_sqe(torc__epoll_op(note))->opcode == IORING_OP_POLL_ADD)
        return &watch->pollers;
    if (note->events & EPOLLIN)
        return &watch->readers;
    return note->events & EPOLLOUT ? &watch->writers : &watch->pollers;
}

static bool has_waiters(const struct torc__epoll_watch *watch)
{
    return !torc__epoll_list_is_empty(&watch->readers) ||
           !torc__epoll_list_is_empty(&watch->writers) ||
           !torc__epoll_list_is_empty(&watch->pollers);
}

/* The events that somebody waits for. */
static uint32_t wanted(const struct torc__epoll_watch *watch)
{
    uint32_t events = 0;

    if (!torc__epoll_list_is_empty(&watch->readers))
        events |= EPOLLIN;
    if (!torc__epoll_list_is_empty(&watch->writers))
        events |= EPOLLOUT;
    for (struct torc__epoll_link *link = watch->pollers.next; link != &watch->pollers;
         link = link->next)
        events |= torc__epoll_of_link(link)->events;
    return events;
}

/* ---- Registrations ---- */

static void trust(struct torc__epoll *epoll, struct torc__epoll_watch *watch)
{
    if (!watch->in_doubt)
        return;
    watch->in_doubt = false;
    torc__epoll_unlink(&watch->doubt);
    epoll->doubt_count--;
}

static void doubt(struct torc__epoll *epoll, struct torc__epoll_watch *watch)
{
    if (watch->in_doubt)
        return;
    watch->in_doubt = true;
    watch->doubt_since = epoll->turns;
    torc__epoll_insert(&epoll->doubts, &watch->doubt);
    epoll->doubt_count++;
}

/* Nothing is known of the descriptor any more, but for who waits for it. */
static void clear(struct torc__epoll *epoll, struct torc__epoll_watch *watch)
{
    trust(epoll, watch);
    watch->armed = 0;
    watch->false_events = 0;
    watch->drained = false;
    watch->edge = false;
}

void torc__epoll_unwatch(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    torc__epoll_unlink(&note->link);
    if (unlikely(note->cancelled))
        torc__epoll_unlink(&note->ending);
    epoll->watching--;
}

/* The first that waits in a list, taken out to be tried. */
static struct torc__epoll_note *take_first(struct torc__epoll *epoll, struct torc__epoll_link *list)
{
    struct torc__epoll_note *note = torc__epoll_of_link(list->next);

    torc__epoll_unwatch(epoll, note);
    return note;
}

/* Have all who wait try again, in a turn to come. */
static void retry_list(struct torc__epoll *epoll, struct torc__epoll_link *list)
{
    while (!torc__epoll_list_is_empty(list)) {
        struct torc__epoll_note *note = take_first(epoll, list);

        note->retried = false;
        if (note->edge != EDGE_NONE)
            note->edge = EDGE_WANTED;
        torc__epoll_enqueue(epoll, note, STATE_QUEUED);
    }
}

static void retry_all(struct torc__epoll *epoll, struct torc__epoll_watch *watch)
{
    clear(epoll, watch);
    retry_list(epoll, &watch->readers);
    retry_list(epoll, &watch->writers);
    retry_list(epoll, &watch->pollers);
}

static int control(struct torc__epoll *epoll, struct torc__epoll_watch *watch, int what,
                   uint32_t events)
{
    struct epoll_event event = {.events = events};

    if (what == EPOLL_CTL_ADD)
        watch->generation = watch->generation + 1 != 0 ? watch->generation + 1 : 1;
    event.data.u64 = (uint64_t)watch->generation << 32 | (uint32_t)watch->fd;
    torc__epoll_count_call(epoll);
    return epoll_ctl(epoll->fd, what, watch->fd, &event) < 0 ? -errno : 0;
}

/* Register exactly `events`, ALWAYS among them. 0 or an error; then nothing is registered. */
static int registration(struct torc__epoll *epoll, struct torc__epoll_watch *watch, uint32_t events)
{
    int result = -ENOENT;

    trust(epoll, watch);
    if (watch->edge)
        events |= EPOLLET;
    if (watch->armed != 0)
        result = control(epoll, watch, EPOLL_CTL_MOD, events);
    if (result == -ENOENT)
        result = control(epoll, watch, EPOLL_CTL_ADD, events);
    if (result == -EEXIST) /* This file was here before, and has come back. */
        result = control(epoll, watch, EPOLL_CTL_MOD, events);
    watch->armed = result == 0 ? events : 0;
    if (unlikely(result < 0))
        retry_all(epoll, watch); /* Those who wait already find out for themselves. */
    return result;
}

static int arm(struct torc__epoll *epoll, struct torc__epoll_watch *watch, uint32_t events)
{
    const uint32_t all = watch->armed | events | ALWAYS;

    if ((watch->armed & all) != all || (watch->edge && !(watch->armed & EPOLLET)))
        return registration(epoll, watch, all);
    if (watch != epoll->serving) /* Or it has just told something. */
        doubt(epoll, watch);
    return 0;
}

int torc__epoll_can_watch(struct torc__epoll *epoll, int fd, uint32_t events)
{
    struct torc__epoll_watch *watch = fd < 0 ? NULL : find_or_make(epoll, fd);

    if (fd < 0)
        return -EBADF;
    return watch == NULL ? -ENOMEM : arm(epoll, watch, events);
}

/*
 * A multishot poll learns what holds when it begins, which only a registration made for it tells;
 * and then of changes, so it must not be made again.
 */
static int arm_edge(struct torc__epoll *epoll, struct torc__epoll_watch *watch,
                    struct torc__epoll_note *note)
{
    const uint32_t all = watch->armed | note->events | ALWAYS | EPOLLET;

    watch->edge = true;
    if (note->edge == EDGE_MADE && watch->armed == all)
        return 0;
    note->edge = EDGE_MADE;
    return registration(epoll, watch, all);
}

/* ---- Waiting ---- */

bool torc__epoll_must_wait(const struct torc__epoll *epoll, int fd, uint32_t direction)
{
    const struct torc__epoll_watch *watch = torc__epoll_find(epoll, fd);

    if (watch == NULL)
        return false;
    if (direction == EPOLLOUT)
        return !torc__epoll_list_is_empty(&watch->writers);
    return !torc__epoll_list_is_empty(&watch->readers) ||
           (watch->drained && (watch->armed & EPOLLIN));
}

bool torc__epoll_will_tell(const struct torc__epoll *epoll, int fd, uint32_t events)
{
    const struct torc__epoll_watch *watch = torc__epoll_find(epoll, fd);

    return watch != NULL && watch->drained && !watch->edge && !(events & ~watch->armed);
}

void torc__epoll_note_short(struct torc__epoll *epoll, int fd)
{
    struct torc__epoll_watch *watch = torc__epoll_find(epoll, fd);

    if (watch != NULL && (watch->armed & EPOLLIN))
        watch->drained = true;
}

int torc__epoll_watch(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    struct torc__epoll_watch *watch = note->fd < 0 ? NULL : find_or_make(epoll, note->fd);
    struct torc__epoll_link *list;
    int result;

    if (watch == NULL)
        return note->fd < 0 ? -EBADF : -ENOMEM;
    result =
        note->edge != EDGE_NONE ? arm_edge(epoll, watch, note) : arm(epoll, watch, note->events);
    if (result < 0)
        return result;
    list = list_of(watch, note);
    torc__epoll_set_state(note, STATE_WATCHING);
    /* One that an event has made try in vain was the first, and stays it. */
    torc__epoll_insert(note->retried ? list->next : list, &note->link);
    epoll->watching++;
    return 0;
}

/* ---- Doubt ---- */

static void verify(struct torc__epoll *epoll, struct torc__epoll_watch *watch)
{
    trust(epoll, watch);
    if (watch->armed != 0 && has_waiters(watch) &&
        control(epoll, watch, EPOLL_CTL_MOD, watch->armed) < 0)
        retry_all(epoll, watch);
}

void torc__epoll_verify(struct torc__epoll *epoll, bool before_sleep)
{
    for (unsigned i = 0; i < VERIFICATIONS_MAX && !torc__epoll_list_is_empty(&epoll->doubts); i++) {
        struct torc__epoll_watch *watch =
            container_of(epoll->doubts.next, struct torc__epoll_watch, doubt);

        if (!before_sleep && epoll->turns - watch->doubt_since < DOUBT_TURNS_MAX)
            break;
        verify(epoll, watch);
    }
}

void torc__epoll_rebuild(struct torc__epoll *epoll)
{
    int fd = torc__epoll_open_set(epoll);

    if (fd < 0) {
        if (!epoll->stale_told)
            torc__log("cannot make a new epoll set: %s", strerror(-fd));
        epoll->stale_told = true;
        return; /* The next turn tries again. */
    }
    close(epoll->fd);
    epoll->fd = fd;
    epoll->stale = false;
    epoll->stale_told = false;
    for (unsigned i = 0; i < epoll->chunk_count; i++) {
        for (unsigned j = 0; epoll->chunks[i] != NULL && j < WATCH_CHUNK; j++) {
            if (epoll->chunks[i][j].armed != 0)
                retry_all(epoll, &epoll->chunks[i][j]);
        }
    }
}

/* ---- Descriptors that come and go ---- */

/* Their descriptor was closed behind our back: what they waited for is not to be had any more. */
static void fail_list(struct torc__epoll *epoll, struct torc__epoll_link *list)
{
    while (!torc__epoll_list_is_empty(list)) {
        struct torc__epoll_note *note = take_first(epoll, list);

        note->result = note->done > 0 ? (int32_t)note->done : -EBADF;
        torc__epoll_enqueue(epoll, note, STATE_ENDED);
    }
}

void torc__epoll_forget(struct torc__epoll *epoll, int fd)
{
    struct torc__epoll_watch *watch = torc__epoll_find(epoll, fd);

    if (watch == NULL)
        return;
    clear(epoll, watch);
    fail_list(epoll, &watch->readers);
    fail_list(epoll, &watch->writers);
    fail_list(epoll, &watch->pollers);
}

/* Let the ops of a list go on, with another descriptor of the same file. */
static void move_list(struct torc__epoll *epoll, struct torc__epoll_link *list,
                      struct torc__epoll_watch *to)
{
    for (struct torc__epoll_link *link = list->next; link != list; link = link->next) {
        struct torc__epoll_note *note = torc__epoll_of_link(link);
        struct io_uring_sqe *sqe = torc__epoll_sqe(torc__epoll_op(note));

        if (sqe->fd == note->fd)
            sqe->fd = to->fd;
        else
            sqe->splice_fd_in = to->fd;
        note->borrows = true;
        to->borrowers++;
    }
    retry_list(epoll, list);
}

static void give_back(struct torc__epoll *epoll, int fd)
{
    struct torc__epoll_watch *watch = torc__epoll_find(epoll, fd);

    if (watch == NULL || watch->borrowers == 0 || --watch->borrowers > 0)
        return;
    clear(epoll, watch);
    close(fd);
}

void torc__epoll_give_back(struct torc__epoll *epoll, const struct io_uring_sqe *sqe)
{
    give_back(epoll, sqe->fd);
    if (sqe->opcode == IORING_OP_SPLICE || sqe->opcode == IORING_OP_TEE)
        give_back(epoll, sqe->splice_fd_in);
}

void torc__epoll_part(struct torc__epoll *epoll, int fd)
{
    struct torc__epoll_watch *watch = torc__epoll_find(epoll, fd);
    struct torc__epoll_watch *other;
    int copy;

    if (watch == NULL)
        return;
    if (likely(!has_waiters(watch))) {
        clear(epoll, watch);
        return;
    }
    (void)control(epoll, watch, EPOLL_CTL_DEL, 0); /* Closing does not, while there is a copy. */
    clear(epoll, watch);
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    other = copy < 0 ? NULL : find_or_make(epoll, copy);
    if (other == NULL) {
        if (copy >= 0)
            close(copy);
        torc__epoll_forget(epoll, fd);
        return;
    }
    torc__epoll_forget(epoll, copy);
    move_list(epoll, &watch->readers, other);
    move_list(epoll, &watch->writers, other);
    move_list(epoll, &watch->pollers, other);
}

/* ---- Events ---- */

/*
 * Let the ops of one direction try, in their order. False if the first of them got nothing. An edge
 * is told once, so then all have their try, and until there is nothing more to be had.
 */
static bool serve_list(struct torc__epoll *epoll, struct torc__epoll_watch *watch,
                       struct torc__epoll_link *list)
{
    const uint64_t told_before = epoll->base.stats.completions;

    for (unsigned i = 0; !torc__epoll_list_is_empty(list) && (i < SERVED_MAX || watch->edge); i++) {
        struct torc__epoll_note *note = take_first(epoll, list);
        const uint32_t done = note->done;

        note->retried = true;
        torc__epoll_attempt(epoll, note);
        if (list->next != &note->link)
            continue;
        /* It waits again: nobody else can have come to stand there. */
        if (note->done == done)
            return epoll->base.stats.completions != told_before;
        if (!watch->edge)
            return true;
    }
    return true;
}

/*
 * Polls are told what there is; in doubt they look again, since it could be another file's. False
 * if somebody was to be told, and there was nothing to tell.
 */
static bool serve_pollers(struct torc__epoll *epoll, struct torc__epoll_watch *watch,
                          uint32_t events)
{
    const uint64_t told_before = epoll->base.stats.completions;
    struct torc__epoll_link due;
    bool is_any_due;

    torc__epoll_list_init(&due);
    for (struct torc__epoll_link *link = watch->pollers.next; link != &watch->pollers;) {
        struct torc__epoll_note *note = torc__epoll_of_link(link);

        link = link->next;
        if (!(events & (note->events | ALWAYS)))
            continue;
        torc__epoll_unlink(&note->link);
        torc__epoll_insert(&due, &note->link);
    }
    is_any_due = !torc__epoll_list_is_empty(&due);
    while (!torc__epoll_list_is_empty(&due)) {
        struct torc__epoll_note *note = take_first(epoll, &due);

        note->retried = true;
        note->result = watch->in_doubt ? 0 : (int32_t)events;
        torc__epoll_attempt(epoll, note);
    }
    return !is_any_due || epoll->base.stats.completions != told_before;
}

/* An event after which nobody could do anything: of another file, or a condition that lasts. */
static void note_false_event(struct torc__epoll *epoll, struct torc__epoll_watch *watch)
{
    watch->false_events++;
    if (watch->false_events == 1) {
        verify(epoll, watch);
    } else if (watch->false_events == FALSE_EVENTS_MAX) {
        watch->edge = true;
        (void)registration(epoll, watch, watch->armed);
    }
}

/* Take back what nobody waits for. */
static void disarm(struct torc__epoll *epoll, struct torc__epoll_watch *watch, uint32_t unwanted)
{
    const bool is_over = unwanted & ALWAYS; /* What is told anyway only ends with all of it. */
    const uint32_t left = watch->armed & (wanted(watch) | ALWAYS | EPOLLET);
    int result;

    trust(epoll, watch);
    result = control(epoll, watch, is_over ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, left);
    watch->armed = result < 0 || is_over ? 0 : left;
    if (result < 0) {
        epoll->stale = true;
        retry_all(epoll, watch);
    }
}

void torc__epoll_serve_event(struct torc__epoll *epoll, const struct epoll_event *event)
{
    struct torc__epoll_watch *watch = torc__epoll_find(epoll, (int)(uint32_t)event->data.u64);
    const uint32_t events = event->events;
    uint32_t unwanted;
    bool useful = true;

    if (watch == NULL || watch->armed == 0 || watch->generation != event->data.u64 >> 32) {
        epoll->stale = true;
        return;
    }
    unwanted = events & ~wanted(watch);
    if (has_waiters(watch))
        unwanted &= ~(uint32_t)ALWAYS;
    if (unwanted != 0)
        disarm(epoll, watch, unwanted);
    epoll->serving = watch;
    useful &= serve_pollers(epoll, watch, events); /* Before others take what they look for. */
    if (events & (EPOLLIN | ALWAYS)) {
        watch->drained = false;
        useful &= serve_list(epoll, watch, &watch->readers);
    }
    if (events & (EPOLLOUT | ALWAYS))
        useful &= serve_list(epoll, watch, &watch->writers);
    epoll->serving = NULL;
    if (unlikely(!useful))
        note_false_event(epoll, watch);
    else
        watch->false_events = 0;
}
