/* SPDX-License-Identifier: MIT */
/*
 * stall_test.c - fibers that keep their shard are counted and told of.
 *
 * A stall here lasts until it has been counted; so it is long enough on any machine. On a slow one
 * there may be others before, and reports may be left out: so it is made again until it is told of.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <torc/torc.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define HAS_STACKS false /* It keeps signals back from code that makes no calls. */
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_STACKS false
#endif
#endif
#ifndef HAS_STACKS
#define HAS_STACKS true
#endif

static const struct torc_options quick = {.stall_ns = 2 * TORC_MILLISECOND};

/* ---- What is told ---- */

static int told_fd;
static int stderr_before;

/* From here on, what the library says goes to a file. */
static void begin_listening(void)
{
    fflush(NULL);
    told_fd = memfd_create("told", MFD_CLOEXEC);
    stderr_before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    EXPECT_INT(told_fd, >=, 0);
    EXPECT_INT(fcntl(told_fd, F_SETFL, O_APPEND), ==, 0); /* As a log. */
    EXPECT_INT(dup2(told_fd, STDERR_FILENO), ==, STDERR_FILENO);
}

static const char *told(void)
{
    static _Thread_local char text[32768];
    const ssize_t count = pread(told_fd, text, sizeof(text) - 1, 0);

    text[count > 0 ? count : 0] = '\0';
    return text;
}

static void end_listening(void)
{
    EXPECT_INT(dup2(stderr_before, STDERR_FILENO), ==, STDERR_FILENO);
    close(stderr_before);
    close(told_fd);
}

static void expect_told(const char *text)
{
    EXPECT_MSG(strstr(told(), text) != NULL, "\"%s\" is not in: %s", text, told());
}

