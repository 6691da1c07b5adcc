/* SPDX-License-Identifier: MIT */
/*
 * sim_test.c - simulations as a scenario sees them. They are the same on every driver.
 */
#include "harness/harness.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <torc/torc.h>

#define PORT 7000

/* ---- Programs ---- */

static int echo(void *arg)
{
    const int fd = (int)(intptr_t)arg;
    char buffer[512];
    ssize_t count;

    while ((count = torc_recv(fd, buffer, sizeof(buffer), 0)) > 0) {
        if (torc_send_all(fd, buffer, (size_t)count, NULL) < 0)
            break;
    }
    return torc_close(fd);
}

static int serve(void *arg)
{
    struct torc_address address;
    int listener;

    (void)arg;
    EXPECT_INT(torc_address_parse("0.0.0.0:7000", &address), ==, 0);
    listener = torc_tcp_listen(&address, NULL);
    if (listener < 0)
        return listener;
    for (;;) {
        const int fd = torc_accept(listener, NULL);

        if (fd == -ECANCELED)
            return torc_close(listener);
        if (fd >= 0 && torc_spawn(echo, (void *)(intptr_t)fd) < 0)
            (void)torc_close(fd);
    }
}

static int echo_server(void *arg)
{
    const int *shards = arg;
    const struct torc_options options = {.shards = shards != NULL ? *shards : 1};

    return torc_run(serve, NULL, &options);
}

/* ---- Scenarios ---- */

static int dial(const char *host)
{
    int fd = -ECONNREFUSED;

    while (fd == -ECONNREFUSED || fd == -ETIMEDOUT || fd == -ECONNRESET) {
        fd = torc_tcp_connect_name(host, PORT, NULL);
        if (fd < 0)
            TORC_SIM_CHECK(torc_sleep(10 * TORC_MILLISECOND) == 0);
    }
    return fd;
}

static int ask_echo(void *arg)
{
    static const char text[] = "is anybody there?";
    char answer[sizeof(text)];
    struct torc_sim_host *server;
    int fd;

    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, echo_server, arg, &server) == 0);
    fd = dial("server");
    TORC_SIM_CHECK(fd >= 0);
    TORC_SIM_CHECK(torc_send_all(fd, text, sizeof(text), NULL) == 0);
    TORC_SIM_CHECK(torc_recv_all(fd, answer, sizeof(answer), NULL) == 0);
    TORC_SIM_CHECK(memcmp(text, answer, sizeof(text)) == 0);
    return torc_close(fd);
}

static const struct torc_sim_chaos *calm(void)
{
    static struct torc_sim_chaos chaos;

    torc_sim_chaos_init(&chaos, TORC_SIM_CALM);
    return &chaos;
}

TEST(a_client_on_one_host_talks_to_a_server_on_another)
{
    struct torc_sim_report report;
    const struct torc_sim_options options = {.chaos = calm(), .report = &report};

    EXPECT_INT(torc_sim_run(1, &options, ask_echo, NULL), ==, 0);
    EXPECT_UINT(report.hosts, ==, 2);
    EXPECT_UINT(report.ops, >, 0);
}

TEST(the_same_seed_gives_the_same_hash_and_another_one_another)
{
    const int shards = 3;
    struct torc_sim_report first;
    struct torc_sim_report second;
    struct torc_sim_options options = {.chaos = calm(), .report = &first};

    EXPECT_INT(torc_sim_run(7, &options, ask_echo, (void *)&shards), ==, 0);
    options.report = &second;
    EXPECT_INT(torc_sim_run(7, &options, ask_echo, (void *)&shards), ==, 0);
    EXPECT_UINT(second.hash, ==, first.hash);
    EXPECT_UINT(second.events, ==, first.events);
    EXPECT_INT(torc_sim_run(8, &options, ask_echo, (void *)&shards), ==, 0);
    EXPECT(second.hash != first.hash);
}

