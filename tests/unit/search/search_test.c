/* SPDX-License-Identifier: MIT */
/*
 * search_test.c - a search finds the lowest seed that fails, in whatever way, and makes it small.
 */
#include "harness/harness.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <torc/sim_search.h>
#include <torc/torc.h>
#include <unistd.h>

static struct torc_sim_finding find(struct torc_sim_search search, torc_fiber_fn *scenario)
{
    struct torc_sim_finding finding;

    EXPECT_INT(torc_sim_search(&search, scenario, NULL, &finding), ==, 0);
    return finding;
}

static int sleep_a_while(void *arg)
{
    (void)arg;
    return torc_sleep(torc_sim_random_below(TORC_SECOND) + 1);
}

static int fail_seldom(void *arg)
{
    (void)arg;
    return torc_sim_random_below(16) == 0 ? -EIO : 0;
}

static int check_nothing_true(void *arg)
{
    (void)arg;
    TORC_SIM_CHECK(torc_sim_time() == UINT64_MAX);
    return 0;
}

static int abort_at_once(void *arg)
{
    (void)arg;
    abort();
}

static int exit_at_once(void *arg)
{
    const int *status = arg;

    _exit(status != NULL ? *status : 3);
}

/* One process dies of its first seed; all others pass whatever they take. */
static int one_dies(void *arg)
{
    if (atomic_fetch_add((atomic_uint *)arg, 1) == 1)
        abort();
    return torc_sleep(TORC_SECOND);
}

static int spin(void *arg)
{
    (void)arg;
    for (volatile bool always = true; always;)
        ;
    return 0;
}

static int remember(void *arg)
{
    static unsigned runs;

    (void)arg;
    torc_sim_trace("run", (int64_t)runs++, 0);
    return 0;
}

static int fail_by_resets(void *arg)
{
    struct torc_sim_chaos chaos;

    (void)arg;
    torc_sim_get_chaos(&chaos);
    return chaos.reset_rate > 0 ? -ECONNRESET : 0;
}

TEST(seeds_that_pass_are_counted_and_so_is_what_has_happened)
{
    const struct torc_sim_finding finding =
        find((struct torc_sim_search){.count = 20, .jobs = 3}, sleep_a_while);

    EXPECT_INT(finding.outcome, ==, TORC_SIM_PASSED);
    EXPECT_UINT(finding.seeds, ==, 20);
    EXPECT_UINT(finding.time_ns, >, 0);
    EXPECT_UINT(finding.events, >, 0);
    EXPECT_UINT(finding.real_ns, >, 0);
}

TEST(the_lowest_seed_that_fails_is_found_by_any_number_of_processes)
{
    struct torc_sim_search search = {.count = 1000, .jobs = 1, .no_shrink = true};
    const struct torc_sim_finding alone = find(search, fail_seldom);

    EXPECT_INT(alone.outcome, ==, TORC_SIM_RESULT);
    EXPECT_INT(alone.code, ==, -EIO);
    EXPECT_UINT(alone.seeds, ==, alone.found_seed);
    for (search.jobs = 2; search.jobs < 6; search.jobs++)
        EXPECT_UINT(find(search, fail_seldom).found_seed, ==, alone.found_seed);
    search.first = alone.found_seed + 1;
    EXPECT_UINT(find(search, fail_seldom).found_seed, >, alone.found_seed);
}

