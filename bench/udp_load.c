/* SPDX-License-Identifier: MIT */
/*
 * udp_load.c - a load generator for servers that send every datagram back.
 *
 *     udp_load ADDR:PORT [--connections N] [--size BYTES] [--depth N] [--duration SEC]
 *              [--warmup SEC]
 *
 * Each socket keeps `depth` datagrams in flight: for each that comes back a new one is sent. A
 * datagram carries when it was sent, from which socket, in which window; the rest of it follows
 * from these, and every byte is compared. What does not come back for LOST_AFTER_NS is lost: its
 * socket opens a new window, and whatever of the old one still comes is only counted.
 *
 * Prints one object of JSON with the fields of `torc bench`. Ends by itself.
 */
#include "histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND           UINT64_C(1000000000)
#define LOST_AFTER_NS    (SECOND / 5)
#define DURATION_MAX_SEC 600.0

enum {
    SOCKETS_MAX = 10000,
    SIZE_MAX_BYTES = 8192,
    DEPTH_MAX = 64,
    EVENTS_MAX = 256,
};

/* What a datagram begins with. */
struct header {
    uint64_t sent_ns;
    uint32_t socket;
    uint32_t window;
};

struct peer {
    int fd;
    uint32_t window;
    unsigned in_flight;
    uint64_t heard_ns; /* when something came back last, or the window was opened */
};

static struct {
    struct sockaddr_in server;
    unsigned sockets;
    unsigned size;
    unsigned depth;
    double duration_sec;
    double warmup_sec;
} asked = {.sockets = 10, .size = 64, .depth = 1, .duration_sec = 1, .warmup_sec = 0.1};

static struct {
    uint64_t messages;
    uint64_t lost;
    uint64_t late; /* of a window given up */
    uint64_t mismatches;
    struct histogram *latency;
} counted;

static struct peer *peers;
static int epoll_fd;
static uint64_t begin_ns; /* of what is measured */
static char *memory;      /* depth datagrams */
static struct mmsghdr messages[DEPTH_MAX];
static struct iovec vectors[DEPTH_MAX];

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* ---- Datagrams ---- */

static char *datagram(unsigned i)
{
    return memory + (size_t)i * SIZE_MAX_BYTES;
}

/* The bytes behind the header, different for each datagram. */
static void fill_body(char *body, size_t size, const struct header *header)
{
    uint64_t state = header->sent_ns * 2 + 1;

    for (size_t i = 0; i < size; i++) {
        state = state * UINT64_C(6364136223846793005) + header->socket * 2 + 1;
        body[i] = (char)(state >> 56);
    }
}

static bool is_ours(const char *data, size_t size, const struct header *header, unsigned socket)
{
    static char expected[SIZE_MAX_BYTES];

    if (size != asked.size || header->socket != socket)
        return false;
    fill_body(expected, size - sizeof(*header), header);
    return memcmp(data + sizeof(*header), expected, size - sizeof(*header)) == 0;
}

static void send_datagrams(unsigned index, unsigned count, uint64_t now_ns)
{
    struct peer *peer = &peers[index];
    const struct header header = {.sent_ns = now_ns, .socket = index, .window = peer->window};

    for (unsigned i = 0; i < count; i++) {
        memcpy(datagram(i), &header, sizeof(header));
        if (i == 0)
            fill_body(datagram(i) + sizeof(header), asked.size - sizeof(header), &header);
        else
            memcpy(datagram(i), datagram(0), asked.size);
        vectors[i].iov_len = asked.size;
    }
    /* What the socket does not take counts as lost in time. */
    const int sent = sendmmsg(peer->fd, messages, count, MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != ENOBUFS)
        die("sendmmsg");
    peer->in_flight += count;
}

static void open_window(unsigned index, uint64_t now_ns)
{
    struct peer *peer = &peers[index];

    counted.lost += now_ns >= begin_ns ? peer->in_flight : 0;
    peer->window++;
    peer->in_flight = 0;
    peer->heard_ns = now_ns;
    send_datagrams(index, asked.depth, now_ns);
}

/* Returns whether the datagram is one of those in flight. */
static bool take_datagram(unsigned index, const char *data, size_t size, uint64_t now_ns)
{
    struct header header;

    memcpy(&header, data, sizeof(header));
    if (size < sizeof(header) || !is_ours(data, size, &header, index)) {
        counted.mismatches++;
        return false;
    }
    if (header.window != peers[index].window || peers[index].in_flight == 0) {
        counted.late++;
        return false;
    }
    peers[index].in_flight--;
    if (now_ns >= begin_ns) {
        counted.messages++;
        histogram_record(counted.latency, now_ns - header.sent_ns);
    }
    return true;
}

static void receive(unsigned index)
{
    for (unsigned i = 0; i < asked.depth; i++)
        vectors[i].iov_len = SIZE_MAX_BYTES;
    const int count = recvmmsg(peers[index].fd, messages, asked.depth, MSG_DONTWAIT, NULL);
    if (count < 0 && errno != EAGAIN)
        die("recvmmsg");

    const uint64_t now_ns = now();
    unsigned answered = 0;
    for (int i = 0; i < count; i++)
        answered += take_datagram(index, datagram((unsigned)i), messages[i].msg_len, now_ns);
    if (answered > 0) {
        peers[index].heard_ns = now_ns;
        send_datagrams(index, answered, now_ns);
    }
}

