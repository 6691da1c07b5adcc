/* SPDX-License-Identifier: MIT */
/*
 * dns_system.c - names as the system knows them: getaddrinfo() and its like, on the blocking pool.
 */
#include "base/compiler.h"
#include "driver/sim/names.h"
#include "driver/thread.h"
#include "io/blocking.h"
#include "io/dns.h"
#include "shard/shard.h"
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

int torc__names_error(int eai, int error)
{
    switch (eai) {
    case 0:
        return 0;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
    case EAI_SERVICE:
        return -ENXIO;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_FAMILY:
        return -EAFNOSUPPORT;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_OVERFLOW:
        return -ENOBUFS;
    case EAI_SYSTEM:
        return error > 0 ? -error : -EREMOTEIO;
    default:
        return -EREMOTEIO;
    }
}

/* ---- Addresses ---- */

struct query {
    const char *host;
    struct torc__names_answer *answer;
};

/* What other hosts of a simulation have. */
static int run_simulated(const char *host, struct torc__names_answer *answer)
{
    struct sim_addresses found;
    const int result = torc__sim_lookup(host, &found);

    if (result < 0)
        return result;
    answer->count = 0;
    if (found.has_ipv6) {
        struct torc_address *address = &answer->addresses[answer->count++];

        *address = (struct torc_address){.length = sizeof(address->v6)};
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_addr = found.ipv6;
    }
    if (found.has_ipv4) {
        struct torc_address *address = &answer->addresses[answer->count++];

        *address = (struct torc_address){.length = sizeof(address->v4)};
        address->v4.sin_family = AF_INET;
        address->v4.sin_addr = found.ipv4;
    }
    answer->ttl_ns = UINT64_MAX;
    return (int)answer->count;
}

static int run_getaddrinfo(void *arg)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const struct query *query = arg;
    struct torc__names_answer *answer = query->answer;
    struct addrinfo *found = NULL;
    int result;

    if (torc__thread_is_simulated())
        return run_simulated(query->host, answer);
    result = getaddrinfo(query->host, NULL, &hints, &found);
    if (result != 0)
        return torc__names_error(result, errno);
    answer->count = 0;
    for (const struct addrinfo *one = found;
         one != NULL && answer->count < ARRAY_LENGTH(answer->addresses); one = one->ai_next) {
        struct torc_address *address = &answer->addresses[answer->count];

        if (one->ai_family != AF_INET && one->ai_family != AF_INET6)
            continue;
        memset(address, 0, sizeof(*address));
        address->length = one->ai_addrlen;
        memcpy(&address->any, one->ai_addr, one->ai_addrlen);
        answer->count++;
    }
    freeaddrinfo(found);
    answer->ttl_ns = UINT64_MAX;
    return answer->count > 0 ? (int)answer->count : -ENXIO;
}

static int system_open(struct torc_resolver *resolver, const struct torc_resolver_options *options)
{
    (void)resolver;
    (void)options;
    return 0;
}

static void system_close(struct torc_resolver *resolver)
{
    (void)resolver;
}

static int system_addresses(struct torc_resolver *resolver, const char *host,
                            struct torc__names_answer *ret_answer)
{
    struct query query = {.host = host, .answer = ret_answer};

    (void)resolver;
    return torc__blocking(LANE_NAMES, run_getaddrinfo, &query);
}

static int system_places(struct torc_resolver *resolver, const char *name,
                         struct torc_service *ret_places, unsigned capacity)
{
    (void)resolver;
    (void)name;
    (void)ret_places;
    (void)capacity;
    return -EOPNOTSUPP;
}

const struct torc__names_backend torc__names_system = {
    .has_queue = true,
    .open = system_open,
    .close = system_close,
    .addresses = system_addresses,
    .places = system_places,
};

/* ---- Questions ---- */

/*
 * What the system has been asked nobody can take back. So a fiber of its own waits for the answer,
 * and who asked may leave; what no thread has begun by then is not asked at all.
 */
struct question {
    int (*ask)(void *question); /* on a thread of the pool */
    unsigned holders;           /* who asks, and that fiber */
    struct torc_scope *waiting; /* of the fiber, while it waits for the pool */
    struct torc_event answered;
    int result;
};

static void let_go(struct question *question)
{
    if (--question->holders == 0)
        free(question);
}