TEST(every_way_to_fail_is_told_from_the_others)
{
    struct torc_sim_search search = {.count = 3, .jobs = 2, .no_shrink = true};
    struct torc_sim_finding finding = find(search, check_nothing_true);
    sigset_t alarms;

    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    EXPECT_INT(finding.outcome, ==, TORC_SIM_RESULT);
    EXPECT_INT(finding.code, ==, -EBADMSG);
    finding = find(search, abort_at_once);
    EXPECT_INT(finding.outcome, ==, TORC_SIM_DIED);
    EXPECT_INT(finding.code, ==, SIGABRT);
    EXPECT_UINT(finding.found_seed, ==, 1);
    finding = find(search, exit_at_once);
    EXPECT_INT(finding.outcome, ==, TORC_SIM_EXITED);
    EXPECT_INT(finding.code, ==, 3);
    search.hang_ns = 50 * TORC_MILLISECOND;
    EXPECT_INT(sigprocmask(SIG_BLOCK, &alarms, NULL), ==,
               0); /* That may not keep it from ending. */
    finding = find(search, spin);
    EXPECT_INT(finding.outcome, ==, TORC_SIM_HUNG);
    search.hang_ns = 0;
    search.twice = true;
    EXPECT_INT(find(search, remember).outcome, ==, TORC_SIM_DIFFERS);
    EXPECT_INT(find(search, sleep_a_while).outcome, ==, TORC_SIM_PASSED);
}

TEST(a_scenario_that_ends_its_process_has_failed_whatever_the_status)
{
    int status = 0;
    struct torc_sim_finding finding;
    const struct torc_sim_search search = {.count = 3, .jobs = 2, .no_shrink = true};

    EXPECT_INT(torc_sim_search(&search, exit_at_once, &status, &finding), ==, 0);
    EXPECT_INT(finding.outcome, ==, TORC_SIM_EXITED);
    EXPECT_INT(finding.code, ==, 0);
    EXPECT_UINT(finding.found_seed, ==, 1);
}