/* One conversation, whatever goes wrong meanwhile. */
static int converse(void *arg)
{
    struct torc_sim_host *server;
    unsigned answered = 0;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, echo_server, NULL, &server) == 0);
    while (answered < 5) {
        char text[32] = "hello";
        char answer[32];
        const int fd = torc_tcp_connect_name("server", PORT, NULL);

        if (fd >= 0 && torc_send_all(fd, text, sizeof(text), NULL) == 0 &&
            torc_recv_all(fd, answer, sizeof(answer), NULL) == 0) {
            TORC_SIM_CHECK(memcmp(text, answer, sizeof(text)) == 0);
            answered++;
        }
        if (fd >= 0)
            (void)torc_close(fd);
        else
            TORC_SIM_CHECK(torc_sleep(5 * TORC_MILLISECOND) == 0);
        if (!torc_sim_host_runs(server)) /* It may have been refused its listener. */
            TORC_SIM_CHECK(torc_sim_host_restart(server) == 0);
    }
    return 0;
}

static void run_twice(uint64_t seed, enum torc_sim_preset preset)
{
    struct torc_sim_chaos chaos;
    struct torc_sim_report first;
    struct torc_sim_report second;
    struct torc_sim_options options = {.chaos = &chaos, .report = &first};

    torc_sim_chaos_init(&chaos, preset);
    EXPECT_INT(torc_sim_run(seed, &options, converse, NULL), ==, 0);
    options.report = &second;
    EXPECT_INT(torc_sim_run(seed, &options, converse, NULL), ==, 0);
    EXPECT_UINT(first.hash, ==, second.hash);
}

TEST(chaos_follows_from_the_seed_and_does_not_keep_a_client_from_its_answers)
{
    for (uint64_t seed = 1; seed <= harness_scaled(100); seed++) {
        run_twice(seed, TORC_SIM_DEFAULT);
        run_twice(seed, TORC_SIM_WILD);
    }
}

/* ---- Ends of programs ---- */

static int give_seven(void *arg)
{
    (void)arg;
    return 7;
}

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return torc_sleep_until(TORC_FOREVER);
}

static int sleeper(void *arg)
{
    (void)arg;
    return torc_run(sleep_for_ever, NULL, NULL);
}

static int watch_ends(void *arg)
{
    struct torc_sim_host *host;
    struct torc_sim_host *other;
    int result;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("seven", NULL, give_seven, NULL, &host) == 0);
    TORC_SIM_CHECK(torc_sim_host_wait(host, &result) == 0 && result == 7);
    TORC_SIM_CHECK(!torc_sim_host_runs(host));
    TORC_SIM_CHECK(torc_sim_host_restart(host) == 0);
    TORC_SIM_CHECK(torc_sim_host_restart(host) == -EBUSY);
    TORC_SIM_CHECK(torc_sim_host_wait(host, &result) == 0 && result == 7);
    TORC_SIM_CHECK(torc_sim_host_start("sleeper", NULL, sleeper, NULL, &other) == 0);
    TORC_SIM_CHECK(torc_sleep(TORC_SECOND) == 0);
    TORC_SIM_CHECK(torc_sim_host_runs(other));
    torc_sim_host_kill(other);
    TORC_SIM_CHECK(torc_sim_host_wait(other, &result) == 0 && result == -EOWNERDEAD);
    TORC_SIM_CHECK(torc_sim_host_restart(other) == 0);
    TORC_SIM_CHECK(torc_sleep(TORC_SECOND) == 0);
    torc_sim_host_crash(other);
    TORC_SIM_CHECK(!torc_sim_host_runs(other));
    TORC_SIM_CHECK(torc_sim_host_files(other) == 0);
    TORC_SIM_CHECK(torc_sim_host_find("sleeper") == other);
    TORC_SIM_CHECK(torc_sim_host_find("nobody") == NULL);
    TORC_SIM_CHECK(strcmp(torc_sim_host_name(torc_sim_host_self()), "control") == 0);
    return 0;
}

TEST(a_program_is_waited_for_killed_and_started_again)
{
    EXPECT_INT(torc_sim_run(1, NULL, watch_ends, NULL), ==, 0);
}

