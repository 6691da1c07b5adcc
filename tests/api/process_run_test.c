/* SPDX-License-Identifier: MIT */
/*
 * process_run_test.c - programs run to their end, with all they read and write.
 */
#include "harness/children.h"
#include "harness/net.h"
#include "harness/run.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>

#define LARGE ((size_t)4 << 20) /* Far more than any pipe holds. */

static const char *const *shell(const char *script)
{
    static const char *argv[] = {"sh", "-c", NULL, NULL};

    argv[2] = script;
    return argv;
}

FIBER_TEST_WITH_THREADS(large_input_and_output_go_both_ways_at_once)
{
    const size_t size = harness_is_slow() ? LARGE / 8 : LARGE;
    char *input = malloc(size);
    char *output = malloc(size + 1);
    struct torc_process_exchange exchange = {
        .input = input, .input_size = size, .output = output, .output_capacity = size + 1};
    struct torc_process_status status;

    harness_pattern_fill(input, size, 0);
    EXPECT_INT(torc_process_run(shell("exec cat"), NULL, &exchange, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 0);
    EXPECT_UINT(exchange.output_size, ==, size);
    EXPECT_UINT(exchange.output_dropped, ==, 0);
    EXPECT_UINT(exchange.error_size, ==, 0);
    harness_pattern_check(output, size, 0);
    free(input);
    free(output);
    harness_expect_no_children();
}

FIBER_TEST_WITH_THREADS(what_does_not_fit_is_dropped_and_counted)
{
    char output[5];
    char error[100];
    struct torc_process_exchange exchange = {.output = output,
                                             .output_capacity = sizeof(output),
                                             .error = error,
                                             .error_capacity = sizeof(error)};
    struct torc_process_status status;

    EXPECT_INT(torc_process_run(shell("head -c 300000 /dev/zero; echo 12345678 >&2; exit 3"), NULL,
                                &exchange, &status),
               ==, 0);
    EXPECT_INT(status.exit_code, ==, 3);
    EXPECT_UINT(exchange.output_size, ==, sizeof(output));
    EXPECT_UINT(exchange.output_dropped, ==, 300000 - sizeof(output));
    EXPECT_UINT(exchange.error_size, ==, 9);
    EXPECT_MEM(error, "12345678\n", 9);
    EXPECT_UINT(exchange.error_dropped, ==, 0);
}

FIBER_TEST_WITH_THREADS(a_child_need_not_read_its_input)
{
    char *input = calloc(1, LARGE);
    char output[8];
    struct torc_process_exchange exchange = {
        .input = input, .input_size = LARGE, .output = output, .output_capacity = sizeof(output)};
    struct torc_process_status status;

    EXPECT_INT(torc_process_run(shell("exec <&-; echo done"), NULL, &exchange, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 0);
    EXPECT_UINT(exchange.output_size, ==, 5);
    EXPECT_MEM(output, "done\n", 5);
    free(input);
}

FIBER_TEST_WITH_THREADS(an_empty_input_is_at_its_end_and_no_exchange_is_none)
{
    char output[8];
    struct torc_process_exchange exchange = {
        .input = "", .output = output, .output_capacity = sizeof(output)};
    struct torc_process_status status;

    EXPECT_INT(torc_process_run(shell("cat; echo end"), NULL, &exchange, &status), ==, 0);
    EXPECT_UINT(exchange.output_size, ==, 4);
    EXPECT_INT(torc_process_run(shell("cat; exit 6"), NULL, NULL, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 6);
    EXPECT_INT(torc_process_run(shell("exit 6"), NULL, NULL, NULL), ==, 0);
}

FIBER_TEST_WITH_THREADS(what_cannot_be_run_is_refused)
{
    const struct torc_process_options piped = {.error = {.kind = TORC_STDIO_PIPE}};
    const char *const missing[] = {"no-such-program-anywhere", NULL};
    struct torc_process_exchange exchange = {.output_size = 4711};

    harness_use_plain_path();
    EXPECT_INT(torc_process_run(missing, NULL, &exchange, NULL), ==, -ENOENT);
    EXPECT_UINT(exchange.output_size, ==, 0);
    EXPECT_INT(torc_process_run(shell("true"), &piped, &exchange, NULL), ==, -EINVAL);
    EXPECT_INT(torc_process_run(NULL, NULL, &exchange, NULL), ==, -EINVAL);
    harness_expect_no_children();
}

/* The child says that it is ready. */
static void await_signal(void)
{
    struct torc_signals signals;
    const int number = SIGUSR2;

    EXPECT_INT(torc_signals_open(&signals, &number, 1), ==, 0);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGUSR2);
    torc_signals_close(&signals);
}

static int time_out_when_told(void *arg)
{
    struct torc_scope *scope = arg;

    await_signal();
    torc_scope_set_deadline(scope, torc_now());
    return 0;
}

FIBER_TEST_WITH_THREADS(a_deadline_stops_a_program_that_ignores_being_asked)
{
    char output[64];
    struct torc_process_exchange exchange = {.input = output,
                                             .output = output,
                                             .output_capacity = sizeof(output),
                                             .grace_ns = 10 * TORC_MILLISECOND};
    struct torc_process_status status = {.exit_code = -1};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(NULL, time_out_when_told, &scope);
    harness_yield(2);
    EXPECT_INT(torc_process_run(shell("trap '' TERM; kill -USR2 $PPID; exec sleep 1000"), NULL,
                                &exchange, &status),
               ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_INT(status.exit_code, ==, -1);
    EXPECT_INT(status.signal, ==, SIGKILL);
    harness_expect_no_children();
}

static int cancel_when_told(void *arg)
{
    await_signal();
    torc_scope_cancel(arg);
    return 0;
}

FIBER_TEST_WITH_THREADS(last_words_are_collected_after_a_cancel)
{
    static const char script[] = "trap 'head -c 200000 /dev/zero; echo bye; exit 4' TERM;"
                                 "kill -USR2 $PPID; while :; do sleep 0.01; done";
    char *output = malloc(LARGE);
    struct torc_process_exchange exchange = {
        .output = output, .output_capacity = LARGE, .grace_ns = TORC_FOREVER};
    struct torc_process_status status;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(NULL, cancel_when_told, &scope);
    harness_yield(2);
    EXPECT_INT(torc_process_run(shell(script), NULL, &exchange, &status), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(status.exit_code, ==, 4);
    /* Far more than a pipe holds: it was read after the cancel, or the child had not ended. */
    EXPECT_UINT(exchange.output_size, >=, 100000);
    harness_expect_no_children();
    free(output);
}