/* Without an end to the seeds: that they stop is what is tested. */
TEST(a_process_that_dies_ends_the_search_of_all_others)
{
    const struct torc_sim_search search = {.count = UINT64_MAX, .jobs = 4, .no_shrink = true};
    struct torc_sim_finding finding;
    atomic_uint *runs =
        mmap(NULL, sizeof(*runs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    EXPECT(runs != MAP_FAILED);
    EXPECT_INT(torc_sim_search(&search, one_dies, runs, &finding), ==, 0);
    EXPECT_INT(finding.outcome, ==, TORC_SIM_DIED);
    EXPECT_INT(finding.code, ==, SIGABRT);
    EXPECT_INT(munmap(runs, sizeof(*runs)), ==, 0);
}

TEST(a_failure_keeps_only_the_chaos_that_it_needs)
{
    struct torc_sim_chaos wild;
    struct torc_sim_options options = {.chaos = &wild};
    char text[TORC_SIM_CHAOS_TEXT_SIZE];
    struct torc_sim_finding finding;

    torc_sim_chaos_init(&wild, TORC_SIM_WILD);
    finding = find((struct torc_sim_search){.options = &options, .jobs = 1}, fail_by_resets);
    EXPECT_INT(finding.code, ==, -ECONNRESET);
    EXPECT_UINT(finding.trials, >, 0);
    torc_sim_chaos_format(&finding.chaos, text);
    EXPECT_STR(text, "calm,reset_rate=2000");
}

TEST(a_failure_that_cannot_be_shrunk_in_time_is_told_as_it_was_found)
{
    struct torc_sim_chaos wild;
    struct torc_sim_options options = {.chaos = &wild};
    struct torc_sim_finding finding;

    torc_sim_chaos_init(&wild, TORC_SIM_WILD);
    finding = find((struct torc_sim_search){.options = &options, .jobs = 1, .shrink_ns = 1},
                   fail_by_resets);
    EXPECT_INT(finding.code, ==, -ECONNRESET);
    EXPECT_UINT(finding.trials, <, torc_sim_chaos_settings() / 2);
    EXPECT_UINT(finding.chaos.reset_rate, ==, wild.reset_rate);
}

TEST(a_budget_of_time_bounds_a_search_without_a_count)
{
    const struct torc_sim_finding finding = find(
        (struct torc_sim_search){.budget_ns = 20 * TORC_MILLISECOND, .jobs = 2}, sleep_a_while);

    EXPECT_INT(finding.outcome, ==, TORC_SIM_PASSED);
    EXPECT_UINT(finding.real_ns, >=, 20 * TORC_MILLISECOND);
}

static int search_inside(void *arg)
{
    struct torc_sim_finding finding;

    (void)arg;
    return torc_sim_search(&(struct torc_sim_search){.count = 1}, sleep_a_while, NULL, &finding);
}

TEST(what_cannot_be_searched_is_refused)
{
    struct torc_sim_finding finding;

    EXPECT_INT(
        torc_sim_search(&(struct torc_sim_search){.jobs = 257}, sleep_a_while, NULL, &finding), ==,
        -EINVAL);
    EXPECT_INT(torc_run(search_inside, NULL, NULL), ==, -EBUSY);
    EXPECT_INT(setenv("TORC_SIM_CHAOS", "mild", 1), ==, 0);
    EXPECT_INT(
        torc_sim_search(&(struct torc_sim_search){.count = 1}, sleep_a_while, NULL, &finding), ==,
        -EINVAL);
}

/* ---- The command line ---- */

static int run_main(torc_fiber_fn *scenario, const char *one, const char *other)
{
    char name[] = "simulation";
    char *argv[] = {name, (char *)(uintptr_t)one, (char *)(uintptr_t)other, NULL};

    return torc_sim_main(other != NULL ? 3 : 2, argv, scenario, NULL, NULL);
}

TEST(the_exit_status_tells_whether_something_failed)
{
    EXPECT_INT(run_main(sleep_a_while, "--seeds", "5"), ==, 0);
    EXPECT_INT(run_main(sleep_a_while, "--seed", "5"), ==, 0);
    EXPECT_INT(run_main(check_nothing_true, "--seeds", "5"), ==, 1);
    EXPECT_INT(run_main(check_nothing_true, "--seed", "5"), ==, 1);
    EXPECT_INT(run_main(sleep_a_while, "--help", NULL), ==, 0);
}

/* What is printed goes to a file, of which the beginning is returned. */
static const char *print_of_failure(void)
{
    static char text[4096];
    FILE *file = tmpfile();
    const int saved = dup(STDOUT_FILENO);

    EXPECT(file != NULL && saved >= 0);
    EXPECT_INT(dup2(fileno(file), STDOUT_FILENO), ==, STDOUT_FILENO);
    EXPECT_INT(run_main(check_nothing_true, "--seeds", "1"), ==, 1);
    EXPECT_INT(fflush(stdout), ==, 0);
    EXPECT_INT(dup2(saved, STDOUT_FILENO), ==, STDOUT_FILENO);
    close(saved);
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

TEST(the_command_that_repeats_a_failure_has_the_settings_of_the_environment)
{
    EXPECT_INT(setenv("TORC_FORBID", "multishot", 1), ==, 0);
    EXPECT_INT(setenv("TORC_CHECK", "1", 1), ==, 0);
    EXPECT(strstr(print_of_failure(), "to repeat it: TORC_FORBID=multishot TORC_CHECK=1 ") != NULL);
    EXPECT_INT(setenv("TORC_FORBID", "", 1), ==, 0);
    EXPECT_INT(unsetenv("TORC_CHECK"), ==, 0);
    EXPECT(strstr(print_of_failure(), "to repeat it: TORC_") == NULL);
}

TEST(arguments_that_make_no_sense_are_refused)
{
    static const char *const pairs[][2] = {
        {"--seeds", "0"},   {"--seeds", "many"}, {"--jobs", "257"},     {"--jobs", "-1"},
        {"--first", "0"},   {"--seconds", "0"},  {"--chaos", "mild"},   {"--chaos", "calm,x=1"},
        {"--seed", ""},     {"--seed", "1x"},    {"--seeds", "1e3"},    {"--jobs", ""},
        {"--unheard", "1"}, {"--first", NULL},   {"something", "else"},
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        EXPECT_MSG(run_main(sleep_a_while, pairs[i][0], pairs[i][1]) == 2, "%s", pairs[i][0]);
}