/* ---- The run ---- */

static void open_sockets(void)
{
    peers = calloc(asked.sockets, sizeof(*peers));
    memory = calloc(asked.depth, SIZE_MAX_BYTES);
    counted.latency = histogram_create();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (peers == NULL || memory == NULL || counted.latency == NULL || epoll_fd < 0)
        die("starting");
    for (unsigned i = 0; i < asked.depth; i++) {
        vectors[i].iov_base = datagram(i);
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    }
    for (unsigned i = 0; i < asked.sockets; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = i}};

        peers[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (peers[i].fd < 0 ||
            connect(peers[i].fd, (struct sockaddr *)&asked.server, sizeof(asked.server)) != 0 ||
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peers[i].fd, &event) != 0)
            die("opening sockets");
    }
}

static void give_up_lost(uint64_t now_ns)
{
    for (unsigned i = 0; i < asked.sockets; i++) {
        if (now_ns > peers[i].heard_ns + LOST_AFTER_NS)
            open_window(i, now_ns);
    }
}

static void run(uint64_t end_ns)
{
    uint64_t look_ns = now() + LOST_AFTER_NS;

    for (unsigned i = 0; i < asked.sockets; i++)
        open_window(i, now());
    for (uint64_t now_ns = now(); now_ns < end_ns; now_ns = now()) {
        struct epoll_event events[EVENTS_MAX];
        const int count = epoll_wait(epoll_fd, events, EVENTS_MAX, 10);

        for (int i = 0; i < count; i++)
            receive(events[i].data.u32);
        if (now_ns >= look_ns) {
            give_up_lost(now_ns);
            look_ns = now_ns + LOST_AFTER_NS;
        }
    }
}

/* ---- The command ---- */

static void report(double seconds)
{
    static const struct {
        const char *name;
        double percent;
    } columns[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p999", 99.9}};

    printf("{\"command\": \"udp_load\", \"connections\": %u, \"size\": %u, \"depth\": %u, "
           "\"duration_seconds\": %.6f, \"messages\": %llu, \"messages_per_second\": %.1f, "
           "\"errors\": 0, \"mismatches\": %llu, \"lost\": %llu, \"late\": %llu, "
           "\"latency_us\": {\"mean\": %.3f",
           asked.sockets, asked.size, asked.depth, seconds, (unsigned long long)counted.messages,
           (double)counted.messages / seconds, (unsigned long long)counted.mismatches,
           (unsigned long long)counted.lost, (unsigned long long)counted.late,
           histogram_mean(counted.latency) / 1e3);
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        printf(", \"%s\": %.3f", columns[i].name,
               (double)histogram_percentile(counted.latency, columns[i].percent) / 1e3);
    }
    printf(", \"max\": %.3f}}\n", (double)histogram_max(counted.latency) / 1e3);
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: udp_load ADDR:PORT [--connections N] [--size BYTES] [--depth N]\n"
                    "                [--duration SEC] [--warmup SEC]\n");
    exit(2);
}

static double number(const char *text, double min, double max)
{
    char *end;
    const double value = strtod(text, &end);

    if (*text == '\0' || *end != '\0' || !(value >= min && value <= max))
        usage();
    return value;
}

static void parse_server(char *text)
{
    char *colon = strrchr(text, ':');

    if (colon == NULL)
        usage();
    *colon = '\0';
    asked.server.sin_family = AF_INET;
    asked.server.sin_port = htons((uint16_t)number(colon + 1, 1, 65535));
    if (inet_pton(AF_INET, text, &asked.server.sin_addr) != 1)
        usage();
}

static void parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"connections", required_argument, NULL, 'c'}, {"size", required_argument, NULL, 's'},
        {"depth", required_argument, NULL, 'd'},       {"duration", required_argument, NULL, 't'},
        {"warmup", required_argument, NULL, 'w'},      {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'c')
            asked.sockets = (unsigned)number(optarg, 1, SOCKETS_MAX);
        else if (option == 's')
            asked.size = (unsigned)number(optarg, sizeof(struct header), SIZE_MAX_BYTES);
        else if (option == 'd')
            asked.depth = (unsigned)number(optarg, 1, DEPTH_MAX);
        else if (option == 't')
            asked.duration_sec = number(optarg, 0.001, DURATION_MAX_SEC);
        else if (option == 'w')
            asked.warmup_sec = number(optarg, 0, DURATION_MAX_SEC);
        else
            usage();
    }
    if (optind + 1 != argc)
        usage();
    parse_server(argv[optind]);
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    parse(argc, argv);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    open_sockets();
    begin_ns = now() + (uint64_t)(asked.warmup_sec * 1e9);
    run(begin_ns + (uint64_t)(asked.duration_sec * 1e9));
    report((double)(now() - begin_ns) / 1e9);
    if (counted.messages == 0)
        fprintf(stderr, "udp_load: the server did not answer\n");
    return counted.messages == 0;
}
