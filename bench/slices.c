/* SPDX-License-Identifier: MIT */
/*
 * slices.c - a load generator that turns from one echo server to the next within milliseconds.
 *
 *     slices [--poll] CONNECTIONS SIZE DEPTH SECONDS SETTLE_MS SLICE_MS ADDRESS,PID[,TID] ...
 *
 * What machines do to programs, from other guests to the clock's frequency, changes slowly compared
 * with a slice; so servers that are measured in neighbouring slices can be compared to a fraction
 * of what either varies by. In each round every server gets one slice, in an order by lot. Before
 * it is counted a server is loaded for a while, so neither its waking up is counted, nor what the
 * one before still does when it is left. Both times are at least what it takes to answer as many
 * messages as are in flight. Rounds begin for SECONDS, and there are three of them at least.
 *
 * Each connection keeps DEPTH messages of SIZE bytes in flight: for each answer the next is sent.
 * Every byte is compared. ADDRESS is HOST:PORT, or the path of a Unix socket. With --poll this
 * program does not sleep while it waits for answers, so that nobody has to wake it.
 *
 * Prints a line for each slice: round, server, messages, time, CPU time of the process (all its
 * threads), CPU time of its thread TID, which may be 0, and the median and the 99th percentile of
 * how long an answer took; times in ns.
 */
#include "histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND UINT64_C(1000000)
#define SECOND      UINT64_C(1000000000)

enum {
    CONNECTIONS_MAX = 1000,
    SIZE_MAX_BYTES = 65536,
    DEPTH_MAX = 64,
    SERVERS_MAX = 8,
    EVENTS_MAX = 64,
    ROUNDS_MIN = 3,
    RECV_MAX = 65536,
    ANSWER_MS_MAX = 10000,
    PERIOD = 251, /* of the bytes of a connection: no power of two, or a lost block is not seen */
};

struct connection {
    int fd;
    uint64_t wanted;   /* bytes to be sent, since the beginning */
    uint64_t sent;     /* of these; all such counts include what was before this slice */
    uint64_t received; /* bytes */
    uint64_t answered; /* messages; begun_ns of the next to be answered is at this, modulo depth */
    uint64_t asked;    /* messages */
    uint64_t begun_ns[DEPTH_MAX];
};

struct server {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_un path;
    } address;
    pid_t process;
    pid_t thread;
    int epoll_fd;
    struct connection *connections;
};

/* What a server has used until some moment. */
struct usage {
    uint64_t time_ns;
    uint64_t cpu_ns;
    uint64_t thread_ns;
};

static unsigned connections;
static size_t size;
static unsigned depth;
static uint64_t settle_ns;
static uint64_t slice_ns;
static bool polls;
static struct server servers[SERVERS_MAX];
static unsigned server_count;
static struct histogram *latency;
static char *stream; /* what each connection carries, for long enough to send from any place */
static char answer[RECV_MAX];

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "slices: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);

    if (memory == NULL)
        die("memory");
    return memory;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;

    if (clock_gettime(clock, &time) < 0)
        die("clock_gettime");
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* ---- Servers ---- */

static void read_address(char *text, struct server *server)
{
    char *port = strrchr(text, ':');

    if (text[0] == '/') {
        server->address.path.sun_family = AF_UNIX;
        if (strlen(text) >= sizeof(server->address.path.sun_path))
            die(text);
        strcpy(server->address.path.sun_path, text);
        return;
    }
    if (port == NULL)
        die(text);
    *port = '\0';
    server->address.v4.sin_family = AF_INET;
    server->address.v4.sin_port = htons((uint16_t)atoi(port + 1));
    if (inet_pton(AF_INET, text, &server->address.v4.sin_addr) != 1)
        die(text);
}

static void read_server(char *text, struct server *server)
{
    char *process = strchr(text, ',');
    char *thread = process != NULL ? strchr(process + 1, ',') : NULL;

    errno = EINVAL;
    if (process == NULL)
        die(text);
    *process = '\0';
    read_address(text, server);
    server->process = atoi(process + 1);
    server->thread = thread != NULL ? atoi(thread + 1) : 0;
}

static void open_connection(const struct server *server, struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    const int family = server->address.any.sa_family;
    const socklen_t length =
        family == AF_UNIX ? sizeof(server->address.path) : sizeof(server->address.v4);
    const int yes = 1;

    connection->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 || connect(connection->fd, &server->address.any, length) < 0)
        die("connect");
    if (family == AF_INET &&
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) < 0)
        die("TCP_NODELAY");
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        die("epoll_ctl");
}

static void open_connections(struct server *server)
{
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll_fd < 0)
        die("epoll_create1");
    server->connections = allocate(connections * sizeof(struct connection));
    for (unsigned i = 0; i < connections; i++)
        open_connection(server, &server->connections[i]);
}

/* ---- What is counted ---- */

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

/* What finds no room is sent when the next answer has come: there are some on their way then. */
static void send_wanted(struct connection *connection)
{
    ssize_t count;

    if (connection->sent == connection->wanted)
        return;
    count = send(connection->fd, stream + connection->sent % PERIOD,
                 connection->wanted - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0)
        connection->sent += (uint64_t)count;
    else if (errno != EAGAIN)
        die("send");
}

static void ask(struct connection *connection, uint64_t count, uint64_t now_ns)
{
    for (uint64_t i = 0; i < count; i++)
        connection->begun_ns[connection->asked++ % depth] = now_ns;
    connection->wanted += count * size;
    send_wanted(connection);
}

