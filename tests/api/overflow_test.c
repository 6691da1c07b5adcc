/* SPDX-License-Identifier: MIT */
/*
 * overflow_test.c - faults: the process dies as it should, and says which fiber it was.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <liburing.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

/* What a death of a fiber should look like: by which signal, and saying what. */
struct fault {
    torc_fiber_fn *body;
    void *arg;
    struct torc_options options;
};

static struct fault fault;

#define NEEDS_OWN_FAULTS()                                           \
    do {                                                             \
        if (UNDER_ASAN || UNDER_TSAN || harness_is_valgrind())       \
            SKIP("other tools report faults in a way of their own"); \
    } while (0)

static int named_body(void *arg)
{
    torc_fiber_set_name("unlucky");
    return fault.body(arg);
}

static int spawn_faulty(void *arg)
{
    harness_spawn(NULL, named_body, arg);
    return torc_sleep(TORC_SECOND);
}

static void run_fault(void)
{
    _exit(torc_run(spawn_faulty, fault.arg, &fault.options) == 0 ? 7 : 8);
}

static void expect_fault(torc_fiber_fn *body, void *arg, int signal, const char *text)
{
    fault.body = body;
    fault.arg = arg;
    harness_expect_death(run_fault, signal, text);
}

static int descend(void *arg)
{
    volatile char frame[512] = "";
    const unsigned depth = *(const unsigned *)arg;
    unsigned below = depth - 1;

    frame[0] = (char)depth;
    if (depth > 0)
        frame[1] = (char)descend(&below);
    return frame[0] + frame[1];
}

TEST(a_fiber_that_overflows_its_stack_is_named)
{
    static unsigned far = 100000;

    NEEDS_OWN_FAULTS();
    expect_fault(descend, &far, SIGSEGV, "unlucky");
    expect_fault(descend, &far, SIGSEGV, "overflow");
}

TEST(an_overflow_is_told_from_other_faults_on_stacks_of_any_size)
{
    static const size_t sizes[] = {16 << 10, 1 << 20};
    static unsigned far = 100000;

    NEEDS_OWN_FAULTS();
    for (int i = 0; i < 2; i++) {
        fault.options = (struct torc_options){.stack_size = sizes[i]};
        expect_fault(descend, &far, SIGSEGV, "overflow");
    }
}

/* A frame larger than a page, as alloca() and large arrays make them, is caught as well. */
static int use_large_frame(void *arg)
{
    char frame[200 << 10];

    memset(frame, *(const int *)arg, sizeof(frame));
    __asm__ volatile("" ::"r"(frame) : "memory");
    return frame[0];
}

TEST(a_frame_larger_than_the_stack_does_not_step_over_the_guard)
{
    static int value = 3;

    NEEDS_OWN_FAULTS();
    fault.options = (struct torc_options){0};
    expect_fault(use_large_frame, &value, SIGSEGV, "unlucky");
}

static int follow_null(void *arg)
{
    int *volatile nowhere = NULL;

    (void)arg;
    return *nowhere; /* NOLINT(clang-analyzer-core.NullDereference) */
}

TEST(a_fiber_that_follows_a_null_pointer_is_named)
{
    NEEDS_OWN_FAULTS();
    expect_fault(follow_null, NULL, SIGSEGV, "unlucky");
}

static int give_up(void *arg)
{
    (void)arg;
    abort();
}

TEST(a_fiber_that_aborts_is_named)
{
    NEEDS_OWN_FAULTS();
    expect_fault(give_up, NULL, SIGABRT, "unlucky");
}

TEST(with_the_fault_handler_off_the_process_still_dies_of_the_signal)
{
    struct harness_death death;

    NEEDS_OWN_FAULTS();
    fault = (struct fault){follow_null, NULL, {.no_fault_handler = true}};
    harness_watch_death(run_fault, &death);
    EXPECT(WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGSEGV);
    EXPECT_STR(death.text, "");
}

/* A program that has a handler of its own knows why. */
static void own_handler(int number)
{
    static const char text[] = "own handler\n";

    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(40 + number);
}

static void run_fault_with_handler(void)
{
    signal(SIGSEGV, own_handler);
    run_fault();
}

TEST(a_handler_of_the_programs_own_is_left_in_place)
{
    struct harness_death death;

    NEEDS_OWN_FAULTS();
    fault = (struct fault){.body = follow_null};
    harness_watch_death(run_fault_with_handler, &death);
    EXPECT_STR(death.text, "own handler\n");
    EXPECT_MSG(WIFEXITED(death.status) && WEXITSTATUS(death.status) == 40 + SIGSEGV, "0x%x",
               (unsigned)death.status);
}

/* ---- Broken contracts ---- */

static int leave_op(void *arg)
{
    struct torc_op op;
    static char byte;

    (void)arg;
    io_uring_prep_recv(torc_op_prepare(&op), STDERR_FILENO, &byte, 1, 0);
    return 0;
}

TEST(a_fiber_that_ends_with_an_operation_in_flight_aborts)
{
    expect_fault(leave_op, NULL, SIGABRT, "unlucky");
}

static int leave_scope(void *arg)
{
    struct torc_scope scope;

    (void)arg;
    torc_scope_open(&scope, 0);
    return 0;
}

TEST(a_fiber_that_ends_with_a_scope_open_aborts)
{
    expect_fault(leave_scope, NULL, SIGABRT, "unlucky");
}

/* ---- Afterwards ---- */

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

TEST(the_handlers_of_signals_are_as_before_when_a_run_has_ended)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
    struct sigaction before[5];
    struct sigaction after;

    for (int i = 0; i < 5; i++)
        EXPECT_INT(sigaction(signals[i], NULL, &before[i]), ==, 0);
    EXPECT_INT(torc_run(nothing, NULL, NULL), ==, 0);
    for (int i = 0; i < 5; i++) {
        EXPECT_INT(sigaction(signals[i], NULL, &after), ==, 0);
        EXPECT_MSG(after.sa_handler == before[i].sa_handler, "signal %d", signals[i]);
    }
}
