/* SPDX-License-Identifier: MIT */
/*
 * view_test.c - looking at a runtime from outside; here it is this process's own.
 */
#include "harness/run.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <torc/torc.h>
#include <unistd.h>

static struct torc_view *open_own(void)
{
    struct torc_view *view = NULL;

    EXPECT_INT(torc_view_open(getpid(), 0, &view), ==, 0);
    return view;
}

/* The entry of a name; one of zeros if there is none. */
static struct torc_name_stats find_name(const struct torc_view *view, const char *name)
{
    const struct torc_name_stats *names;
    const unsigned count = torc_view_names(view, &names);

    for (unsigned i = 0; i < count; i++) {
        if (strcmp(names[i].name, name) == 0)
            return names[i];
    }
    return (struct torc_name_stats){.cpu_ns = 0};
}

FIBER_TEST_WITH_THREADS(counters_are_those_that_the_shard_has)
{
    struct torc_view *view = open_own();
    const struct torc_stats *seen;
    struct torc_stats own;

    EXPECT_UINT(torc_view_shard_count(view), ==, 1);
    EXPECT_INT(torc_view_refresh(view), ==, 0);
    torc_stats(&own);
    seen = torc_view_stats(view, 0);
    EXPECT_UINT(seen->fibers, ==, own.fibers);
    EXPECT_UINT(seen->switches, ==, own.switches);
    EXPECT_UINT(seen->ops, ==, own.ops);
    EXPECT_UINT(torc_view_time(view), <=, torc_now());
    EXPECT(strcmp(torc_view_driver(view), "uring") == 0 ||
           strcmp(torc_view_driver(view), "epoll") == 0);
    EXPECT(torc_view_stats(view, 1) == seen); /* There is no other. */
    torc_view_close(view);
}

/* Of 64 names; six are the loop's, nobody's, "main", those of two others, and of all the rest. */
#define ROOM_FOR_NUMBERS 58

static int sleep_named(void *arg)
{
    torc_fiber_set_name(arg);
    return torc_sleep(TORC_FOREVER / 2);
}

FIBER_TEST_WITH_THREADS(fibers_are_counted_by_their_names)
{
    static char many[100][16];
    struct torc_view *view = open_own();
    struct torc_scope scope;
    char dynamic[] = "dynamic";
    char sleeper[] = "sleeper";

    torc_scope_open(&scope, 0);
    for (int i = 0; i < 600; i++)
        EXPECT_INT(torc_scope_spawn(&scope, sleep_named, sleeper), ==, 0);
    EXPECT_INT(torc_scope_spawn(&scope, sleep_named, dynamic), ==, 0);
    EXPECT_INT(torc_scope_spawn(&scope, sleep_named, NULL), ==, 0);
    harness_yield(2);
    EXPECT_INT(torc_view_refresh(view), ==, 0);
    EXPECT_UINT(find_name(view, "sleeper").fibers, ==, 600);
    EXPECT_UINT(find_name(view, "sleeper").ready, ==, 0);
    EXPECT_UINT(find_name(view, "dynamic").fibers, ==, 1);
    EXPECT_UINT(find_name(view, "").fibers, ==, 1);
    EXPECT_UINT(find_name(view, "main").fibers, ==, 1);
    EXPECT_UINT(find_name(view, "main").ready, ==, 1); /* It runs. */

    for (int i = 0; i < 100; i++) { /* More than there is room for. */
        snprintf(many[i], sizeof(many[i]), "number %d", i);
        EXPECT_INT(torc_scope_spawn(&scope, sleep_named, many[i]), ==, 0);
    }
    harness_yield(2);
    EXPECT_INT(torc_view_refresh(view), ==, 0);
    EXPECT_UINT(find_name(view, "sleeper").fibers, ==, 600);
    EXPECT_UINT(find_name(view, "number 0").fibers, ==, 1);
    EXPECT_UINT(find_name(view, "(other names)").fibers, ==, 100 - ROOM_FOR_NUMBERS);
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    EXPECT_INT(torc_view_refresh(view), ==, 0);
    EXPECT_UINT(find_name(view, "sleeper").fibers, ==, 0);
    torc_view_close(view);
}

FIBER_TEST_WITH_THREADS(cpu_time_goes_to_the_name_that_runs)
{
    struct torc_view *view = open_own();

    torc_fiber_set_name("busy");
    do
        EXPECT_INT(torc_view_refresh(view), ==, 0); /* The wait uses CPU time, too. */
    while (find_name(view, "busy").cpu_ns == 0);
    torc_fiber_set_name("main");
    torc_view_close(view);
}

