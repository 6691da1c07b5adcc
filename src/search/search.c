/* SPDX-License-Identifier: MIT */
/*
 * search.c - many seeds in several processes, until one of them fails.
 *
 * The processes take seeds in order from a counter that they share, so none waits for another. The
 * first failure ends the search; all seeds below it have been taken by then, and are finished, so
 * what is told is the lowest that fails, the same one however many processes there are.
 */
#include "search.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEDS_DEFAULT 1000
#define JOBS_MAX      256u
#define CPUS_MAX      8192u /* as many as Linux can have; libc's cpu_set_t ends at 1,024 */
#define ASK_EVERY_MS  10

/* What a process is doing, and the first failure that it has met. */
struct slot {
    pid_t process;
    uint64_t seed; /* the one that runs */
    uint64_t seeds;
    uint64_t time_ns;
    uint64_t events;
    uint64_t ops;
    uint64_t faults;
    struct search__end end;
    bool has_ended; /* by itself, when no seed was left */
};

/* Shared by all processes. */
struct board {
    atomic_uint_fast64_t next; /* how many seeds have been taken */
    atomic_bool has_failed;
    uint64_t first;
    uint64_t count;
    uint64_t until_ns;
    unsigned jobs;
    struct slot slots[];
};

static void add(struct slot *slot, const struct torc_sim_report *report)
{
    slot->seeds++;
    slot->time_ns += report->time_ns;
    slot->events += report->events;
    slot->ops += report->ops;
    slot->faults += report->faults;
}

/* The life of one process. */
static _Noreturn void work(struct board *board, struct slot *slot,
                           const struct search__scenario *scenario)
{
    search__become_child(true);
    while (!atomic_load(&board->has_failed) && search__clock() < board->until_ns) {
        const uint64_t index = atomic_fetch_add(&board->next, 1);
        struct search__end end;

        if (index >= board->count)
            break;
        slot->seed = board->first + index;
        search__watch(scenario);
        search__run_here(scenario, slot->seed, &end);
        add(slot, &end.report);
        if (end.outcome != TORC_SIM_PASSED) {
            slot->end = end;
            atomic_store(&board->has_failed, true);
        }
    }
    slot->has_ended = true;
    _exit(0);
}

/* ---- The parent ---- */

static int start(struct board *board, const struct search__scenario *scenario)
{
    for (unsigned i = 0; i < board->jobs; i++) {
        const pid_t process = fork();

        if (process == 0)
            work(board, &board->slots[i], scenario);
        if (process < 0) {
            const int error = -errno;

            atomic_store(&board->has_failed, true); /* Those that run are to end. */
            return error;
        }
        board->slots[i].process = process;
    }
    return 0;
}

/* A process has ended. One that does not say that it has ended by itself has met a failure. */
static void finish_one(struct board *board, struct slot *slot, int status)
{
    slot->process = 0;
    if (slot->has_ended || slot->end.outcome != TORC_SIM_PASSED)
        return;
    slot->seeds++;
    search__end_of(status, &slot->end);
    atomic_store(&board->has_failed, true);
}

/* Finish those that have ended. Returns how many have not. */
static unsigned finish_ended(struct board *board)
{
    unsigned left = 0;

    for (unsigned i = 0; i < board->jobs; i++) {
        struct slot *slot = &board->slots[i];
        int status = 0;

        if (slot->process == 0)
            continue;
        if (waitpid(slot->process, &status, WNOHANG) != 0)
            finish_one(board, slot, status);
        else
            left++;
    }
    return left;
}

/*
 * Wait for the processes as they end: the others have to hear of one that has died. Where there are
 * no descriptors for processes they are asked now and then.
 */