static int travel(void *arg)
{
    char path[64];
    unsigned *boots = arg;

    TORC_SIM_CHECK(torc_sim_syscall(SYS_getcwd, path, sizeof(path)) > 0);
    TORC_SIM_CHECK(strcmp(path, "/") == 0);
    TORC_SIM_CHECK(torc_sim_syscall(SYS_umask, 077) == 022);
    if ((*boots)++ == 0)
        TORC_SIM_CHECK(torc_sim_syscall(SYS_mkdirat, AT_FDCWD, "/elsewhere", 0777) == 0);
    TORC_SIM_CHECK(torc_sim_syscall(SYS_chdir, "/elsewhere") == 0);
    return 0;
}

static int start_it_twice(void *arg)
{
    struct torc_sim_host *host;
    unsigned boots = 0;
    int result;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("traveller", NULL, travel, &boots, &host) == 0);
    TORC_SIM_CHECK(torc_sim_host_wait(host, &result) == 0 && result == 0);
    TORC_SIM_CHECK(torc_sim_host_restart(host) == 0);
    TORC_SIM_CHECK(torc_sim_host_wait(host, &result) == 0 && result == 0);
    TORC_SIM_CHECK(boots == 2);
    return 0;
}

TEST(a_program_that_is_started_again_is_another_process)
{
    EXPECT_INT(torc_sim_run(1, NULL, start_it_twice, NULL), ==, 0);
}

static int crash_control(void *arg)
{
    struct torc_sim_host *control = torc_sim_host_find("control");

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_runs(control));
    TORC_SIM_CHECK(torc_sim_host_restart(control) == -EBUSY);
    torc_sim_host_crash(control);
    return 0;
}

static int be_crashed(void *arg)
{
    struct torc_sim_host *host;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("rebel", NULL, crash_control, NULL, &host) == 0);
    return torc_sleep(TORC_SECOND);
}

static void crash_the_scenario(void)
{
    (void)!torc_sim_run(1, NULL, be_crashed, NULL);
}

TEST(the_host_of_the_scenario_runs_and_no_other_one_ends_it)
{
    harness_expect_death(crash_the_scenario, SIGABRT, "program != NULL");
}

static int wait_with_a_deadline(void *arg)
{
    struct torc_sim_host *host;
    struct torc_scope scope;
    int result;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("sleeper", NULL, sleeper, NULL, &host) == 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_SECOND);
    TORC_SIM_CHECK(torc_sim_host_wait(host, &result) == -ETIME);
    TORC_SIM_CHECK(torc_scope_close(&scope) == -ETIME);
    torc_sim_host_kill(host);
    return 0;
}

TEST(waiting_for_a_program_ends_with_the_scope)
{
    EXPECT_INT(torc_sim_run(1, NULL, wait_with_a_deadline, NULL), ==, 0);
}

/* ---- What peers see ---- */

/* How the connection to a server ends that is killed, or loses its power and comes up again. */
static int see_it_die(void *arg)
{
    const bool *crashes = arg;
    struct torc_sim_host *server;
    char byte;
    ssize_t count;
    int fd;

    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, echo_server, NULL, &server) == 0);
    fd = dial("server");
    TORC_SIM_CHECK(torc_send_all(fd, "x", 1, NULL) == 0);
    TORC_SIM_CHECK(torc_recv_all(fd, &byte, 1, NULL) == 0);
    if (*crashes)
        torc_sim_host_crash(server);
    else
        torc_sim_host_kill(server);
    if (*crashes) {
        TORC_SIM_CHECK(torc_sleep(TORC_SECOND) == 0);
        TORC_SIM_CHECK(torc_sim_host_restart(server) == 0);
        TORC_SIM_CHECK(torc_send_all(fd, "y", 1, NULL) == 0); /* It is answered by a reset. */
    }
    count = torc_recv(fd, &byte, 1, 0);
    TORC_SIM_CHECK(count == (*crashes ? -ECONNRESET : 0));
    return torc_close(fd);
}

TEST(the_connections_of_a_killed_program_are_closed_and_those_of_a_crashed_host_reset)
{
    const struct torc_sim_options options = {.chaos = calm()};
    bool crashes = false;

    EXPECT_INT(torc_sim_run(3, &options, see_it_die, &crashes), ==, 0);
    crashes = true;
    EXPECT_INT(torc_sim_run(3, &options, see_it_die, &crashes), ==, 0);
}

