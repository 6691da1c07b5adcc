/* SPDX-License-Identifier: MIT */
/*
 * connect_name.c - connect to a name: happy eyeballs, RFC 8305.
 *
 * Each attempt is a fiber in a scope that the first success cancels. An attempt that was cancelled
 * closes its socket, and one that succeeded in spite of it closes its connection; so when the scope
 * has closed there is one descriptor, or none.
 */
#include "base/compiler.h"
#include "io/dns_cache.h"
#include <errno.h>
#include <torc/dns.h>
#include <torc/io.h>
#include <torc/scope.h>
#include <torc/sync.h>

#define ATTEMPTS_MAX     64u
#define ATTEMPT_DELAY_NS (250 * TORC_MILLISECOND)

struct race {
    const struct torc_connect_options *options;
    struct torc_scope scope;
    struct torc_event failed; /* an attempt did */
    int fd;                   /* the winner's, or -1 */
    int error;                /* of the attempt that failed last */
};

struct attempt {
    struct race *race;
    const struct torc_address *address;
};

static int try_address(void *arg)
{
    const struct attempt *attempt = arg;
    struct race *race = attempt->race;
    const int fd = torc_tcp_connect(attempt->address, 1, race->options);

    if (fd < 0) {
        race->error = fd;
        torc_event_set(&race->failed);
    } else if (race->fd < 0) {
        race->fd = fd;
        torc_scope_cancel(&race->scope);
    } else {
        (void)torc_close(fd); /* Too late. */
    }
    return 0;
}

/* Give the last attempt its start: until it fails, or the time is over, or all is decided. */
static void give_start(struct race *race, uint64_t delay_ns)
{
    struct torc_scope start;

    torc_event_clear(&race->failed);
    torc_scope_open(&start, 0);
    torc_scope_set_timeout(&start, delay_ns);
    (void)!torc_event_wait(&race->failed);
    (void)torc_scope_close(&start);
}

/* The families take turns, beginning with that of the first address; order is kept in each. */
static void interleave(const struct torc_address *addresses, unsigned count,
                       struct attempt *attempts)
{
    const int family = addresses[0].any.sa_family;
    unsigned next[2] = {0, 0}; /* Of the first family, and of the others. */
    bool other = false;

    for (unsigned i = 0; i < count; i++) {
        for (int tries = 0; tries < 2; tries++, other = !other) {
            unsigned *at = &next[other];

            while (*at < count && (addresses[*at].any.sa_family != family) != other)
                ++*at;
            if (*at < count)
                break;
        }
        attempts[i].address = &addresses[next[other]++];
        other = !other;
    }
}

static void run_race(struct race *race, struct attempt *attempts, unsigned count, uint64_t delay_ns)
{
    torc_scope_open(&race->scope, TORC_SUPERVISE);
    for (unsigned i = 0; i < count && torc_cancelled() == 0; i++) {
        const int result = torc_scope_spawn(&race->scope, try_address, &attempts[i]);

        if (result < 0) {
            race->error = result;
            break;
        }
        if (i + 1 < count)
            give_start(race, delay_ns);
    }
    (void)torc_scope_close(&race->scope);
}

int torc_tcp_race(const struct torc_address *addresses, unsigned count,
                  const struct torc_connect_name_options *options)
{
    static const struct torc_connect_name_options defaults;
    struct race race = {.fd = -1};
    struct attempt attempts[ATTEMPTS_MAX];
    int reason = torc_cancelled();

    if (reason != 0)
        return reason;
    if (count == 0 || count > ATTEMPTS_MAX)
        return -EINVAL;
    if (options == NULL)
        options = &defaults;
    race.options = &options->socket;
    for (unsigned i = 0; i < count; i++)
        attempts[i].race = &race;
    interleave(addresses, count, attempts);
    run_race(&race, attempts, count,
             options->attempt_delay_ns != 0 ? options->attempt_delay_ns : ATTEMPT_DELAY_NS);
    if (race.fd >= 0)
        return race.fd;
    reason = torc_cancelled();
    return reason != 0 ? reason : race.error;
}

int torc_tcp_connect_name(const char *host, uint16_t port,
                          const struct torc_connect_name_options *options)
{
    struct torc_address addresses[NAMES_ADDRESSES_MAX];
    const int count =
        torc_lookup(options != NULL ? options->resolver : NULL, host, port,
                    options != NULL ? options->family : 0, addresses, ARRAY_LENGTH(addresses));

    return count < 0 ? count : torc_tcp_race(addresses, (unsigned)count, options);
}
