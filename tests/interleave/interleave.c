/* SPDX-License-Identifier: MIT */
/*
 * interleave.c - the explorer: a depth-first search through the states of coroutines.
 */
#include "interleave/interleave.h"
#include "arch/context.h"
#include "base/compiler.h"
#include "base/log.h"
#include "harness/harness.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STACK_SIZE  8192u
#define SHARED_SIZE 2048u
#define DEAD_SIZE   1024u /* below a stack pointer, where the next frames will be */
#define BUFFER_MAX  4u
#define SEEN_BITS   24
#define STATES_MAX  (UINT64_C(1) << (SEEN_BITS - 1))
#define DEPTH_MAX   4096u

/* ---- The arena: all of a state ---- */

struct buffered {
    void *address;
    size_t size;
    uint64_t value;
};

struct thread {
    _Alignas(16) char stack[STACK_SIZE];
    void *sp;
    const char *at; /* the function of the step that comes next */
    bool (*condition)(void *arg);
    void *condition_arg;
    bool ended;
    const void *relaxing_at; /* until this has changed; NULL: it does not relax */
    size_t relaxing_size;
    uint64_t relaxing_value;
    unsigned buffer_count;
    struct buffered buffer[BUFFER_MAX]; /* oldest first */
};

static struct {
    _Alignas(64) char shared[SHARED_SIZE];
    size_t shared_used;
    const char *failure;
    unsigned last; /* the thread that ran last */
    unsigned preemptions;
    struct thread threads[INTERLEAVE_THREADS_MAX];
} arena;

/* ---- What is the same in all states of a search ---- */

static const struct interleave_model *model;
static const struct interleave_mutation *mutation;
static unsigned thread_count;
static int current = -1; /* the thread that runs; -1: none */
static void *explorer_sp;
static struct interleave_place last_look; /* what the step has accessed */

static uint64_t read_memory(const void *address, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, address, size); /* Little-endian, as are all CPUs torc knows. */
    return value;
}

/* ---- Steps, seen from a thread ---- */

static struct thread *self(void)
{
    return &arena.threads[current];
}

static void leave_to_explorer(void)
{
    struct thread *thread = self();

    torc__context_switch(&thread->sp, explorer_sp);
}

void interleave_step(const char *what)
{
    if (current < 0)
        return; /* Setup and check are alone. */
    self()->at = what;
    leave_to_explorer();
}

void interleave_fail(const char *why)
{
    if (arena.failure == NULL)
        arena.failure = why;
    if (current >= 0)
        leave_to_explorer();
}

void interleave_block_until(bool (*condition)(void *arg), void *arg)
{
    self()->condition = condition;
    self()->condition_arg = arg;
    interleave_step("(blocked)");
    self()->condition = NULL;
}

void interleave_relax(void)
{
    struct thread *thread = self();

    thread->relaxing_at = last_look.address;
    thread->relaxing_size = last_look.size;
    thread->relaxing_value = read_memory(last_look.address, last_look.size);
    interleave_step("(relaxing)");
    thread->relaxing_at = NULL;
    thread->relaxing_size = 0;
    thread->relaxing_value = 0;
}

void *interleave_alloc(size_t size)
{
    void *memory = arena.shared + arena.shared_used;

    EXPECT_UINT(arena.shared_used + size, <=, SHARED_SIZE);
    arena.shared_used += (size + 63) / 64 * 64;
    return memory;
}

/* ---- Memory ---- */

static void write_memory(void *address, size_t size, uint64_t value)
{
    memcpy(address, &value, size);
}

static void flush_oldest(struct thread *thread)
{
    const struct buffered oldest = thread->buffer[0];

    write_memory(oldest.address, oldest.size, oldest.value);
    thread->buffer_count--;
    memmove(&thread->buffer[0], &thread->buffer[1], thread->buffer_count * sizeof(oldest));
    memset(&thread->buffer[thread->buffer_count], 0, sizeof(oldest));
}

static void flush_all(void)
{
    while (current >= 0 && self()->buffer_count > 0)
        flush_oldest(self());
}

/* The step in which a place is accessed. */
static void access(struct interleave_place place)
{
    interleave_step(place.function);
    last_look = place;
}

static bool is_mutated(const char *function, enum interleave_effect effect)
{
    return mutation != NULL && current >= 0 && mutation->effect == effect &&
           strcmp(mutation->function, function) == 0 &&
           (mutation->threads == 0 || (mutation->threads >> current & 1));
}

uint64_t interleave_load(struct interleave_place place)
{
    access(place);
    if (is_mutated(place.function, INTERLEAVE_ANSWER))
        return mutation->value;
    if (current >= 0) {
        for (unsigned i = self()->buffer_count; i > 0; i--) {
            if (self()->buffer[i - 1].address == place.address)
                return self()->buffer[i - 1].value;
        }
    }
    return read_memory(place.address, place.size);
}

