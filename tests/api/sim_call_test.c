/* SPDX-License-Identifier: MIT */
/*
 * sim_call_test.c - system calls that simulated programs make themselves, some of which wait.
 */
#include "harness/harness.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <torc/torc.h>

#define PORT 7000

static const struct torc_sim_chaos *calm(void)
{
    static struct torc_sim_chaos chaos;

    torc_sim_chaos_init(&chaos, TORC_SIM_CALM);
    return &chaos;
}

static int dial(const char *host)
{
    int fd = -ECONNREFUSED;

    while (fd == -ECONNREFUSED) {
        fd = torc_tcp_connect_name(host, PORT, NULL);
        if (fd < 0)
            TORC_SIM_CHECK(torc_sleep(10 * TORC_MILLISECOND) == 0);
    }
    return fd;
}

/* A program without a runtime, which waits in its system calls. */
static int serve_by_calls(void *arg)
{
    const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    const int64_t listener = torc_sim_syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    const int yes = 1;
    char byte;
    int64_t fd;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_syscall(SYS_setsockopt, listener, SOL_SOCKET, SO_REUSEADDR, &yes,
                                    sizeof(yes)) == 0);
    TORC_SIM_CHECK(torc_sim_syscall(SYS_bind, listener, &address, sizeof(address)) == 0);
    TORC_SIM_CHECK(torc_sim_syscall(SYS_listen, listener, 5) == 0);
    fd = torc_sim_syscall(SYS_accept4, listener, NULL, NULL, 0);
    while (torc_sim_syscall(SYS_read, fd, &byte, 1) > 0)
        (void)torc_sim_syscall(SYS_write, fd, &byte, 1);
    return 0;
}

static int kill_in_a_call(void *arg)
{
    struct torc_sim_host *host;
    struct torc_scope scope;
    char byte = 'x';
    int fd;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("caller", NULL, serve_by_calls, NULL, &host) == 0);
    fd = dial("caller");
    TORC_SIM_CHECK(torc_send_all(fd, &byte, 1, NULL) == 0);
    TORC_SIM_CHECK(torc_recv_all(fd, &byte, 1, NULL) == 0);
    TORC_SIM_CHECK(torc_sleep(TORC_SECOND) == 0);
    torc_sim_host_kill(host);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 60 * TORC_SECOND);
    TORC_SIM_CHECK(torc_recv(fd, &byte, 1, 0) == 0);
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    TORC_SIM_CHECK(torc_sim_host_restart(host) == 0);
    TORC_SIM_CHECK(torc_close(fd) == 0);
    fd = dial("caller");
    TORC_SIM_CHECK(torc_send_all(fd, &byte, 1, NULL) == 0);
    TORC_SIM_CHECK(torc_recv_all(fd, &byte, 1, NULL) == 0);
    return torc_close(fd);
}

TEST(a_program_that_waits_in_a_call_is_killed_like_others)
{
    const struct torc_sim_options options = {.chaos = calm()};

    EXPECT_INT(torc_sim_run(1, &options, kill_in_a_call, NULL), ==, 0);
}

static int read_a_byte(void *arg)
{
    char byte;

    return (int)torc_sim_syscall(SYS_read, *(int *)arg, &byte, 1);
}

static int read_on_another_thread(void *arg)
{
    TORC_SIM_CHECK(torc_blocking(read_a_byte, arg) == 1);
    return 0;
}

static int close_what_is_read(void *arg)
{
    struct torc_scope reading;
    int ends[2];

    (void)arg;
    TORC_SIM_CHECK(torc_sim_syscall(SYS_pipe2, ends, 0) == 0);
    torc_scope_open(&reading, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&reading, read_on_another_thread, &ends[0]) == 0);
    TORC_SIM_CHECK(torc_sleep(TORC_SECOND) == 0);
    TORC_SIM_CHECK(torc_sim_syscall(SYS_close, ends[0]) == 0);
    TORC_SIM_CHECK(torc_sim_syscall(SYS_write, ends[1], "x", 1) == 1);
    TORC_SIM_CHECK(torc_scope_close(&reading) == 0);
    return (int)torc_sim_syscall(SYS_close, ends[1]);
}