static int talk_through_a_partition(void *arg)
{
    struct torc_sim_host *server;
    struct torc_scope scope;
    char byte;
    int fd;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, echo_server, NULL, &server) == 0);
    fd = dial("server");
    torc_sim_partition(torc_sim_host_self(), server);
    TORC_SIM_CHECK(torc_send_all(fd, "x", 1, NULL) == 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_SECOND);
    TORC_SIM_CHECK(torc_recv(fd, &byte, 1, 0) == -ETIME);
    TORC_SIM_CHECK(torc_scope_close(&scope) == -ETIME);
    torc_sim_heal(torc_sim_host_self(), server);
    TORC_SIM_CHECK(torc_recv(fd, &byte, 1, 0) == 1);
    return torc_close(fd);
}

TEST(nothing_passes_a_partition_and_what_was_sent_comes_when_it_heals)
{
    const struct torc_sim_options options = {.chaos = calm()};

    EXPECT_INT(torc_sim_run(3, &options, talk_through_a_partition, NULL), ==, 0);
}

/* ---- Disks ---- */

struct writer {
    unsigned boots;
    bool kept;
    bool lost;
};

static int write_two_files(void *arg)
{
    struct writer *writer = arg;
    char text[8];
    int fd;

    if (writer->boots++ > 0) {
        fd = torc_open("kept", O_RDONLY, 0);
        writer->kept =
            fd >= 0 && torc_pread_all(fd, text, 4, 0, NULL) == 0 && memcmp(text, "data", 4) == 0;
        if (fd >= 0)
            (void)torc_close(fd);
        fd = torc_open("lost", O_RDONLY, 0);
        writer->lost = fd == -ENOENT;
        return fd >= 0 ? torc_close(fd) : 0;
    }
    TORC_SIM_CHECK(torc_save_file("kept", "data", 4, 0600) == 0);
    fd = torc_open("lost", O_WRONLY | O_CREAT, 0600);
    TORC_SIM_CHECK(fd >= 0);
    TORC_SIM_CHECK(torc_close(fd) == 0);
    return torc_sleep_until(TORC_FOREVER);
}

static int writer_main(void *arg)
{
    return torc_run(write_two_files, arg, NULL);
}

static int crash_a_writer(void *arg)
{
    struct torc_sim_host *host;
    int result;

    TORC_SIM_CHECK(torc_sim_host_start("writer", NULL, writer_main, arg, &host) == 0);
    TORC_SIM_CHECK(torc_sleep(5 * TORC_SECOND) == 0);
    torc_sim_host_crash(host);
    TORC_SIM_CHECK(torc_sim_host_restart(host) == 0);
    TORC_SIM_CHECK(torc_sim_host_wait(host, &result) == 0 && result == 0);
    return 0;
}

TEST(what_was_synchronised_survives_a_crash_and_the_rest_may_not)
{
    struct torc_sim_chaos chaos = *calm();
    const struct torc_sim_options options = {.chaos = &chaos};
    struct writer writer = {0};

    chaos.crash_lose_rate = 1000000;
    EXPECT_INT(torc_sim_run(3, &options, crash_a_writer, &writer), ==, 0);
    EXPECT_UINT(writer.boots, ==, 2);
    EXPECT(writer.kept);
    EXPECT(writer.lost);
}

/* ---- Faults by a plan ---- */

static int meet_planned_failures(void *arg)
{
    const struct torc_sim_failure failure = {
        .opcode = IORING_OP_WRITE, .fd = TORC_SIM_ANY, .error = -EIO, .after = 1, .count = 2};
    const struct torc_sim_failure success = {.opcode = IORING_OP_WRITE, .error = EIO};
    const int fd = torc_open("file", O_RDWR | O_CREAT, 0600);

    (void)arg;
    TORC_SIM_CHECK(fd >= 0);
    TORC_SIM_CHECK(torc_sim_fail(torc_sim_host_self(), &success) == -EINVAL);
    TORC_SIM_CHECK(torc_sim_fail(torc_sim_host_self(), &failure) == 0);
    TORC_SIM_CHECK(torc_pwrite(fd, "a", 1, 0) == 1);
    TORC_SIM_CHECK(torc_pwrite(fd, "b", 1, 1) == -EIO);
    TORC_SIM_CHECK(torc_pwrite(fd, "b", 1, 1) == -EIO);
    TORC_SIM_CHECK(torc_pwrite(fd, "b", 1, 1) == 1);
    TORC_SIM_CHECK(torc_sim_fail(torc_sim_host_self(), &failure) == 0);
    torc_sim_fail_none(torc_sim_host_self());
    TORC_SIM_CHECK(torc_pwrite(fd, "b", 1, 1) == 1);
    TORC_SIM_CHECK(torc_pwrite(fd, "b", 1, 1) == 1);
    return torc_close(fd);
}