static void finish(struct board *board)
{
    struct pollfd processes[JOBS_MAX];
    int patience_ms = -1;

    for (unsigned i = 0; i < board->jobs; i++) {
        const pid_t process = board->slots[i].process;

        processes[i] = (struct pollfd){
            .fd = process != 0 ? (int)syscall(SYS_pidfd_open, process, 0) : -1, .events = POLLIN};
        if (process != 0 && processes[i].fd < 0)
            patience_ms = ASK_EVERY_MS;
    }
    while (finish_ended(board) > 0) {
        (void)poll(processes, board->jobs, patience_ms); /* A signal ends it as well. */
        for (unsigned i = 0; i < board->jobs; i++) {
            if (processes[i].fd < 0 || processes[i].revents == 0)
                continue;
            (void)close(processes[i].fd);
            processes[i].fd = -1;
        }
    }
    for (unsigned i = 0; i < board->jobs; i++) {
        if (processes[i].fd >= 0)
            (void)close(processes[i].fd);
    }
}

/* Sum up. Returns the slot with the lowest seed that failed, or NULL. */
static const struct slot *sum_up(const struct board *board, struct torc_sim_finding *finding)
{
    const struct slot *lowest = NULL;

    for (unsigned i = 0; i < board->jobs; i++) {
        const struct slot *slot = &board->slots[i];

        finding->seeds += slot->seeds;
        finding->time_ns += slot->time_ns;
        finding->events += slot->events;
        finding->ops += slot->ops;
        finding->faults += slot->faults;
        if (slot->end.outcome != TORC_SIM_PASSED && (lowest == NULL || slot->seed < lowest->seed))
            lowest = slot;
    }
    return lowest;
}

static unsigned count_cpus(void)
{
    cpu_set_t set[CPUS_MAX / CPU_SETSIZE];
    unsigned count;

    memset(set, 0, sizeof(set));
    if (sched_getaffinity(0, sizeof(set), set) < 0)
        return 1;
    count = (unsigned)CPU_COUNT_S(sizeof(set), set);
    return count < JOBS_MAX ? count : JOBS_MAX;
}

static void set_up(struct board *board, const struct torc_sim_search *search, unsigned jobs)
{
    const uint64_t count_default = search->budget_ns != 0 ? UINT64_MAX : SEEDS_DEFAULT;

    board->first = search->first != 0 ? search->first : 1;
    board->count = search->count != 0 ? search->count : count_default;
    board->until_ns = search->budget_ns != 0 ? search__clock() + search->budget_ns : UINT64_MAX;
    board->jobs = jobs;
}

static int conclude(const struct board *board, struct search__scenario *scenario, bool shrink,
                    struct torc_sim_finding *finding)
{
    const struct slot *lowest = sum_up(board, finding);

    if (lowest == NULL)
        return 0;
    finding->outcome = lowest->end.outcome;
    finding->code = lowest->end.code;
    finding->found_seed = finding->seed = lowest->seed;
    finding->chaos = scenario->chaos;
    return shrink ? search__shrink(scenario, &lowest->end, finding) : 0;
}

int torc_sim_search(const struct torc_sim_search *search, torc_fiber_fn *body, void *arg,
                    struct torc_sim_finding *ret_finding)
{
    const unsigned jobs = search->jobs != 0 ? search->jobs : count_cpus();
    const size_t size = sizeof(struct board) + jobs * sizeof(struct slot);
    const uint64_t begun_ns = search__clock();
    struct search__scenario scenario;
    struct board *board;
    int result;

    memset(ret_finding, 0, sizeof(*ret_finding));
    if (torc_on_shard())
        return -EBUSY;
    if (jobs > JOBS_MAX)
        return -EINVAL;
    result = search__scenario_init(&scenario, search, body, arg);
    if (result < 0)
        return result;
    board = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return -errno;
    set_up(board, search, jobs);
    result = start(board, &scenario);
    finish(board);
    ret_finding->real_ns = search__clock() - begun_ns;
    if (result == 0)
        result = conclude(board, &scenario, !search->no_shrink, ret_finding);
    (void)munmap(board, size);
    return result;
}