void interleave_store(struct interleave_place place, uint64_t value, bool flush)
{
    access(place);
    if (is_mutated(place.function, INTERLEAVE_OMIT))
        return;
    if (current < 0 || (flush && !is_mutated(place.function, INTERLEAVE_WEAKEN))) {
        flush_all();
        write_memory(place.address, place.size, value);
        return;
    }
    if (self()->buffer_count == BUFFER_MAX)
        flush_oldest(self());
    self()->buffer[self()->buffer_count++] = (struct buffered){place.address, place.size, value};
}

uint64_t interleave_change(struct interleave_place place, enum interleave_how how, uint64_t value)
{
    uint64_t before;

    access(place);
    flush_all();
    if (is_mutated(place.function, INTERLEAVE_ANSWER_CHANGE))
        return mutation->value;
    before = read_memory(place.address, place.size);
    if (how == INTERLEAVE_ADD)
        value = before + value;
    else if (how == INTERLEAVE_SUBTRACT)
        value = before - value;
    else if (how == INTERLEAVE_OR)
        value = before | value;
    write_memory(place.address, place.size, value);
    return before;
}

bool interleave_compare_exchange(struct interleave_place place, void *expected, uint64_t value)
{
    access(place);
    flush_all();
    if (memcmp(place.address, expected, place.size) != 0) {
        memcpy(expected, place.address, place.size);
        return false;
    }
    write_memory(place.address, place.size, value);
    return true;
}

/* ---- Assertions of the code that is looked at ---- */

_Noreturn void torc__assert_failed(const char *condition, const char *file, int line)
{
    (void)file;
    (void)line;
    interleave_fail(condition);
    abort(); /* Only setup and check come here. */
}

_Noreturn void torc__misused(const char *mistake, const char *condition, const char *file, int line)
{
    (void)mistake;
    torc__assert_failed(condition, file, line);
}

void torc__log(const char *format, ...)
{
    (void)format;
}

/* ---- Threads, seen from the explorer ---- */

static void thread_main(void *arg)
{
    struct thread *thread = arg;

    model->threads[thread - arena.threads]();
    thread->ended = true;
    thread->at = "(ended)";
    leave_to_explorer();
    abort();
}

/* Let a thread run up to its next step. */
static void run(unsigned index)
{
    char *const sp = arena.threads[index].sp;

    /* What dead frames have left behind must not make two states of one. */
    memset(sp - DEAD_SIZE, 0, DEAD_SIZE);
    current = (int)index;
    if (model->resume != NULL)
        model->resume(index);
    torc__context_switch(&explorer_sp, arena.threads[index].sp);
    current = -1;
}

static bool may_run(const struct thread *thread)
{
    if (thread->ended)
        return false;
    if (thread->relaxing_at != NULL)
        return read_memory(thread->relaxing_at, thread->relaxing_size) != thread->relaxing_value;
    return thread->condition == NULL || thread->condition(thread->condition_arg);
}

/* Whether to let this thread run means to take the CPU from another. */
static bool is_preemption(unsigned index)
{
    return index != arena.last && may_run(&arena.threads[arena.last]);
}

/* Choices: 0 to n - 1 let a thread go on, n to 2n - 1 flush a store of one. */
static bool is_possible(unsigned choice)
{
    const unsigned index = choice % thread_count;
    const struct thread *thread = &arena.threads[index];

    if (choice >= thread_count)
        return thread->buffer_count > 0;
    if (model->preemptions_max > 0 && arena.preemptions == model->preemptions_max &&
        is_preemption(index))
        return false;
    return may_run(thread);
}

/* The possible choices in the present state, a bit for each. */
static unsigned possible_choices(void)
{
    unsigned possible = 0;

    for (unsigned choice = 0; choice < 2 * thread_count; choice++)
        possible |= (unsigned)is_possible(choice) << choice;
    return possible;
}

static void choose(unsigned choice)
{
    const unsigned index = choice % thread_count;

    if (choice >= thread_count) {
        flush_oldest(&arena.threads[index]);
        return;
    }
    if (model->preemptions_max > 0) {
        arena.preemptions += is_preemption(index);
        arena.last = index;
    }
    run(index);
}

static bool all_have_ended(void)
{
    for (unsigned i = 0; i < thread_count; i++) {
        if (!arena.threads[i].ended || arena.threads[i].buffer_count > 0)
            return false;
    }
    return true;
}

/* ---- States that have been seen ---- */

/* What counts of a thread: its stack from `sp` on, and the fields behind that. */
static size_t live_size(unsigned index, const void *sp)
{
    return (size_t)((const char *)&arena.threads[index + 1] - (const char *)sp);
}

static uint64_t *seen; /* open addressing; 0: free */

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    const char *bytes = data;

    for (; size >= 8; size -= 8, bytes += 8)
        hash = (hash ^ read_memory(bytes, 8)) * UINT64_C(0x9e3779b97f4a7c15) ^ (hash >> 29);
    return (hash ^ read_memory(bytes, size)) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t hash_state(void)
{
    uint64_t hash = mix(arena.preemptions * 8 + arena.last, arena.shared, arena.shared_used);

    for (unsigned i = 0; i < thread_count; i++)
        hash = mix(hash, arena.threads[i].sp, live_size(i, arena.threads[i].sp));
    return hash != 0 ? hash : 1;
}

