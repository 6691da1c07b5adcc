/* SPDX-License-Identifier: MIT */
/*
 * dns_cares.c - names as DNS servers know them, asked by c-ares on the shard itself.
 *
 * c-ares only wants to know when its sockets are ready and when time has passed, so a lookup is a
 * loop around a wait for that. Each lookup has a channel of its own, a copy of the resolver's, and
 * with it sockets of its own: no two lookups wait for each other, and each question leaves from
 * another port, which makes answers hard to forge.
 */
#define CARES_NO_DEPRECATED /* Newer releases would have us use what older ones lack. */
#include "io/await.h"
#include "io/dns.h"
#include <ares.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <torc/op.h>

#define TRY_TIMEOUT_NS (2 * TORC_SECOND)
#define TRIES_DEFAULT  3u
#define TRIES_MAX      100u

/* Numbers of DNS, RFC 1035 and RFC 2782. */
#define CLASS_IN 1
#define TYPE_SRV 33

/* One question, until c-ares has called back. */
struct search {
    ares_channel channel;
    bool done;
    int result;                        /* how many, or a negative errno */
    struct torc__names_answer *answer; /* of a search for addresses */
    struct torc_service *places;       /* of one for places */
    unsigned capacity;
};

static int error_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
        return -ENXIO;
    case ARES_ETIMEOUT:
    case ARES_ECONNREFUSED:
    case ARES_ESERVFAIL:
        return -EAGAIN;
    case ARES_ENOMEM:
        return -ENOMEM;
    case ARES_EBADNAME:
    case ARES_EBADSTR:
        return -EINVAL;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        return -ECANCELED;
    default:
        return -EREMOTEIO;
    }
}

/* ---- The wait ---- */

/* When c-ares wants to be called even if nothing happens; TORC_FOREVER if it does not. */
static uint64_t timeout_of(ares_channel channel)
{
    struct timeval room;
    const struct timeval *left = ares_timeout(channel, NULL, &room);

    if (left == NULL)
        return TORC_FOREVER;
    return (uint64_t)left->tv_sec * TORC_SECOND + (uint64_t)left->tv_usec * TORC_MICROSECOND;
}

/* Wait until a socket is ready or time has passed, and let c-ares go on. */
static void step(struct search *search)
{
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    const unsigned ready = (unsigned)ares_getsock(search->channel, sockets, ARES_GETSOCK_MAXNUM);
    struct torc_op ops[ARES_GETSOCK_MAXNUM];
    struct torc_op *list[ARES_GETSOCK_MAXNUM];
    struct torc_scope scope;
    unsigned count = 0;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, timeout_of(search->channel));
    for (; count < ARES_GETSOCK_MAXNUM; count++) {
        const unsigned events = (ARES_GETSOCK_READABLE(ready, count) ? POLLIN : 0u) |
                                (ARES_GETSOCK_WRITABLE(ready, count) ? POLLOUT : 0u);

        if (events == 0)
            break;
        list[count] = &ops[count];
        io_uring_prep_poll_add(torc_op_prepare(&ops[count]), sockets[count], events);
    }
    if (count > 0) {
        (void)torc_op_select(list, count);
    } else {
        (void)torc_sleep_until(TORC_FOREVER); /* The scope's deadline ends it. */
    }
    (void)torc_scope_close(&scope);
    ares_process_fd(search->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    for (unsigned i = 0; i < count && !search->done; i++) {
        const int events = torc_op_wait(&ops[i]);

        if (events > 0) {
            ares_process_fd(search->channel, events & ~POLLOUT ? sockets[i] : ARES_SOCKET_BAD,
                            events & POLLOUT ? sockets[i] : ARES_SOCKET_BAD);
        }
    }
}

/* Go on until c-ares has called back, or the scope's reason ends it. */
static int conclude(struct search *search)
{
    while (!search->done && torc_cancelled() == 0)
        step(search);
    if (!search->done)
        search->result = torc_cancelled();
    search->done = true;
    ares_destroy(search->channel); /* Calls back, too late. */
    return search->result;
}

/* ---- Addresses ---- */

static bool copy_address(const struct ares_addrinfo_node *node, struct torc_address *address)
{
    if (node->ai_family != AF_INET && node->ai_family != AF_INET6)
        return false;
    memset(address, 0, sizeof(*address));
    address->length = node->ai_addrlen;
    memcpy(&address->any, node->ai_addr, node->ai_addrlen);
    return true;
}

static int take_addresses(const struct ares_addrinfo *found, struct torc__names_answer *answer)
{
    const struct ares_addrinfo_node *node = found->nodes;
    int ttl_sec = INT_MAX;

    answer->count = 0;
    for (; node != NULL && answer->count < NAMES_ADDRESSES_MAX; node = node->ai_next) {
        if (!copy_address(node, &answer->addresses[answer->count]))
            continue;
        answer->count++;
        if (node->ai_ttl < ttl_sec)
            ttl_sec = node->ai_ttl;
    }
    answer->ttl_ns = ttl_sec > 0 ? (uint64_t)ttl_sec * TORC_SECOND : 0;
    return answer->count > 0 ? (int)answer->count : -ENXIO;
}

