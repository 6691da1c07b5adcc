/* SPDX-License-Identifier: MIT */
/*
 * interleave.h - run a few threads in every order of their atomic steps.
 *
 * A test includes the very .c file that it is about. shim/stdatomic.h turns each atomic access in
 * it into a step: before a step the thread, which is a coroutine, stops, and the explorer chooses
 * who goes on. All that the threads share, and their stacks, are in one arena, so that a state can
 * be put back and left in another direction, and one that has been seen is not gone into again.
 * That makes the search exhaustive without a bound on its depth.
 *
 * Memory is that of x86 (total store order): a store that is not sequentially consistent stays in
 * the thread's store buffer, where only the thread itself sees it, until the explorer chooses to
 * flush it; loads may so pass stores. Read-modify-writes and sequentially consistent stores flush.
 * CPUs that reorder loads, or stores with each other, are not modelled: ThreadSanitizer looks at
 * what those need, which is that accesses are ordered at all.
 *
 * Where that is too much, a model can bound how often a thread is interrupted that could go on:
 * most bugs need one or two such preemptions.
 *
 * A mutation changes what some accesses do, as a bug would. A test of a mutation says that the
 * explorer finds it: a search that finds nothing has then shown something.
 */
#ifndef INTERLEAVE_INTERLEAVE_H
#define INTERLEAVE_INTERLEAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTERLEAVE_THREADS_MAX 4

/* ---- A model ---- */

struct interleave_model {
    void (*setup)(void);                           /* nobody runs yet; may be NULL */
    void (*threads[INTERLEAVE_THREADS_MAX])(void); /* up to the first NULL */
    void (*resume)(unsigned thread);               /* before each step of a thread; may be NULL */
    void (*check)(void);                           /* when all have ended; may be NULL */
    unsigned preemptions_max;                      /* 0: no bound; else see above */
};

enum interleave_effect {
    INTERLEAVE_WEAKEN,        /* sequentially consistent stores go through the buffer */
    INTERLEAVE_OMIT,          /* stores do not happen */
    INTERLEAVE_ANSWER,        /* loads give `value` */
    INTERLEAVE_ANSWER_CHANGE, /* read-modify-writes give `value`, and change nothing */
};

/* What accesses in `function` do instead; in all threads, or those in the mask if it is not 0. */
struct interleave_mutation {
    const char *function;
    enum interleave_effect effect;
    uint64_t value;
    unsigned threads;
};

struct interleave_result {
    uint64_t states;
    uint64_t ends;       /* in which all threads have ended */
    const char *failure; /* NULL: none */
};

/* Go through all states. `mutation` may be NULL. Ends at the first failure. */
struct interleave_result interleave_explore(const struct interleave_model *model,
                                            const struct interleave_mutation *mutation);

/* Explore without a mutation: nothing fails. Prints the steps that lead to a failure. */
void interleave_holds(const struct interleave_model *model);

/* Explore with a mutation: something fails. */
void interleave_finds(const struct interleave_model *model, struct interleave_mutation mutation);

/* ---- For the threads, and for setup and check ---- */

/* Zeroed memory of the arena, shared by all threads; never given back. */
void *interleave_alloc(size_t size);

/* Do nothing for a step: here too others may come in between. */
void interleave_step(const char *what);

/* Go on only when `condition(arg)` is true. */
void interleave_block_until(bool (*condition)(void *arg), void *arg);

/* In a loop that waits for others: go on when what was looked at last has changed. */
void interleave_relax(void);

/* It went wrong. Does not return in a thread. */
void interleave_fail(const char *why);

#define INTERLEAVE_EXPECT(condition) ((condition) ? (void)0 : interleave_fail(#condition))

/* ---- For the shim ---- */

struct interleave_place {
    void *address;
    size_t size;
    const char *function;
};

enum interleave_how {
    INTERLEAVE_EXCHANGE,
    INTERLEAVE_ADD,
    INTERLEAVE_SUBTRACT,
    INTERLEAVE_OR,
};

uint64_t interleave_load(struct interleave_place place);
void interleave_store(struct interleave_place place, uint64_t value, bool flush);
uint64_t interleave_change(struct interleave_place place, enum interleave_how how, uint64_t value);
bool interleave_compare_exchange(struct interleave_place place, void *expected, uint64_t value);

#endif