FIBER_TEST_WITH_THREADS(a_trace_is_recorded_and_dropped_from_outside)
{
    struct torc_view *view = open_own();
    const int fd = memfd_create("trace", MFD_CLOEXEC);
    char text[64] = "";
    int result;

    EXPECT_INT(torc_view_trace_write(view, fd), ==, -ENODATA);
    EXPECT_INT(torc_view_trace_start(view, 0, 60000), ==, 0);
    EXPECT_INT(torc_view_trace_start(view, 0, 60000), ==, -EBUSY);
    for (int i = 0; i < 5; i++) /* The shard hears of it in its next round. */
        EXPECT_INT(torc_sleep(100 * TORC_MICROSECOND), ==, 0);
    EXPECT_INT(torc_view_trace_stop(view), ==, 0);
    EXPECT_INT(torc_view_trace_write(view, fd), ==, 0);
    EXPECT_INT(pread(fd, text, sizeof(text) - 1, 0), >, 0);
    EXPECT(strncmp(text, "{\"displayTimeUnit\"", 18) == 0);
    EXPECT_INT(lseek(fd, 0, SEEK_END), >, 500); /* More than the names of what there is. */
    EXPECT_INT(torc_view_trace_drop(view), ==, 0);
    /* This shard has not heard of it. */
    EXPECT_INT(torc_view_trace_start(view, 0, 60000), ==, -EAGAIN);
    while ((result = torc_view_trace_start(view, 0, 60000)) == -EAGAIN)
        EXPECT_INT(torc_sleep(100 * TORC_MICROSECOND), ==, 0);
    EXPECT_INT(result, ==, 0);
    EXPECT_INT(torc_view_trace_drop(view), ==, 0);
    close(fd);
    torc_view_close(view);
}

FIBER_TEST_WITH_THREADS(a_trace_is_that_of_one_view_until_it_drops_it)
{
    struct torc_view *owner = open_own();
    struct torc_view *other = open_own();

    EXPECT_INT(torc_view_trace_start(owner, 0, 60000), ==, 0);
    for (int i = 0; i < 2; i++) { /* Also when it has been refused another one. */
        EXPECT_INT(torc_view_trace_start(other, 0, 60000), ==, -EBUSY);
        EXPECT_INT(torc_view_trace_stop(other), ==, -EBUSY);
        EXPECT_INT(torc_view_trace_drop(other), ==, -EBUSY);
        EXPECT_INT(torc_view_trace_start(owner, 0, 60000), ==, -EBUSY);
    }
    EXPECT_INT(torc_view_trace_drop(owner), ==, 0);
    EXPECT_INT(torc_view_trace_stop(other), ==, 0);
    torc_view_close(owner);
    torc_view_close(other);
}

/* ---- Who cannot be looked at ---- */

static struct torc_view *kept;

static int keep_view(void *arg)
{
    (void)arg;
    kept = open_own();
    EXPECT(!torc_view_has_ended(kept));
    EXPECT_INT(torc_view_open(getpid(), 1, &(struct torc_view *){NULL}), ==, -ENOENT);
    return 0;
}

TEST(a_runtime_that_has_ended_says_so)
{
    struct torc_view *view;

    NEEDS_THREADS();
    EXPECT_INT(torc_run(keep_view, NULL, NULL), ==, 0);
    EXPECT(torc_view_has_ended(kept));
    EXPECT_INT(torc_view_refresh(kept), ==, -ENOENT);
    EXPECT_INT(torc_view_open(getpid(), 0, &view), ==, -ENOENT);
    torc_view_close(kept);
    torc_view_close(NULL);
}

static int look_for_own(void *arg)
{
    struct torc_view *view;

    (void)arg;
    EXPECT_INT(torc_view_open(getpid(), 0, &view), ==, -ENOENT);
    return 0;
}

TEST(who_has_no_observer_cannot_be_looked_at)
{
    const struct torc_options options = {.no_observer = true};

    harness_run_with(&options, look_for_own, NULL);
}

FIBER_TEST_WITH_THREADS(a_child_that_has_inherited_the_page_is_not_meant)
{
    struct torc_view *view;
    int status;
    int ends[2];
    pid_t child;

    EXPECT_INT(pipe(ends), ==, 0);
    child = fork();
    if (child == 0) {
        char byte;

        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    EXPECT_INT(torc_view_open(child, 0, &view), ==, -ENOENT);
    close(ends[0]);
    close(ends[1]);
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    EXPECT_INT(status, ==, 0);
    EXPECT_INT(torc_view_open(child, 0, &view), ==, -ESRCH); /* It is no more. */
}

/* ---- Several runtimes ---- */

static int look_at_both(void *arg)
{
    struct torc_view *views[2];
    struct torc_view *third;

    (void)arg;
    for (unsigned i = 0; i < 2; i++) {
        EXPECT_INT(torc_view_open(getpid(), i, &views[i]), ==, 0);
        EXPECT_INT(torc_view_refresh(views[i]), ==, 0);
    }
    EXPECT_INT(torc_view_open(getpid(), 2, &third), ==, -ENOENT);
    EXPECT_UINT(torc_view_shard_count(views[0]) + torc_view_shard_count(views[1]), ==, 1 + 3);
    torc_view_close(views[0]);
    torc_view_close(views[1]);
    return 0;
}

static void *run_second(void *arg)
{
    (void)arg;
    EXPECT_INT(torc_run(look_at_both, NULL, NULL), ==, 0);
    return NULL;
}

static int run_second_beside(void *arg)
{
    pthread_t thread;

    (void)arg;
    if (torc_shard_index() != 0)
        return torc_sleep(TORC_FOREVER / 2);
    EXPECT_INT(pthread_create(&thread, NULL, run_second, NULL), ==, 0);
    EXPECT_INT(pthread_join(thread, NULL), ==, 0);
    torc_stop();
    return 0;
}

TEST(several_runtimes_of_a_process_are_told_apart)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    EXPECT_INT(torc_run(run_second_beside, NULL, &options), ==, 0);
}