static void addresses_came(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    struct search *search = arg;

    (void)timeouts;
    if (!search->done) {
        search->result =
            status == ARES_SUCCESS ? take_addresses(found, search->answer) : error_of(status);
    }
    search->done = true;
    if (found != NULL)
        ares_freeaddrinfo(found);
}

static int cares_addresses(struct torc_resolver *resolver, const char *host,
                           struct torc__names_answer *ret_answer)
{
    const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct search search = {.answer = ret_answer};
    const int status = ares_dup(&search.channel, resolver->state);

    if (status != ARES_SUCCESS)
        return error_of(status);
    ares_getaddrinfo(search.channel, host, NULL, &hints, addresses_came, &search);
    return conclude(&search);
}

/* ---- Places ---- */

static bool is_nowhere(const struct ares_srv_reply *reply)
{
    return reply->host[0] == '\0' || strcmp(reply->host, ".") == 0 ||
           strlen(reply->host) >= TORC_HOST_NAME_SIZE;
}

static unsigned count_places(const struct ares_srv_reply *reply)
{
    unsigned count = 0;

    for (; reply != NULL; reply = reply->next)
        count += !is_nowhere(reply);
    return count;
}

/* All of them have to be put in order before some may be left out. */
static int take_places(const struct ares_srv_reply *reply, struct torc_service *places,
                       unsigned capacity)
{
    const unsigned count = count_places(reply);
    struct torc_service *list;
    unsigned next = 0;

    if (count == 0)
        return -ENXIO;
    list = calloc(count, sizeof(*list));
    if (list == NULL)
        return -ENOMEM;
    for (; reply != NULL; reply = reply->next) {
        if (is_nowhere(reply))
            continue;
        list[next].priority = reply->priority;
        list[next].weight = reply->weight;
        list[next].port = reply->port;
        memcpy(list[next++].host, reply->host, strlen(reply->host) + 1);
    }
    torc__places_sort(list, count, torc__random_below);
    capacity = count < capacity ? count : capacity;
    memcpy(places, list, capacity * sizeof(*places));
    free(list);
    return (int)capacity;
}

static void places_came(void *arg, int status, int timeouts, unsigned char *packet, int length)
{
    struct search *search = arg;
    struct ares_srv_reply *reply = NULL;

    (void)timeouts;
    if (search->done)
        return;
    search->done = true;
    if (status == ARES_SUCCESS)
        status = ares_parse_srv_reply(packet, length, &reply);
    search->result = status == ARES_SUCCESS ? take_places(reply, search->places, search->capacity)
                                            : error_of(status);
    if (reply != NULL)
        ares_free_data(reply);
}

static int cares_places(struct torc_resolver *resolver, const char *name,
                        struct torc_service *ret_places, unsigned capacity)
{
    struct search search = {.places = ret_places, .capacity = capacity};
    int status;

    if (torc_cancelled() != 0)
        return torc_yield(); /* Which refuses. */
    status = ares_dup(&search.channel, resolver->state);
    if (status != ARES_SUCCESS)
        return error_of(status);
    ares_query(search.channel, name, CLASS_IN, TYPE_SRV, places_came, &search);
    return conclude(&search);
}

/* ---- The resolver's channel: what the others are copies of ---- */

static void begin_library(void)
{
    (void)ares_library_init(ARES_LIB_INIT_ALL); /* For good: it counts, but without locks. */
}

static int cares_open(struct torc_resolver *resolver, const struct torc_resolver_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const uint64_t timeout_ns =
        options->try_timeout_ns != 0 ? options->try_timeout_ns : TRY_TIMEOUT_NS;
    struct ares_options settings = {
        .timeout = (int)(timeout_ns / TORC_MILLISECOND),
        .tries = (int)(options->tries != 0 ? options->tries : TRIES_DEFAULT),
    };
    ares_channel channel;
    int status;

    if (options->tries > TRIES_MAX || timeout_ns > 3600 * TORC_SECOND)
        return -EINVAL;
    if (settings.timeout == 0)
        settings.timeout = 1;
    (void)pthread_once(&once, begin_library);
    status = ares_init_options(&channel, &settings, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
    if (status != ARES_SUCCESS)
        return error_of(status);
    if (options->servers != NULL) {
        status = ares_set_servers_ports_csv(channel, options->servers);
        if (status != ARES_SUCCESS) {
            ares_destroy(channel);
            return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
        }
    }
    resolver->state = channel;
    return 0;
}

static void cares_close(struct torc_resolver *resolver)
{
    ares_destroy(resolver->state);
}

const struct torc__names_backend torc__names_cares = {
    .open = cares_open,
    .close = cares_close,
    .addresses = cares_addresses,
    .places = cares_places,
};