static int wait_for_answer(void *arg)
{
    struct question *question = arg;
    struct torc_scope scope;

    torc_fiber_set_name("lookup");
    torc_scope_open(&scope, TORC_SHIELD); /* Who asks ends it, and nobody else. */
    question->waiting = &scope;
    question->result = torc__blocking(LANE_NAMES, question->ask, question);
    question->waiting = NULL;
    (void)torc_scope_close(&scope);
    torc_event_set(&question->answered);
    let_go(question);
    return 0;
}

/* What the system answers, or why that is not known. The caller has to let go of the question. */
static int put_question(struct question *question)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int result = torc__reason(shard);

    question->holders = 1;
    if (result != 0)
        return torc__refuse(shard, result);
    result = torc_spawn(wait_for_answer, question);
    if (result < 0)
        return result;
    question->holders++;
    result = torc_event_wait(&question->answered);
    if (torc_event_is_set(&question->answered))
        return question->result;
    if (question->waiting != NULL)
        torc_scope_cancel(question->waiting);
    return result;
}

/* ---- Services ---- */

struct service_question {
    struct question question; /* comes first */
    int type;
    int protocol;
    char service[TORC_HOST_NAME_SIZE];
};

static int ask_service(void *arg)
{
    const struct service_question *question = arg;
    const struct addrinfo hints = {
        .ai_family = AF_INET, .ai_socktype = question->type, .ai_protocol = question->protocol};
    struct addrinfo *found = NULL;
    int result = getaddrinfo(NULL, question->service, &hints, &found);

    if (result != 0)
        return torc__names_error(result, errno);
    result = ntohs(((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_port);
    freeaddrinfo(found);
    return result;
}

static int look_up_service(const char *service, size_t size, bool is_tcp)
{
    struct service_question *question = calloc(1, sizeof(*question));
    int result;

    if (question == NULL)
        return -ENOMEM;
    question->question.ask = ask_service;
    question->type = is_tcp ? SOCK_STREAM : SOCK_DGRAM;
    question->protocol = is_tcp ? IPPROTO_TCP : IPPROTO_UDP;
    memcpy(question->service, service, size);
    result = put_question(&question->question);
    let_go(&question->question);
    return result;
}

/* The number that a text is, if it is one: -1 if not, -EINVAL if that is no port. */
static int parse_number(const char *text)
{
    int number = 0;

    for (; *text >= '0' && *text <= '9' && number <= UINT16_MAX; text++)
        number = number * 10 + (*text - '0');
    if (*text != '\0' && number <= UINT16_MAX)
        return -1;
    return number <= UINT16_MAX ? number : -EINVAL;
}

int torc_lookup_service(const char *service, const char *protocol)
{
    const bool is_tcp = strcmp(protocol, "tcp") == 0;
    size_t size;
    int number;

    if ((!is_tcp && strcmp(protocol, "udp") != 0) || *service == '\0')
        return -EINVAL;
    number = parse_number(service);
    if (number != -1)
        return number;
    size = strlen(service) + 1;
    return size <= TORC_HOST_NAME_SIZE ? look_up_service(service, size, is_tcp) : -ENAMETOOLONG;
}

/* ---- Names of addresses ---- */

struct name_question {
    struct question question; /* comes first */
    struct torc_address address;
    char host[NI_MAXHOST];
};

static int ask_name(void *arg)
{
    struct name_question *question = arg;
    const struct torc_address *address = &question->address;
    int result;

    if (torc__thread_is_simulated())
        return torc__sim_lookup_name(&address->any, question->host, sizeof(question->host));
    result = getnameinfo(&address->any, address->length, question->host, sizeof(question->host),
                         NULL, 0, NI_NAMEREQD);
    return torc__names_error(result, errno);
}

static int copy_text(const char *text, char *to, size_t size)
{
    const size_t length = strlen(text);

    if (length >= size)
        return -ENOBUFS;
    memcpy(to, text, length + 1);
    return 0;
}

int torc_lookup_name(const struct torc_address *address, char *ret_host, size_t size)
{
    struct name_question *question;
    int result;

    if (address->length == 0 ||
        (address->any.sa_family != AF_INET && address->any.sa_family != AF_INET6))
        return -EAFNOSUPPORT;
    question = calloc(1, sizeof(*question));
    if (question == NULL)
        return -ENOMEM;
    question->question.ask = ask_name;
    question->address = *address;
    result = put_question(&question->question);
    if (result == 0)
        result = copy_text(question->host, ret_host, size);
    let_go(&question->question);
    return result;
}
