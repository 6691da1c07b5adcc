/* SPDX-License-Identifier: MIT */
/*
 * slices.c - a load generator that turns from one echo server to the next within milliseconds.
 *
 *     slices CONNECTIONS SIZE ROUNDS SETTLE_MS SLICE_MS ADDR:PORT,PID[,TID] ...
 *
 * What machines do to programs, from other guests to the clock's frequency, changes slowly compared
 * with a slice; so servers that are measured in neighbouring slices can be compared to a fraction
 * of what either varies by. In each round every server gets one slice, in an order by lot. Before
 * it is counted a server is loaded for a while, so neither its waking up is counted, nor what the
 * one before still does when it is left.
 *
 * A slice is made of volleys: a message on each connection, then the answer on each, compared.
 *
 * Prints a line for each slice: round, server, messages, time, CPU time of the process (all its
 * threads), and CPU time of its thread TID, which may be 0; times in ns.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND UINT64_C(1000000)

enum {
    CONNECTIONS_MAX = 1000,
    SIZE_MAX_BYTES = 4096,
    SERVERS_MAX = 8,
};

struct server {
    struct sockaddr_in address;
    pid_t process;
    pid_t thread;
    int fds[CONNECTIONS_MAX];
};

/* What a server has used until some moment. */
struct usage {
    uint64_t time_ns;
    uint64_t cpu_ns;
    uint64_t thread_ns;
};

static unsigned connections;
static size_t size;
static struct server servers[SERVERS_MAX];
static unsigned server_count;
static char message[SIZE_MAX_BYTES];

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "slices: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- Servers ---- */

static void read_server(char *text, struct server *server)
{
    char *process = strchr(text, ',');
    char *thread = process != NULL ? strchr(process + 1, ',') : NULL;
    char *port;

    errno = EINVAL;
    if (process == NULL)
        die(text);
    *process = '\0';
    port = strrchr(text, ':');
    if (port == NULL)
        die(text);
    *port = '\0';
    server->address.sin_family = AF_INET;
    server->address.sin_port = htons((uint16_t)atoi(port + 1));
    if (inet_pton(AF_INET, text, &server->address.sin_addr) != 1)
        die(text);
    server->process = atoi(process + 1);
    server->thread = thread != NULL ? atoi(thread + 1) : 0;
}

static void open_connections(struct server *server)
{
    const int yes = 1;

    for (unsigned i = 0; i < connections; i++) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, (void *)&server->address, sizeof(server->address)) < 0 ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) < 0)
            die("connect");
        server->fds[i] = fd;
    }
}

/* ---- What is counted ---- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;

    if (clock_gettime(clock, &time) < 0)
        die("clock_gettime");
    return (uint64_t)time.tv_sec * 1000 * MILLISECOND + (uint64_t)time.tv_nsec;
}

/* It is exact for a thread that does not run just now. */
static uint64_t thread_ns(const struct server *server)
{
    uint64_t cpu_ns = 0;
    char path[64];
    FILE *file;

    if (server->thread == 0)
        return 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", server->process,
                   server->thread);
    file = fopen(path, "re");
    if (file == NULL || fscanf(file, "%" SCNu64, &cpu_ns) != 1)
        die(path);
    fclose(file);
    return cpu_ns;
}

static struct usage usage_of(const struct server *server)
{
    clockid_t clock;

    if (clock_getcpuclockid(server->process, &clock) != 0)
        die("clock_getcpuclockid");
    return (struct usage){.time_ns = clock_ns(CLOCK_MONOTONIC),
                          .cpu_ns = clock_ns(clock),
                          .thread_ns = thread_ns(server)};
}

/* ---- Load ---- */

static void volley(const struct server *server)
{
    char answer[SIZE_MAX_BYTES];

    for (unsigned i = 0; i < connections; i++) {
        if (send(server->fds[i], message, size, MSG_NOSIGNAL) != (ssize_t)size)
            die("send");
    }
    for (unsigned i = 0; i < connections; i++) {
        if (recv(server->fds[i], answer, size, MSG_WAITALL) != (ssize_t)size)
            die("recv");
        if (memcmp(answer, message, size) != 0)
            die("another answer than the message");
    }
    message[0]++;
}

/* Returns how many messages were answered. */
static uint64_t load(const struct server *server, uint64_t duration_ns)
{
    const uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + duration_ns;
    uint64_t messages = 0;

    do {
        volley(server);
        messages += connections;
    } while (clock_ns(CLOCK_MONOTONIC) < until_ns);
    return messages;
}

static void measure(unsigned round, unsigned number, uint64_t settle_ns, uint64_t slice_ns)
{
    const struct server *server = &servers[number];
    struct usage before;
    struct usage after;
    uint64_t messages;

    (void)load(server, settle_ns);
    before = usage_of(server);
    messages = load(server, slice_ns);
    after = usage_of(server);
    printf("%u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", round, number, messages,
           after.time_ns - before.time_ns, after.cpu_ns - before.cpu_ns,
           after.thread_ns - before.thread_ns);
}

/* All servers, in an order by lot. */
static void shuffle(unsigned order[])
{
    for (unsigned i = 0; i < server_count; i++)
        order[i] = i;
    for (unsigned i = server_count; i > 1; i--) {
        const unsigned other = (unsigned)(random() % i);
        const unsigned last = order[i - 1];

        order[i - 1] = order[other];
        order[other] = last;
    }
}

int main(int argc, char **argv)
{
    uint64_t settle_ns;
    uint64_t slice_ns;
    unsigned rounds;

    if (argc < 7 || argc - 6 > SERVERS_MAX) {
        fprintf(stderr,
                "slices CONNECTIONS SIZE ROUNDS SETTLE_MS SLICE_MS ADDR:PORT,PID[,TID] ...\n");
        return 2;
    }
    connections = (unsigned)strtoul(argv[1], NULL, 10);
    size = strtoul(argv[2], NULL, 10);
    rounds = (unsigned)strtoul(argv[3], NULL, 10);
    settle_ns = strtoul(argv[4], NULL, 10) * MILLISECOND;
    slice_ns = strtoul(argv[5], NULL, 10) * MILLISECOND;
    if (connections == 0 || connections > CONNECTIONS_MAX || size == 0 || size > SIZE_MAX_BYTES) {
        fprintf(stderr, "slices: 1 to %d connections, of 1 to %d bytes\n", CONNECTIONS_MAX,
                SIZE_MAX_BYTES);
        return 2;
    }
    server_count = (unsigned)(argc - 6);
    for (unsigned i = 0; i < server_count; i++) {
        read_server(argv[6 + i], &servers[i]);
        open_connections(&servers[i]);
    }
    for (unsigned round = 0; round < rounds; round++) {
        unsigned order[SERVERS_MAX];

        shuffle(order);
        for (unsigned i = 0; i < server_count; i++)
            measure(round, order[i], settle_ns, slice_ns);
    }
    return 0;
}