TEST(operations_fail_as_planned)
{
    const struct torc_sim_options options = {.chaos = calm()};

    EXPECT_INT(torc_sim_run(1, &options, meet_planned_failures, NULL), ==, 0);
}

/* ---- Signals ---- */

static int await_a_signal(void *arg)
{
    const int number = SIGTERM;
    struct torc_signals signals;
    int result = torc_signals_open(&signals, &number, 1);

    (void)arg;
    if (result < 0)
        return result;
    result = torc_signals_wait(&signals, NULL);
    torc_signals_close(&signals);
    return result;
}

static int signal_watcher(void *arg)
{
    return torc_run(await_a_signal, arg, NULL);
}

static int send_signals(void *arg)
{
    struct torc_sim_host *watcher;
    struct torc_sim_host *other;
    int result;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("watcher", NULL, signal_watcher, NULL, &watcher) == 0);
    TORC_SIM_CHECK(torc_sim_host_start("other", NULL, sleeper, NULL, &other) == 0);
    TORC_SIM_CHECK(torc_sleep(TORC_SECOND) == 0);
    torc_sim_host_signal(other, SIGCHLD);
    TORC_SIM_CHECK(torc_sim_host_runs(other));
    torc_sim_host_signal(other, SIGTERM);
    TORC_SIM_CHECK(torc_sim_host_wait(other, &result) == 0 && result == -EOWNERDEAD);
    TORC_SIM_CHECK(torc_sim_host_runs(watcher));
    torc_sim_host_signal(watcher, SIGTERM);
    TORC_SIM_CHECK(torc_sim_host_wait(watcher, &result) == 0 && result == 0);
    TORC_SIM_CHECK(torc_sim_host_restart(watcher) == 0);
    TORC_SIM_CHECK(torc_sleep(TORC_SECOND) == 0);
    torc_sim_host_kill(watcher); /* Its watch goes with it. */
    return 0;
}

TEST(a_signal_goes_to_the_program_of_one_host)
{
    const struct torc_sim_options options = {.chaos = calm()};

    EXPECT_INT(torc_sim_run(1, &options, send_signals, NULL), ==, 0);
}

/* ---- Names and clocks ---- */

static int look_around(void *arg)
{
    const uint64_t begun_ns = torc_now();
    const uint64_t real_ns = torc_sim_realtime();
    struct torc_sim_host *host;
    struct torc_address found[2];
    char name[TORC_HOST_NAME_SIZE];

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("sleeper", "10.9.8.7", sleeper, NULL, &host) == 0);
    TORC_SIM_CHECK(torc_sim_host_start("sleeper", NULL, sleeper, NULL, &host) == -EADDRINUSE);
    TORC_SIM_CHECK(torc_sim_host_start("other", "nonsense", sleeper, NULL, &host) == -EINVAL);
    TORC_SIM_CHECK(torc_lookup(NULL, "SLEEPER", 80, AF_INET, found, 2) == 1);
    TORC_SIM_CHECK(found[0].v4.sin_addr.s_addr == htonl(0x0a090807));
    TORC_SIM_CHECK(torc_lookup_name(&found[0], name, sizeof(name)) == 0);
    TORC_SIM_CHECK(strcmp(name, "sleeper") == 0);
    TORC_SIM_CHECK(torc_lookup(NULL, "nobody", 80, 0, found, 2) == -ENXIO);
    TORC_SIM_CHECK(torc_sleep(36000 * TORC_SECOND) == 0);
    TORC_SIM_CHECK(torc_now() - begun_ns >= 36000 * TORC_SECOND);
    TORC_SIM_CHECK(torc_sim_time() >= 36000 * TORC_SECOND);
    TORC_SIM_CHECK(torc_sim_realtime() - real_ns >= 36000 * TORC_SECOND);
    torc_sim_host_shift_clock(torc_sim_host_self(), -(int64_t)(40000 * TORC_SECOND));
    TORC_SIM_CHECK(torc_sim_realtime() < real_ns);
    TORC_SIM_CHECK(torc_now() > begun_ns);
    TORC_SIM_CHECK(torc_sim_random_below(10) < 10);
    return 0;
}