static unsigned count_told(const char *text)
{
    unsigned count = 0;

    for (const char *at = told(); (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

/* ---- Stalls ---- */

static uint64_t stalls(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.stalls;
}

/* Its name is looked for in the stack that is told. */
static __attribute__((noinline)) void spin_until_counted(uint64_t count)
{
    static volatile unsigned spins;

    while (stalls() < count) {
        for (unsigned i = 0; i < 10000; i++)
            spins = spins + 1;
    }
}

static bool is_told(const char *text)
{
    return strstr(told(), text) != NULL;
}

/* Another stall, until there is one of which this is told. */
static void spin_until_told(const char *text)
{
    do {
        EXPECT_INT(torc_yield(), ==, 0);
        spin_until_counted(stalls() + 1);
    } while (!is_told(text));
}

static int spin(void *arg)
{
    torc_fiber_set_name("spinner");
    spin_until_told(arg);
    return 0;
}

static int spin_once(void *arg)
{
    spin_until_counted(*(const uint64_t *)arg);
    return 0;
}

/* A fiber other than main. */
static void run_in_fiber(torc_fiber_fn *body, void *arg)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_scope_spawn(&scope, body, arg), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

static int main_that_spins(void *arg)
{
    struct torc_stats stats;

    run_in_fiber(spin, arg);
    torc_stats(&stats);
    EXPECT_UINT(stats.stall_ns_max, >=, quick.stall_ns);
    return 0;
}

TEST(a_fiber_that_computes_for_too_long_is_counted_and_told_of_with_its_stack)
{
    char stack[] = "spin_until_counted+0x";
    char name[] = "\"spinner\" has kept";

    NEEDS_THREADS();
    begin_listening();
    harness_run_with(&quick, main_that_spins, HAS_STACKS ? stack : name);
    expect_told("torc: fiber ");
    expect_told("\"spinner\" has kept shard 0 for ");
    expect_told(" ms: computing\n");
    if (HAS_STACKS)
        expect_told("stall+0x"); /* The program. */
    end_listening();
}

static atomic_bool called;

static void spin_in_callback(struct torc_message *message)
{
    (void)message;
    spin_until_counted(stalls() + 1);
    atomic_store(&called, true);
}

static int main_with_callback(void *arg)
{
    struct torc_message message = {.run = spin_in_callback};
    struct torc_mailbox *mailbox = torc_mailbox_acquire();

    (void)arg;
    do {
        atomic_store(&called, false);
        EXPECT_INT(torc_mailbox_post(mailbox, &message), ==, 0);
        while (!atomic_load(&called))
            EXPECT_INT(torc_yield(), ==, 0);
    } while (!is_told("a callback on it"));
    torc_mailbox_release(mailbox);
    return 0;
}

TEST(a_callback_on_the_loop_is_told_of)
{
    NEEDS_THREADS();
    begin_listening();
    harness_run_with(&quick, main_with_callback, NULL);
    expect_told("the loop, or a callback on it, has kept shard 0 for ");
    end_listening();
}

static __attribute__((noinline)) unsigned spin_deeply(unsigned depth, uint64_t count)
{
    static volatile unsigned returns;

    if (depth == 0)
        spin_until_counted(count);
    else
        spin_deeply(depth - 1, count);
    returns = returns + 1; /* So that no call above is a jump. */
    return returns;
}

static int main_that_spins_deeply(void *arg)
{
    char deep[] = "    #47 ";

    (void)arg;
    EXPECT_INT(torc_trace_start(1024), ==, 0); /* It is kept next to the stack. */
    do {
        spin_deeply(100, stalls() + 1);
        EXPECT_INT(torc_sleep(TORC_MICROSECOND), ==, 0); /* Which is traced. */
    } while (HAS_STACKS && !is_told(deep));
    torc_trace_drop();
    return 0;
}

TEST(a_stack_that_is_deeper_than_can_be_told_is_cut_off)
{
    NEEDS_THREADS();
    begin_listening();
    harness_run_with(&quick, main_that_spins_deeply, NULL);
    EXPECT_UINT(count_told("    #48 "), ==, 0);
    end_listening();
}

/* ---- Blocking ---- */

static int ends[2];
static atomic_int blocked; /* the thread that blocks */
static atomic_bool is_ended;

/* What ends a wait that blocks the shard. */
static void write_byte(void)
{
    EXPECT_INT(write(ends[1], "x", 1), ==, 1);
}

static void send_signal(void)
{
    atomic_store(&is_ended, true);
    (void)syscall(SYS_tgkill, getpid(), atomic_load(&blocked), SIGUSR1);
}

/* A thread that ends such a wait each time that one more stall is counted: only then it is told. */
static void *end_waits(void *arg)
{
    void (*const *end)(void) = arg;
    struct torc_view *view;
    uint64_t seen = 0;
    uint64_t longest_ns = 0;
    int result;

    while (atomic_load(&blocked) == 0)
        sched_yield();
    EXPECT_INT(torc_view_open(getpid(), 0, &view), ==, 0);
    while ((result = torc_view_refresh(view)) != -ENOENT) {
        const struct torc_stats *stats = torc_view_stats(view, 0);

        /* Also one that goes on, since it had begun before the wait did. */
        if (result == 0 &&
            (stats->stalls > seen || stats->stall_ns_max > longest_ns + 20 * TORC_MILLISECOND)) {
            seen = stats->stalls;
            longest_ns = stats->stall_ns_max;
            (*end)();
        }
        sched_yield();
    }
    torc_view_close(view);
    return NULL;
}

/* Run `body(text)` as a fiber of a shard whose blocking waits are ended by `end`. */
static void run_blocking(torc_fiber_fn *body, char *text, void (*end)(void))
{
    pthread_t thread = harness_thread(end_waits, &end);

    /* Not by the harness, which would count the thread's descriptors. */
    EXPECT_INT(torc_run(body, text, &quick), ==, 0);
    harness_join(thread);
}

static int block_in_read(void *arg)
{
    char byte;

    torc_fiber_set_name("reader");
    while (!is_told(arg)) {
        EXPECT_INT(read(ends[0], &byte, 1), ==, 1);
        EXPECT_INT(torc_yield(), ==, 0);
    }
    return 0;
}

static int main_that_reads(void *arg)
{
    atomic_store(&blocked, (int)syscall(SYS_gettid));
    run_in_fiber(block_in_read, arg);
    return 0;
}

TEST(a_blocking_system_call_is_recognised_and_goes_on)
{
    char call[64];

    NEEDS_THREADS();
    if (access("/proc/self/syscall", R_OK) != 0)
        SKIP("this kernel has no /proc/PID/syscall");
    harness_pipe(ends);
    snprintf(call, sizeof(call), "blocked in the system call read(%d, ...)\n", ends[0]);
    begin_listening();
    run_blocking(main_that_reads, call, write_byte);
    expect_told("\"reader\" has kept shard 0 for ");
    if (HAS_STACKS)
        expect_told("block_in_read+0x");
    end_listening();
    harness_close_pair(ends);
}

static void ignore_signal(int number)
{
    (void)number;
}

static int block_in_sleep(void *arg)
{
    const struct timespec hour = {.tv_sec = 3600};

    while (!is_told(arg)) {
        EXPECT_INT(clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, NULL), ==, EINTR);
        EXPECT(atomic_load(&is_ended)); /* By the test, not by the report. */
        EXPECT_INT(torc_yield(), ==, 0);
    }
    return 0;
}

static int main_that_sleeps(void *arg)
{
    atomic_store(&blocked, (int)syscall(SYS_gettid));
    run_in_fiber(block_in_sleep, arg);
    return 0;
}

TEST(a_call_that_a_signal_would_end_is_left_alone_and_its_stack_is_guessed)
{
    const struct sigaction action = {.sa_handler = ignore_signal};
    char call[] = "blocked in the system call clock_nanosleep(";

    NEEDS_THREADS();
    if (access("/proc/self/syscall", R_OK) != 0)
        SKIP("this kernel has no /proc/PID/syscall");
    EXPECT_INT(sigaction(SIGUSR1, &action, NULL), ==, 0);
    begin_listening();
    run_blocking(main_that_sleeps, call, send_signal);
    expect_told("    #0 ");
    end_listening();
}

/* ---- Stops ---- */

static _Atomic uint64_t *stopped_ns; /* shared with the process that is stopped */

static uint64_t longest_stall(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.stall_ns_max;
}

/* 0 if the stall is shorter than it took, by most of the time of the stop. */
static int main_that_is_stopped(void *arg)
{
    const uint64_t begun_ns = torc_now();
    uint64_t longest_ns;

    (void)arg;
    spin_until_counted(1);
    longest_ns = longest_stall();
    EXPECT_INT(raise(SIGSTOP), ==, 0);
    while (atomic_load(stopped_ns) == 0 || longest_stall() == longest_ns)
        sched_yield();
    return longest_stall() + atomic_load(stopped_ns) / 2 < torc_now() - begun_ns ? 0 : -EIO;
}

/* How a process ends that is stopped in a stall. */
static int stop_in_stall(void)
{
    const struct timespec pause = {.tv_nsec = 400000000};
    uint64_t begun_ns;
    pid_t child;
    int status;

    atomic_store(stopped_ns, 0);
    child = fork();
    if (child == 0)
        _exit(torc_run(main_that_is_stopped, NULL, &quick) == 0 ? 0 : 1);
    EXPECT_INT(waitpid(child, &status, WUNTRACED), ==, child);
    EXPECT(WIFSTOPPED(status));
    begun_ns = torc_now();
    EXPECT_INT(nanosleep(&pause, NULL), ==, 0);
    atomic_store(stopped_ns, torc_now() - begun_ns);
    EXPECT_INT(kill(child, SIGCONT), ==, 0);
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    return status;
}

TEST(the_time_for_which_the_process_was_stopped_does_not_count)
{
    int status = -1;

    NEEDS_THREADS();
    stopped_ns =
        mmap(NULL, sizeof(*stopped_ns), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(stopped_ns != MAP_FAILED);
    /* Who is stopped while he looks, and does not sleep, does not see it. */
    for (int i = 0; i < 10 && status != 0; i++)
        status = stop_in_stall();
    EXPECT_INT(status, ==, 0);
    munmap(stopped_ns, sizeof(*stopped_ns));
}

/* ---- A program whose output nobody reads ---- */

static int main_that_is_not_heard(void *arg)
{
    (void)arg;
    spin_until_counted(1);
    return 0;
}

TEST(output_that_nobody_reads_does_not_hold_up_the_observer)
{
    int before;
    int result;

    NEEDS_THREADS();
    before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    harness_pipe(ends);
    EXPECT_INT(fcntl(ends[1], F_SETFL, O_NONBLOCK), ==, 0);
    while (write(ends[1], "x", 1) == 1)
        ;
    EXPECT_INT(fcntl(ends[1], F_SETFL, 0), ==, 0);
    EXPECT_INT(dup2(ends[1], STDERR_FILENO), ==, STDERR_FILENO);
    result = torc_run(main_that_is_not_heard, NULL, &quick);
    EXPECT_INT(dup2(before, STDERR_FILENO), ==, STDERR_FILENO);
    EXPECT_INT(result, ==, 0);
    close(before);
    harness_close_pair(ends);
}

/* ---- Rates, limits, options ---- */

static unsigned told_earlier;

static int main_that_spins_often(void *arg)
{
    const uint64_t *count = arg;

    /* The fixture's run before this one may have been slow, too. */
    told_earlier = count_told(" has kept shard ");
    for (uint64_t i = 1; i <= *count; i++)
        run_in_fiber(spin_once, &i);
    return 0;
}

TEST(all_stalls_are_counted_but_only_so_many_are_told_of)
{
    const uint64_t begun_ns = torc_now();
    uint64_t count = 8;
    unsigned reports;

    NEEDS_THREADS();
    begin_listening();
    harness_run_with(&quick, main_that_spins_often, &count);
    reports = count_told(" has kept shard ") - told_earlier;
    EXPECT_UINT(reports, >=, 3);
    EXPECT_UINT(reports, <=, 3 + 1 + (torc_now() - begun_ns) / TORC_SECOND);
    end_listening();
}

static int main_that_hogs(void *arg)
{
    harness_hog_until(torc_now() + 60 * TORC_MILLISECOND);
    EXPECT_INT((int)stalls(), ==, *(const int *)arg);
    return 0;
}

TEST(nothing_is_looked_for_where_that_is_not_wanted)
{
    const struct torc_options never = {.stall_ns = TORC_FOREVER};
    const struct torc_options nobody = {.stall_ns = TORC_MILLISECOND, .no_observer = true};
    int none = 0;

    harness_run_with(&never, main_that_hogs, &none);
    harness_run_with(&nobody, main_that_hogs, &none);
    EXPECT_INT(setenv("TORC_STALL_MS", "0", 1), ==, 0);
    harness_run_with(NULL, main_that_hogs, &none);
}

TEST(the_environment_sets_the_limit_where_the_program_does_not)
{
    char name[] = "\"spinner\" has kept";

    NEEDS_THREADS();
    EXPECT_INT(setenv("TORC_STALL_MS", "3", 1), ==, 0);
    begin_listening();
    harness_run_with(NULL, main_that_spins, name);
    end_listening();
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

TEST(a_setting_that_is_no_number_is_told_of_once)
{
    EXPECT_INT(setenv("TORC_STALL_MS", "soon", 1), ==, 0);
    begin_listening();
    EXPECT_INT(torc_run(do_nothing, NULL, NULL), ==, 0);
    EXPECT_UINT(count_told("TORC_STALL_MS: \"soon\" is not a number"), ==, 1);
    end_listening();
}

TEST(limits_out_of_range_are_refused)
{
    const struct torc_options small = {.stall_ns = TORC_MILLISECOND - 1};
    const struct torc_options large = {.stall_ns = 3601 * TORC_SECOND};

    EXPECT_INT(torc_run(do_nothing, NULL, &small), ==, -EINVAL);
    EXPECT_INT(torc_run(do_nothing, NULL, &large), ==, -EINVAL);
}

/* ---- The signal ---- */

static volatile sig_atomic_t urgent;

static void note_urgent(int number)
{
    (void)number;
    urgent = urgent + 1;
}

TEST(a_handler_of_the_program_for_the_signal_is_left_alone)
{
    const struct sigaction action = {.sa_handler = note_urgent};
    char text[] = "its stack is not to be had";

    NEEDS_THREADS();
    EXPECT_INT(sigaction(SIGURG, &action, NULL), ==, 0);
    begin_listening();
    harness_run_with(&quick, main_that_spins, text);
    EXPECT_INT(urgent, ==, 0);
    end_listening();
    raise(SIGURG);
    EXPECT_INT(urgent, ==, 1);
}

static int main_that_is_signalled(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        raise(SIGURG);
        EXPECT_INT(torc_yield(), ==, 0);
    }
    return 0;
}

TEST(the_signal_from_somebody_else_does_nothing_and_its_handling_ends_with_the_run)
{
    struct sigaction after;

    harness_run_with(&quick, main_that_is_signalled, NULL);
    EXPECT_INT(sigaction(SIGURG, NULL, &after), ==, 0);
    EXPECT(after.sa_handler == SIG_DFL);
}
