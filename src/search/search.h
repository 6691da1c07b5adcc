/* SPDX-License-Identifier: MIT */
/*
 * search.h - what the parts of a search share: a scenario, and one run of it in a process of its
 * own, since what fails may take the process with it.
 */
#ifndef SEARCH_SEARCH_H
#define SEARCH_SEARCH_H

#include <torc/sim_search.h>

struct search__scenario {
    torc_fiber_fn *body;
    void *arg;
    struct torc_sim_options options;
    struct torc_sim_chaos chaos; /* options.chaos points here */
    uint64_t hang_ns;
    uint64_t shrink_ns;
    bool twice;
};

/* How a run has ended. */
struct search__end {
    enum torc_sim_outcome outcome;
    int code;
    struct torc_sim_report report; /* empty if it died */
};

/* Prepare the scenario of `search`, with its chaos. 0, or -EINVAL. */
int search__scenario_init(struct search__scenario *scenario, const struct torc_sim_search *search,
                          torc_fiber_fn *body, void *arg);

/* The chaos that TORC_SIM_CHAOS names, or the default one. 0; -EINVAL if it names none. */
int search__read_chaos(struct torc_sim_chaos *ret_chaos);

/* CLOCK_MONOTONIC, the real one. */
uint64_t search__clock(void);

/* Run a seed here, twice if it is to be compared. */
void search__run_here(const struct search__scenario *scenario, uint64_t seed,
                      struct search__end *ret_end);

/* Run a seed in a process of its own; `quiet`: without what it prints. 0, or why there is none. */
int search__run_apart(const struct search__scenario *scenario, uint64_t seed, bool quiet,
                      struct search__end *ret_end);

/* This process is one of a search: it ends with its parent, and is silent if it is to be. */
void search__become_child(bool quiet);

/* Kill this process if it has not called this again before the scenario is taken to hang. */
void search__watch(const struct search__scenario *scenario);

/* How a process of a search has ended, by its status of wait(2), if it did not tell. */
void search__end_of(int status, struct search__end *ret_end);

/* Make the failure `end` of a seed small. Fills the last fields of the finding. */
int search__shrink(struct search__scenario *scenario, const struct search__end *end,
                   struct torc_sim_finding *finding);

#endif