TEST(hosts_have_names_and_ten_hours_pass_at_once)
{
    const struct torc_sim_options options = {.chaos = calm(), .time_max_ns = 40000 * TORC_SECOND};

    EXPECT_INT(torc_sim_run(1, &options, look_around, NULL), ==, 0);
}

static int look_from_an_island(void *arg)
{
    struct torc_sim_host *self = torc_sim_host_self();
    struct torc_sim_host *near;
    struct torc_sim_host *far;
    struct torc_address address;
    char name[TORC_HOST_NAME_SIZE];

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("near", NULL, sleeper, NULL, &near) == 0);
    TORC_SIM_CHECK(torc_sim_host_start("far", NULL, sleeper, NULL, &far) == 0);
    torc_sim_partition(self, far); /* The other one still knows it. */
    TORC_SIM_CHECK(torc_lookup(NULL, "far", 80, AF_INET, &address, 1) == 1);
    torc_sim_cut(near, self); /* One way is enough to hear no answer. */
    TORC_SIM_CHECK(torc_lookup(NULL, "near", 80, AF_INET, &address, 1) == -EAGAIN);
    TORC_SIM_CHECK(torc_lookup_name(&address, name, sizeof(name)) == -EAGAIN);
    TORC_SIM_CHECK(torc_sim_time() >= 20 * TORC_SECOND);
    TORC_SIM_CHECK(torc_lookup(NULL, "control", 80, AF_INET, &address, 1) == 1);
    torc_sim_heal_all();
    TORC_SIM_CHECK(torc_lookup(NULL, "near", 80, AF_INET, &address, 1) == 1);
    return 0;
}

TEST(a_host_that_is_cut_off_has_nobody_to_ask_for_names)
{
    const struct torc_sim_options options = {.chaos = calm()};

    EXPECT_INT(torc_sim_run(1, &options, look_from_an_island, NULL), ==, 0);
}

/* ---- Failures ---- */

static int deadlock(void *arg)
{
    struct torc_event event = {0};

    (void)arg;
    return torc_event_wait(&event);
}

static int go_on_for_ever(void *arg)
{
    (void)arg;
    while (torc_sleep(TORC_SECOND) == 0)
        continue;
    return 0;
}

static int ask_for_ever(void *arg)
{
    int ends[2];

    (void)arg;
    TORC_SIM_CHECK(torc_pipe(ends, 0) == 0);
    while (torc_pipe_size(ends[0]) > 0)
        continue;
    return 0;
}

static int be_wrong(void *arg)
{
    TORC_SIM_CHECK(arg == &arg);
    return 0;
}

static int run_inside(void *arg)
{
    TORC_SIM_CHECK(torc_sim_is_on());
    TORC_SIM_CHECK(torc_sim_run(1, NULL, give_seven, arg) == -EBUSY);
    return -ENOTTY;
}

TEST(a_failure_has_an_error_that_tells_which)
{
    const struct torc_sim_options options = {.quiet = true};
    const struct torc_sim_options short_one = {.quiet = true, .events_max = 1000};

    EXPECT_INT(torc_sim_run(1, &options, deadlock, NULL), ==, -EDEADLK);
    EXPECT_INT(torc_sim_run(1, &options, go_on_for_ever, NULL), ==, -ETIME);
    EXPECT_INT(torc_sim_run(1, &short_one, go_on_for_ever, NULL), ==, -ETIME);
    EXPECT_INT(torc_sim_run(1, &short_one, ask_for_ever, NULL), ==, -ETIME);
    EXPECT_INT(torc_sim_run(1, &options, be_wrong, NULL), ==, -EBADMSG);
    EXPECT_INT(torc_sim_run(1, &options, run_inside, NULL), ==, -ENOTTY);
    EXPECT(!torc_sim_is_on());
}

