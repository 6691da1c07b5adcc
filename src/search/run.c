/* SPDX-License-Identifier: MIT */
/*
 * run.c - one run of a scenario, here or in a process of its own.
 */
#include "search.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANG_NS   UINT64_C(60000000000)
#define SHRINK_NS UINT64_C(60000000000)

uint64_t search__clock(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

int search__read_chaos(struct torc_sim_chaos *ret_chaos)
{
    const char *text = getenv("TORC_SIM_CHAOS");

    if (text != NULL && *text != '\0')
        return torc_sim_chaos_parse(text, ret_chaos);
    torc_sim_chaos_init(ret_chaos, TORC_SIM_DEFAULT);
    return 0;
}

int search__scenario_init(struct search__scenario *scenario, const struct torc_sim_search *search,
                          torc_fiber_fn *body, void *arg)
{
    *scenario = (struct search__scenario){
        .body = body,
        .arg = arg,
        .hang_ns = search->hang_ns != 0 ? search->hang_ns : HANG_NS,
        .shrink_ns = search->shrink_ns != 0 ? search->shrink_ns : SHRINK_NS,
        .twice = search->twice,
    };
    if (search->options != NULL)
        scenario->options = *search->options;
    if (scenario->options.chaos != NULL)
        scenario->chaos = *scenario->options.chaos;
    else if (search__read_chaos(&scenario->chaos) < 0)
        return -EINVAL;
    scenario->options.chaos = &scenario->chaos;
    return 0;
}

static int run_once(const struct search__scenario *scenario, uint64_t seed,
                    struct torc_sim_report *ret_report)
{
    struct torc_sim_options options = scenario->options;

    options.report = ret_report;
    return torc_sim_run(seed, &options, scenario->body, scenario->arg);
}

void search__run_here(const struct search__scenario *scenario, uint64_t seed,
                      struct search__end *ret_end)
{
    int result;

    memset(ret_end, 0, sizeof(*ret_end));
    result = run_once(scenario, seed, &ret_end->report);
    if (result < 0) {
        ret_end->outcome = TORC_SIM_RESULT;
        ret_end->code = result;
    } else if (scenario->twice) {
        struct torc_sim_report again;

        result = run_once(scenario, seed, &again);
        if (result < 0 || again.hash != ret_end->report.hash)
            ret_end->outcome = TORC_SIM_DIFFERS;
    }
}

/* ---- In a process of its own ---- */

void search__become_child(bool quiet)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)unsetenv("TORC_SIM_SEED"); /* It would take the place of every seed. */
    if (quiet) {
        const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        if (null >= 0) {
            (void)dup2(null, STDOUT_FILENO);
            (void)dup2(null, STDERR_FILENO);
        }
    }
}

void search__watch(const struct search__scenario *scenario)
{
    const uint64_t hang_us = scenario->hang_ns / 1000 + 1;
    const struct itimerval timer = {.it_value = {.tv_sec = (time_t)(hang_us / 1000000),
                                                 .tv_usec = (suseconds_t)(hang_us % 1000000)}};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    (void)signal(SIGALRM, SIG_DFL);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

void search__end_of(int status, struct search__end *ret_end)
{
    memset(ret_end, 0, sizeof(*ret_end));
    if (!WIFSIGNALED(status)) {
        ret_end->outcome = TORC_SIM_EXITED;
        ret_end->code = WEXITSTATUS(status);
    } else if (WTERMSIG(status) == SIGALRM) {
        ret_end->outcome = TORC_SIM_HUNG;
    } else {
        ret_end->outcome = TORC_SIM_DIED;
        ret_end->code = WTERMSIG(status);
    }
}

/* The end as the child has told it. */
struct told {
    bool is_told;
    struct search__end end;
};

int search__run_apart(const struct search__scenario *scenario, uint64_t seed, bool quiet,
                      struct search__end *ret_end)
{
    struct told *told =
        mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child;
    int status = 0;

    if (told == MAP_FAILED)
        return -errno;
    child = fork();
    if (child == 0) {
        search__become_child(quiet);
        search__watch(scenario);
        search__run_here(scenario, seed, &told->end);
        told->is_told = true;
        _exit(0);
    }
    if (child < 0) {
        const int error = -errno;

        (void)munmap(told, sizeof(*told));
        return error;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (told->is_told)
        *ret_end = told->end;
    else
        search__end_of(status, ret_end);
    (void)munmap(told, sizeof(*told));
    return 0;
}