/* Whether the present state is a new one. */
static bool is_new(void)
{
    const uint64_t hash = hash_state();
    uint64_t place = hash >> (64 - SEEN_BITS);

    while (seen[place] != 0) {
        if (seen[place] == hash)
            return false;
        place = (place + 1) & ((UINT64_C(1) << SEEN_BITS) - 1);
    }
    seen[place] = hash;
    return true;
}

/* ---- The search ---- */

struct frame {
    unsigned left;   /* the choices that have not been tried in this state */
    unsigned choice; /* the last one that was */
    _Alignas(64) char state[sizeof(arena)];
};

/* Copy what counts of the arena. */
static void copy_state(char *to, const char *from, const struct thread *threads)
{
    const size_t shared = offsetof(__typeof__(arena), threads);

    memcpy(to, from, shared);
    for (unsigned i = 0; i < thread_count; i++) {
        const size_t end = shared + (i + 1) * sizeof(struct thread);
        const size_t size = live_size(i, threads[i].sp);

        memcpy(to + end - size, from + end - size, size);
    }
}

static void restore(const struct frame *frame)
{
    const size_t shared = offsetof(__typeof__(arena), threads);

    copy_state((char *)&arena, frame->state, (const struct thread *)(frame->state + shared));
}

static struct frame *path; /* the states from the beginning to the present one */
static unsigned depth;

static void push(void)
{
    EXPECT_UINT(depth, <, DEPTH_MAX);
    path[depth].left = possible_choices();
    copy_state(path[depth].state, (char *)&arena, arena.threads);
    depth++;
}

static void begin(void)
{
    memset(&arena, 0, sizeof(arena));
    depth = 0;
    current = -1;
    if (model->setup != NULL)
        model->setup();
    for (thread_count = 0;
         thread_count < INTERLEAVE_THREADS_MAX && model->threads[thread_count] != NULL;
         thread_count++) {
        struct thread *thread = &arena.threads[thread_count];

        thread->at = "(begins)";
        thread->sp = torc__context_make(thread->stack + STACK_SIZE, thread_main, thread);
    }
    push();
}

static void look_at_state(struct interleave_result *result)
{
    if (arena.failure == NULL && all_have_ended()) {
        result->ends++;
        if (model->check != NULL)
            model->check();
    } else if (arena.failure == NULL && possible_choices() == 0) {
        arena.failure = "nobody can go on";
    }
    result->failure = arena.failure;
}

static void search(struct interleave_result *result)
{
    begin();
    while (depth > 0 && result->failure == NULL) {
        struct frame *top = &path[depth - 1];

        if (top->left == 0) {
            depth--;
            continue;
        }
        top->choice = (unsigned)__builtin_ctz(top->left);
        top->left &= top->left - 1;
        restore(top);
        choose(top->choice);
        if (!is_new())
            continue;
        result->states++;
        EXPECT_UINT(result->states, <, STATES_MAX);
        look_at_state(result);
        push();
    }
}

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    EXPECT(memory != MAP_FAILED);
    return memory;
}

struct interleave_result interleave_explore(const struct interleave_model *the_model,
                                            const struct interleave_mutation *the_mutation)
{
    struct interleave_result result = {0};

    model = the_model;
    mutation = the_mutation;
    seen = map(sizeof(seen[0]) << SEEN_BITS);
    path = map(sizeof(path[0]) * DEPTH_MAX);
    search(&result);
    munmap(seen, sizeof(seen[0]) << SEEN_BITS);
    return result;
}

/* The steps that led to the failure. */
static void print_path(void)
{
    for (unsigned i = 0; i + 1 < depth; i++) {
        const unsigned choice = path[i].choice;
        const unsigned index = choice % thread_count;

        restore(&path[i]);
        fprintf(stderr, "%4u  thread %u %s%s\n", i, index,
                choice >= thread_count ? "flushes a store, before " : "goes on at ",
                arena.threads[index].at);
    }
}

void interleave_holds(const struct interleave_model *the_model)
{
    const struct interleave_result result = interleave_explore(the_model, NULL);

    if (result.failure != NULL)
        print_path();
    EXPECT_MSG(result.failure == NULL, "%s", result.failure);
    EXPECT_UINT(result.ends, >, 0);
    EXPECT_UINT(result.states, >, 50); /* Else nothing has been interleaved. */
    munmap(path, sizeof(path[0]) * DEPTH_MAX);
    fprintf(stderr, "%ju states, %ju ends\n", (uintmax_t)result.states, (uintmax_t)result.ends);
}

void interleave_finds(const struct interleave_model *the_model,
                      struct interleave_mutation the_mutation)
{
    const struct interleave_result result = interleave_explore(the_model, &the_mutation);

    EXPECT_MSG(result.failure != NULL, "%s may be broken unnoticed", the_mutation.function);
    munmap(path, sizeof(path[0]) * DEPTH_MAX);
}
