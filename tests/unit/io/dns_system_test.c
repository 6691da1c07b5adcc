/* SPDX-License-Identifier: MIT */
/*
 * dns_system_test.c - a system that takes its time to answer: getaddrinfo() and its like are
 * functions of this test, which wait until they are let go.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <torc/torc.h>

/* Names that begin with "slow" are answered when there is one of these. */
static sem_t answers;
static atomic_int asked; /* how often the system was */
static atomic_int asked_for_slow;

static char slow_host[] = "slow.test";
static char other_host[] = "other.test";
static char slow_service[] = "slow";
static char fast_service[] = "fast";

static void be_slow(void)
{
    atomic_fetch_add(&asked_for_slow, 1);
    while (sem_wait(&answers) < 0)
        EXPECT_INT(errno, ==, EINTR);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_found)
{
    static struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = 0x5000};
    static struct addrinfo found = {.ai_family = AF_INET,
                                    .ai_addrlen = sizeof(address),
                                    .ai_addr = (struct sockaddr *)&address};

    (void)hints;
    atomic_fetch_add(&asked, 1);
    if (strncmp(host != NULL ? host : service, "slow", 4) == 0)
        be_slow();
    *ret_found = &found;
    return 0;
}

void freeaddrinfo(struct addrinfo *found)
{
    (void)found;
}

/* All addresses are slow. */
int getnameinfo(const struct sockaddr *address, socklen_t length, char *host, socklen_t host_size,
                char *service, socklen_t service_size, int flags)
{
    (void)address;
    (void)length;
    (void)service;
    (void)service_size;
    (void)flags;
    atomic_fetch_add(&asked, 1);
    be_slow();
    EXPECT_UINT(host_size, >, 5);
    memcpy(host, "found", 6);
    return 0;
}

static void let_go(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        sem_post(&answers);
}

static void yield_until_asked(int count)
{
    while (atomic_load(&asked_for_slow) < count)
        EXPECT_INT(torc_yield(), ==, 0);
}

static int look_up(const char *host)
{
    struct torc_address found;

    return torc_lookup(NULL, host, 80, 0, &found, 1);
}

static int look_up_fiber(void *host)
{
    return look_up(host);
}

/* `ask(arg)` in a scope that ends before a thread is free to ask the system. */
static void expect_out_of_time(torc_fiber_fn *ask, void *arg)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(ask(arg), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
}

/* `ask(arg)` in a scope that ends after the system was asked, and before it answers. */
static void expect_to_leave(torc_fiber_fn *ask, void *arg)
{
    const int before = atomic_load(&asked_for_slow);
    struct torc_scope scope;

    torc_scope_open(&scope, TORC_SUPERVISE);
    harness_spawn(&scope, ask, arg);
    yield_until_asked(before + 1);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    let_go(1);
    harness_yield_until_alone();
}

/* One thread is for names. */
static void run(torc_fiber_fn *body)
{
    const struct torc_options options = {.blocking_threads_max = 3};

    sem_init(&answers, 0, 0);
    harness_run_with(&options, body, NULL);
}

#define TEST_WITH_ONE_THREAD(name)         \
    static int name##_on_shard(void *arg); \
    TEST(name)                             \
    {                                      \
        NEEDS_THREADS();                   \
        run(name##_on_shard);              \
    }                                      \
    static int name##_on_shard(void *arg)

/* ---- Those who leave ---- */

static int name_an_address(void *arg)
{
    const struct torc_address address = harness_address("192.0.2.1:0");

    return torc_lookup_name(&address, arg, 16);
}

static int find_a_service(void *arg)
{
    return torc_lookup_service(arg, "tcp");
}

TEST_WITH_ONE_THREAD(who_leaves_does_not_wait_for_the_system)
{
    char name[16] = "untouched";

    (void)arg;
    expect_to_leave(look_up_fiber, slow_host);
    expect_to_leave(name_an_address, name);
    expect_to_leave(find_a_service, slow_service);
    EXPECT_STR(name, "untouched");
    EXPECT_INT(atomic_load(&asked), ==, 3);

    let_go(1);
    EXPECT_INT(name_an_address(name), ==, 0);
    EXPECT_STR(name, "found");
    EXPECT_INT(find_a_service(fast_service), ==, 80);
    return 0;
}

TEST_WITH_ONE_THREAD(what_the_system_finds_later_is_remembered)
{
    (void)arg;
    expect_to_leave(look_up_fiber, slow_host);
    EXPECT_INT(look_up("slow.test"), ==, 1);
    EXPECT_INT(atomic_load(&asked), ==, 1);
    return 0;
}

TEST_WITH_ONE_THREAD(what_nobody_waits_for_any_more_is_not_asked)
{
    char name[16];

    (void)arg;
    harness_spawn(NULL, find_a_service, slow_service);
    yield_until_asked(1); /* Now the thread is busy. */
    for (int i = 0; i < 10; i++) {
        char host[] = "slow?.test";

        host[4] = (char)('0' + i);
        expect_out_of_time(look_up_fiber, host);
        expect_out_of_time(name_an_address, name);
        expect_out_of_time(find_a_service, slow_service);
    }
    harness_yield(3);
    EXPECT_UINT(harness_fibers(), ==, 3); /* They have left nothing behind. */
    let_go(1);
    EXPECT_INT(look_up("fast.test"), ==, 1);
    EXPECT_INT(atomic_load(&asked), ==, 2);
    harness_yield_until_alone();
    return 0;
}

static int ask_twice(void *arg)
{
    struct torc_scope scope;

    EXPECT_INT(look_up(arg), ==, -ECANCELED);
    let_go(1);
    torc_scope_open(&scope, TORC_SHIELD);
    EXPECT_INT(look_up(arg), ==, 1);
    return torc_scope_close(&scope);
}

/* The lookup is found that was just taken back, and has not noticed yet. */
TEST_WITH_ONE_THREAD(who_asks_for_what_has_just_been_given_up_is_answered)
{
    struct torc_scope scope;

    (void)arg;
    harness_spawn(NULL, find_a_service, slow_service);
    yield_until_asked(1);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, ask_twice, other_host);
    harness_yield(3);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(atomic_load(&asked), ==, 2);
    harness_yield_until_alone();
    return 0;
}

static int name_in_vain(void *arg)
{
    char name[16];

    (void)arg;
    EXPECT_INT(name_an_address(name), ==, -ECANCELED);
    return 0;
}

/* When the others have left. */
static int let_go_at_the_end(void *arg)
{
    struct torc_scope scope;

    (void)arg;
    EXPECT_INT(torc_sleep_until(TORC_FOREVER), ==, -ECANCELED);
    torc_scope_open(&scope, TORC_SHIELD);
    harness_yield(5);
    let_go(1);
    return torc_scope_close(&scope);
}

/* The one that is in the hands of the system is waited for. */
static int leave_questions(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        harness_spawn(NULL, name_in_vain, NULL);
    harness_spawn(NULL, let_go_at_the_end, NULL);
    yield_until_asked(1);
    return 0;
}

TEST(the_end_of_the_shard_ends_all_questions)
{
    const struct torc_options options = {.blocking_threads_max = 3};

    NEEDS_THREADS();
    sem_init(&answers, 0, 0);
    EXPECT_INT(harness_run_result(&options, leave_questions, NULL), ==, 0);
    EXPECT_INT(atomic_load(&asked), ==, 1);
}