/* Take what has come. Returns how many messages are answered by it. */
static uint64_t receive(struct connection *connection)
{
    const ssize_t count = recv(connection->fd, answer, sizeof(answer), MSG_DONTWAIT);
    const uint64_t before = connection->answered;
    uint64_t now_ns;

    if (count < 0 && errno == EAGAIN)
        return 0;
    if (count <= 0)
        die(count == 0 ? "a server closed a connection" : "recv");
    if (memcmp(answer, stream + connection->received % PERIOD, (size_t)count) != 0)
        die("another answer than the message");
    connection->received += (uint64_t)count;
    now_ns = clock_ns(CLOCK_MONOTONIC);
    while ((connection->answered + 1) * size <= connection->received)
        histogram_record(latency, now_ns - connection->begun_ns[connection->answered++ % depth]);
    return connection->answered - before;
}

/* Returns how many there are; at least one. */
static int wait_for_answers(const struct server *server, struct epoll_event events[])
{
    const uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + ANSWER_MS_MAX * MILLISECOND;
    int count;

    do
        count = epoll_wait(server->epoll_fd, events, EVENTS_MAX, polls ? 0 : ANSWER_MS_MAX);
    while (count == 0 && clock_ns(CLOCK_MONOTONIC) < until_ns);
    if (count <= 0)
        die(count == 0 ? "no answer within 10 s" : "epoll_wait");
    return count;
}

/*
 * Exchange messages until the time is over and so many are answered; without `ask_on` only those
 * in flight. Returns how many were answered.
 */
static uint64_t load(const struct server *server, uint64_t duration_ns, uint64_t least, bool ask_on)
{
    const uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + duration_ns;
    struct epoll_event events[EVENTS_MAX];
    uint64_t messages = 0;

    while (messages < least || (ask_on && clock_ns(CLOCK_MONOTONIC) < until_ns)) {
        const int count = wait_for_answers(server, events);

        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            const uint64_t answered = receive(connection);

            messages += answered;
            ask(connection, ask_on ? answered : 0, clock_ns(CLOCK_MONOTONIC));
        }
    }
    return messages;
}

static void measure(unsigned round, unsigned number)
{
    const uint64_t in_flight = (uint64_t)connections * depth;
    const struct server *server = &servers[number];
    struct usage before;
    struct usage after;
    uint64_t messages;

    for (unsigned i = 0; i < connections; i++)
        ask(&server->connections[i], depth, clock_ns(CLOCK_MONOTONIC));
    (void)load(server, settle_ns, in_flight, true);
    histogram_clear(latency);
    before = usage_of(server);
    messages = load(server, slice_ns, in_flight, true);
    after = usage_of(server);
    (void)load(server, 0, in_flight, false); /* How late the last ones are counts as well. */
    printf("%u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", round,
           number, messages, after.time_ns - before.time_ns, after.cpu_ns - before.cpu_ns,
           after.thread_ns - before.thread_ns, histogram_percentile(latency, 50),
           histogram_percentile(latency, 99));
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

static void make_stream(void)
{
    const size_t length = PERIOD + (depth * size > RECV_MAX ? depth * size : RECV_MAX);

    stream = allocate(length);
    for (size_t i = 0; i < length; i++)
        stream[i] = (char)(i % PERIOD);
}

int main(int argc, char **argv)
{
    uint64_t duration_ns;
    uint64_t until_ns;

    polls = argc > 1 && strcmp(argv[1], "--poll") == 0;
    argc -= polls;
    argv += polls;
    if (argc < 8 || argc - 7 > SERVERS_MAX) {
        fprintf(stderr, "slices [--poll] CONNECTIONS SIZE DEPTH SECONDS SETTLE_MS SLICE_MS "
                        "ADDRESS,PID[,TID] ...\n");
        return 2;
    }
    connections = (unsigned)strtoul(argv[1], NULL, 10);
    size = strtoul(argv[2], NULL, 10);
    depth = (unsigned)strtoul(argv[3], NULL, 10);
    duration_ns = strtoul(argv[4], NULL, 10) * SECOND;
    settle_ns = strtoul(argv[5], NULL, 10) * MILLISECOND;
    slice_ns = strtoul(argv[6], NULL, 10) * MILLISECOND;
    if (connections == 0 || connections > CONNECTIONS_MAX || size == 0 || size > SIZE_MAX_BYTES ||
        depth == 0 || depth > DEPTH_MAX) {
        fprintf(stderr, "slices: 1 to %d connections, of 1 to %d bytes, 1 to %d in flight\n",
                CONNECTIONS_MAX, SIZE_MAX_BYTES, DEPTH_MAX);
        return 2;
    }
    make_stream();
    latency = histogram_create();
    if (latency == NULL)
        die("memory");
    server_count = (unsigned)(argc - 7);
    for (unsigned i = 0; i < server_count; i++) {
        read_server(argv[7 + i], &servers[i]);
        open_connections(&servers[i]);
    }
    until_ns = clock_ns(CLOCK_MONOTONIC) + duration_ns;
    for (unsigned round = 0; round < ROUNDS_MIN || clock_ns(CLOCK_MONOTONIC) < until_ns; round++) {
        unsigned order[SERVERS_MAX];

        shuffle(order);
        for (unsigned i = 0; i < server_count; i++)
            measure(round, order[i]);
    }
    return 0;
}
