/* SPDX-License-Identifier: MIT */
/*
 * 27_process.c - have another program sort lines, and end one that would run for ever.
 */
#include <stdio.h>
#include <string.h>
#include <torc/torc.h>

static int sort_lines(void)
{
    static const char *const argv[] = {"sort", "-r", NULL};
    static const char lines[] = "one\ntwo\nthree\n";
    char sorted[64];
    struct torc_process_exchange exchange = {.input = lines,
                                             .input_size = strlen(lines),
                                             .output = sorted,
                                             .output_capacity = sizeof(sorted)};
    struct torc_process_status status;
    const int result = torc_process_run(argv, NULL, &exchange, &status);

    if (result == 0)
        printf("%.*ssort ended with %d\n", (int)exchange.output_size, sorted, status.exit_code);
    return result;
}

static int run_for_a_while(void)
{
    static const char *const argv[] = {"sleep", "1000", NULL};
    struct torc_process_status status = {0};
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 100 * TORC_MILLISECOND);
    result = torc_process_run(argv, NULL, NULL, &status);
    (void)torc_scope_close(&scope);
    printf("sleep: %s; ended by signal %d\n", torc_strerror(result), status.signal);
    return result == -ETIME ? 0 : result;
}

static int run(void *arg)
{
    const int result = sort_lines();

    (void)arg;
    return result < 0 ? result : run_for_a_while();
}

int main(void)
{
    const int result = torc_run(run, NULL, NULL);

    if (result < 0)
        fprintf(stderr, "27_process: %s\n", torc_strerror(result));
    return result < 0;
}