static void fail_aloud(void)
{
    if (torc_sim_run(12345, NULL, be_wrong, NULL) == -EBADMSG)
        abort();
}

static void be_stuck_aloud(void)
{
    if (torc_sim_run(1, NULL, deadlock, NULL) == -EDEADLK)
        abort();
}

TEST(a_simulation_that_is_stuck_tells_who_waits_for_what)
{
    harness_expect_death(be_stuck_aloud, SIGABRT,
                         "on host \"control\" there is a thread with a shard");
    harness_expect_death(be_stuck_aloud, SIGABRT, "s: event");
}

TEST(a_failure_tells_its_seed_and_the_command_that_repeats_it)
{
    harness_expect_death(fail_aloud, SIGABRT, "TORC_SIM_SEED=12345");
    harness_expect_death(fail_aloud, SIGABRT, "not true: arg == &arg");
    EXPECT_INT(setenv("TORC_SIM_CHAOS", "calm,reset_rate=7", 1), ==, 0);
    harness_expect_death(fail_aloud, SIGABRT, "=12345 TORC_SIM_CHAOS=calm,reset_rate=7 ");
    EXPECT_INT(setenv("TORC_FORBID", "multishot", 1), ==, 0);
    EXPECT_INT(setenv("TORC_CHECK", "1", 1), ==, 0);
    harness_expect_death(fail_aloud, SIGABRT, "rate=7 TORC_FORBID=multishot TORC_CHECK=1 ");
}

/* ---- What refuses to end, on a clock that can be relied on ---- */

static int end_late(void *arg)
{
    struct torc_scope shield;

    (void)arg;
    torc_scope_open(&shield, TORC_SHIELD);
    TORC_SIM_CHECK(torc_sleep(900 * TORC_MILLISECOND) == 0);
    return torc_scope_close(&shield);
}

/* A fiber ends late, and a stream, which nobody closes, has sent all only some time after that. */
static int leave_output(void *arg)
{
    static struct torc_stream left;
    static const char part[1024];
    struct torc_address address;
    struct torc_scope scope;
    int listener;

    (void)arg;
    TORC_SIM_CHECK(torc_address_parse("0.0.0.0:7000", &address) == 0);
    listener = torc_tcp_listen(&address, NULL);
    torc_stream_open(&left, torc_accept(listener, NULL));
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 50 * TORC_MILLISECOND);
    while (torc_stream_write(&left, part, sizeof(part), NULL) == 0)
        ;
    TORC_SIM_CHECK(torc_scope_close(&scope) == -ETIME);
    TORC_SIM_CHECK(torc_spawn(end_late, NULL) == 0);
    return torc_close(listener);
}

static int leave_output_main(void *arg)
{
    const struct torc_options options = {.shutdown_warn_ns = TORC_SECOND};

    return torc_run(leave_output, arg, &options);
}

static int read_late(void *arg)
{
    struct torc_sim_host *server;
    char data[4096];
    ssize_t count;
    int result;
    int fd;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, leave_output_main, NULL, &server) == 0);
    fd = dial("server");
    TORC_SIM_CHECK(torc_sleep(1500 * TORC_MILLISECOND) == 0);
    do
        count = torc_recv(fd, data, sizeof(data), 0);
    while (count > 0);
    TORC_SIM_CHECK(torc_sim_host_wait(server, &result) == 0 && result == 0);
    return torc_close(fd);
}

static void end_in_time(void)
{
    const struct torc_sim_options options = {.chaos = calm()};

    if (torc_sim_run(1, &options, read_late, NULL) == 0)
        abort();
}

TEST(operations_have_as_long_to_end_after_the_last_fiber_as_fibers_had)
{
    struct harness_death death;

    harness_watch_death(end_in_time, &death);
    EXPECT_MSG(WTERMSIG(death.status) == SIGABRT, "said: %s", death.text);
    EXPECT_MSG(strstr(death.text, "operations in flight") == NULL, "said: %s", death.text);
}
