/* SPDX-License-Identifier: MIT */
/*
 * demo_server.c - echo servers as processes of their own, which never outlive the demo.
 *
 * They get SIGTERM when the demo dies, however it dies, and have a process group of their own, so
 * that Ctrl-C reaches the demo alone, which then stops them.
 */
#include "demo_server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    START_MS = 5000,
    STOP_MS = 2000,
    EXEC_FAILED = 127,
};

/* In the child: become the server. */
static _Noreturn void become(const char *const *arguments, const struct cpus *cpus, int output,
                             pid_t parent)
{
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGTERM, SIG_DFL); /* It would stay ignored if it was, and this is how it is ended. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXEC_FAILED); /* It died before it could be said what is to happen then. */
    setpgid(0, 0);
    if (cpus != NULL)
        cpus_pin(cpus);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    /* exec does not change the strings, though its type does not say so. */
    execv(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(EXEC_FAILED);
}

/* Read the first line that the server prints. -ETIMEDOUT, -ENODATA if it ends before. */
static int read_line(int fd, char *text, size_t size)
{
    size_t length = 0;

    while (length < size - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const int ready = poll(&wait, 1, START_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return ready == 0 ? -ETIMEDOUT : -errno;
        const ssize_t got = read(fd, text + length, 1);
        if (got <= 0)
            return got == 0 ? -ENODATA : -errno;
        if (text[length] == '\n')
            break;
        length++;
    }
    text[length] = '\0';
    return 0;
}

/* Turn "listening on 127.0.0.1:7000" or "port 7000" into the address. */
static int read_address(int fd, struct torc_address *ret_address)
{
    char line[256];
    char text[64];
    const int error = read_line(fd, line, sizeof(line));

    if (error < 0)
        return error;
    const size_t length = strlen(line);
    size_t digits = 0;
    while (digits < length && strchr("0123456789", line[length - 1 - digits]) != NULL)
        digits++;
    snprintf(text, sizeof(text), "127.0.0.1:%.*s", (int)(digits < 6 ? digits : 6),
             line + length - digits);
    return torc_address_parse(text, ret_address);
}

int demo_server_start(const char *const *arguments, const struct cpus *cpus,
                      struct demo_server *ret_server)
{
    int ends[2];

    if (access(arguments[0], X_OK) != 0)
        return -errno;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    fflush(NULL);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0)
        become(arguments, cpus, ends[1], parent);
    const int error = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (error < 0) {
        close(ends[0]);
        return error;
    }

    struct demo_server server = {.pid = pid, .output = ends[0]};
    const int result = read_address(server.output, &server.address);
    if (result < 0) {
        demo_server_stop(&server);
        return result;
    }
    *ret_server = server;
    return 0;
}

void demo_server_stop(struct demo_server *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGTERM);

    const int fd = (int)syscall(SYS_pidfd_open, server->pid, 0);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (fd < 0 || poll(&wait, 1, STOP_MS) <= 0)
        kill(server->pid, SIGKILL);
    if (fd >= 0)
        close(fd);
    while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    close(server->output);
    *server = (struct demo_server){0};
}

uint64_t demo_server_cpu(const struct demo_server *server)
{
    char path[300];
    uint64_t sum_ns = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)server->pid);
    DIR *threads = opendir(path);
    if (threads == NULL)
        return 0;
    for (const struct dirent *thread; (thread = readdir(threads)) != NULL;) {
        unsigned long long time_ns;

        if (thread->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)server->pid,
                 thread->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        if (fscanf(file, "%llu", &time_ns) == 1)
            sum_ns += time_ns;
        fclose(file);
    }
    closedir(threads);
    return sum_ns;
}