TEST(a_call_keeps_the_file_that_it_waits_for)
{
    EXPECT_INT(torc_sim_run(1, NULL, close_what_is_read, NULL), ==, 0);
}

/* A program that never waits: it asks for a client until there is one. */
static int accept_by_asking(void *arg)
{
    const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    const int64_t listener = torc_sim_syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int64_t fd = -EAGAIN;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_syscall(SYS_bind, listener, &address, sizeof(address)) == 0);
    TORC_SIM_CHECK(torc_sim_syscall(SYS_listen, listener, 5) == 0);
    while (fd == -EAGAIN)
        fd = torc_sim_syscall(SYS_accept4, listener, NULL, NULL, 0);
    return fd >= 0 ? 0 : (int)fd;
}

static int be_accepted(void *arg)
{
    struct torc_sim_host *host;
    int result;
    int fd;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("asker", NULL, accept_by_asking, NULL, &host) == 0);
    fd = dial("asker");
    TORC_SIM_CHECK(torc_sim_host_wait(host, &result) == 0 && result == 0);
    return torc_close(fd);
}

TEST(a_program_that_asks_again_and_again_lets_others_run)
{
    const struct torc_sim_options options = {.chaos = calm()};

    EXPECT_INT(torc_sim_run(1, &options, be_accepted, NULL), ==, 0);
}

static int hear_an_answer(void *arg)
{
    char byte;

    TORC_SIM_CHECK(torc_recv_all(*(int *)arg, &byte, 1, NULL) == 0);
    return 0;
}

/* A shard that stands in a call has what it waited for before. */
static int poll_while_an_answer_comes(void *arg)
{
    const struct timespec time = {.tv_sec = 10};
    struct pollfd nothing = {.events = POLLIN};
    struct torc_scope hearing;
    struct torc_sim_host *server;
    uint64_t before_ns;
    int ends[2];
    int fd;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, serve_by_calls, NULL, &server) == 0);
    fd = dial("server");
    TORC_SIM_CHECK(torc_pipe(ends, 0) == 0);
    torc_scope_open(&hearing, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&hearing, hear_an_answer, &fd) == 0);
    TORC_SIM_CHECK(torc_sleep(TORC_MILLISECOND) == 0);
    TORC_SIM_CHECK(torc_send_all(fd, "x", 1, NULL) == 0);
    nothing.fd = ends[0];
    before_ns = torc_sim_time();
    TORC_SIM_CHECK(torc_sim_syscall(SYS_ppoll, &nothing, 1, &time, NULL, 0) == 0);
    TORC_SIM_CHECK(torc_sim_time() - before_ns >= 10 * TORC_SECOND);
    return torc_scope_close(&hearing);
}

TEST(a_call_that_waits_is_not_ended_by_what_else_happens_to_its_shard)
{
    const struct torc_sim_options options = {.chaos = calm()};

    EXPECT_INT(torc_sim_run(1, &options, poll_while_an_answer_comes, NULL), ==, 0);
}

static int sleep_by_poll(void *arg)
{
    struct pollfd nothing = {.fd = -1, .events = POLLIN};
    const struct timespec time = {.tv_sec = 2};
    const uint64_t before_ns = torc_sim_time();

    (void)arg;
    TORC_SIM_CHECK(torc_sim_syscall(SYS_ppoll, &nothing, 1, &time, NULL, 0) == 0);
    TORC_SIM_CHECK(torc_sim_time() - before_ns >= 2 * TORC_SECOND);
    return 0;
}

TEST(a_poll_of_no_descriptor_sleeps)
{
    EXPECT_INT(torc_sim_run(1, NULL, sleep_by_poll, NULL), ==, 0);
}
