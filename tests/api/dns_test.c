/* SPDX-License-Identifier: MIT */
/*
 * dns_test.c - names, as far as a machine without a network knows them.
 *
 * "127.1" and "0x7f.2" are no addresses as torc reads them, but the system does without asking
 * anybody: so they go all the way.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

static uint64_t pool_runs(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.blocking_runs;
}

/* How many lookups have begun: each is a fiber. */
static unsigned lookups(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return (unsigned)stats.spawns - 1; /* This test's own. */
}

static int look_up(const char *host)
{
    struct torc_address addresses[4];

    return torc_lookup(NULL, host, 80, 0, addresses, 4);
}

static void expect_address(const char *host, int family, const char *expected)
{
    const struct torc_address wanted = harness_address(expected);
    struct torc_address found;
    char text[TORC_ADDRESS_TEXT_SIZE];

    EXPECT_INT(torc_lookup(NULL, host, 80, family, &found, 1), ==, 1);
    EXPECT_MSG(torc_address_equal(&found, &wanted), "%s: %s is not %s", host,
               torc_address_format(&found, text, sizeof(text)), expected);
}

FIBER_TEST(addresses_and_localhost_are_never_looked_up)
{
    struct torc_address found[4];

    expect_address("192.0.2.7", 0, "192.0.2.7:80");
    expect_address("192.0.2.7", AF_INET, "192.0.2.7:80");
    expect_address("2001:db8::7", 0, "[2001:db8::7]:80");
    expect_address("localhost", AF_INET, "127.0.0.1:80");
    expect_address("LocalHost.", AF_INET6, "[::1]:80");
    expect_address("some.thing.localhost", 0, "[::1]:80");
    EXPECT_INT(torc_lookup(NULL, "localhost", 1, 0, found, 4), ==, 2);
    EXPECT_INT(torc_lookup(NULL, "192.0.2.7", 80, AF_INET6, found, 4), ==, -ENXIO);
    EXPECT_UINT(pool_runs(), ==, 0);
}

FIBER_TEST(names_that_cannot_be_are_refused_at_once)
{
    static char name[5001];

    memset(name, 'x', sizeof(name) - 1);
    EXPECT_INT(look_up(name), ==, -ENAMETOOLONG);
    EXPECT_INT(look_up(""), ==, -EINVAL);
    EXPECT_INT(look_up("*"), ==, -EINVAL);
    EXPECT_INT(look_up("a..b"), ==, -EINVAL);
    EXPECT_INT(look_up("not a name"), ==, -EINVAL);
    EXPECT_INT(torc_tcp_connect_name("a..b", 80, NULL), ==, -EINVAL);
    EXPECT_INT(torc_tcp_connect_name(name, 80, NULL), ==, -ENAMETOOLONG);
    EXPECT_UINT(pool_runs(), ==, 0);
}

FIBER_TEST_WITH_THREADS(the_system_is_asked_once_on_the_pool)
{
    torc_resolver_flush(NULL); /* There is none yet. */
    expect_address("127.1", 0, "127.0.0.1:80");
    EXPECT_UINT(lookups(), ==, 1);
    expect_address("127.1", AF_INET, "127.0.0.1:80");
    EXPECT_UINT(lookups(), ==, 1);
    expect_address("0x7f.2", 0, "127.0.0.2:80");
    EXPECT_UINT(lookups(), ==, 2);
    torc_resolver_flush(NULL);
    expect_address("127.1", 0, "127.0.0.1:80");
    EXPECT_UINT(lookups(), ==, 3);
}

FIBER_TEST_WITH_THREADS(a_resolver_of_ones_own_remembers_for_itself)
{
    struct torc_resolver *resolver;
    struct torc_address found;
    struct torc_service place;

    EXPECT_INT(torc_resolver_create(NULL, &resolver), ==, 0);
    EXPECT_INT(torc_lookup(resolver, "127.1", 80, 0, &found, 1), ==, 1);
    EXPECT_INT(torc_lookup(NULL, "127.1", 80, 0, &found, 1), ==, 1);
    EXPECT_UINT(lookups(), ==, 2);
    EXPECT_INT(torc_lookup(resolver, "127.1", 80, 0, &found, 1), ==, 1);
    EXPECT_UINT(lookups(), ==, 2);
    EXPECT_INT(torc_lookup_places(resolver, "_a._tcp.test", &place, 1), ==, -EOPNOTSUPP);
    torc_resolver_destroy(resolver);
}

static int look_up_on_shard(void *arg)
{
    (void)arg;
    EXPECT_INT(look_up("127.1"), ==, 1);
    EXPECT_INT(look_up("127.1"), ==, 1);
    return 0;
}

TEST(every_shard_has_a_resolver_of_its_own)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    harness_run_with(&options, look_up_on_shard, NULL);
}

FIBER_TEST(options_out_of_their_range_are_refused)
{
    struct torc_resolver *resolver;

    EXPECT_INT(
        torc_resolver_create(&(struct torc_resolver_options){.cache_entries = 1 << 21}, &resolver),
        ==, -EINVAL);
    EXPECT_INT(torc_resolver_create(
                   &(struct torc_resolver_options){.kind = (enum torc_resolver_kind)7}, &resolver),
               ==, -EINVAL);
}

/* ---- Services ---- */

FIBER_TEST(the_number_of_a_port_is_not_looked_up)
{
    EXPECT_INT(torc_lookup_service("443", "tcp"), ==, 443);
    EXPECT_INT(torc_lookup_service("0", "udp"), ==, 0);
    EXPECT_INT(torc_lookup_service("65535", "tcp"), ==, 65535);
    EXPECT_INT(torc_lookup_service("65536", "tcp"), ==, -EINVAL);
    EXPECT_INT(torc_lookup_service("99999999999999999999", "tcp"), ==, -EINVAL);
    EXPECT_INT(torc_lookup_service("", "tcp"), ==, -EINVAL);
    EXPECT_INT(torc_lookup_service("http", "sctp"), ==, -EINVAL);
    EXPECT_UINT(pool_runs(), ==, 0);
}

FIBER_TEST_WITH_THREADS(services_have_names)
{
    static char name[5001];

    EXPECT_INT(torc_lookup_service("no-such-service", "tcp"), ==, -ENXIO);
    EXPECT_INT(torc_lookup_service("80x", "tcp"), ==, -ENXIO);
    if (getservbyname("http", "tcp") != NULL) /* Not every machine has a list. */
        EXPECT_INT(torc_lookup_service("http", "tcp"), ==, 80);
    if (getservbyname("domain", "udp") != NULL)
        EXPECT_INT(torc_lookup_service("domain", "udp"), ==, 53);
    memset(name, 'x', sizeof(name) - 1);
    EXPECT_INT(torc_lookup_service(name, "tcp"), ==, -ENAMETOOLONG);
}

/* ---- Names of addresses ---- */

/* Whether /etc/hosts has a name for 127.0.0.1, and is asked first: then that name. */
static bool read_hosts(char *ret_name, size_t size)
{
    FILE *file = fopen("/etc/nsswitch.conf", "re");
    bool files_first = file == NULL;
    bool found = false;
    char line[512];
    char name[256];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        files_first =
            files_first || (sscanf(line, "hosts: %255s", name) == 1 && strcmp(name, "files") == 0);
    }
    if (file != NULL)
        fclose(file);
    file = fopen("/etc/hosts", "re");
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
        found = sscanf(line, "127.0.0.1 %255s", name) == 1;
    if (file != NULL)
        fclose(file);
    if (found)
        snprintf(ret_name, size, "%s", name);
    return found && files_first;
}

FIBER_TEST_WITH_THREADS(the_name_of_an_address_is_found)
{
    const struct torc_address loopback = harness_address("127.0.0.1:0");
    const struct torc_address local = harness_address("/a/path");
    const struct torc_address none = {0};
    char name[TORC_HOST_NAME_SIZE] = "untouched";
    char expected[TORC_HOST_NAME_SIZE];

    EXPECT_INT(torc_lookup_name(&local, name, sizeof(name)), ==, -EAFNOSUPPORT);
    EXPECT_INT(torc_lookup_name(&none, name, sizeof(name)), ==, -EAFNOSUPPORT);
    EXPECT_STR(name, "untouched");
    if (!read_hosts(expected, sizeof(expected)))
        return;
    EXPECT_INT(torc_lookup_name(&loopback, name, 2), ==, -ENOBUFS);
    EXPECT_STR(name, "untouched");
    EXPECT_INT(torc_lookup_name(&loopback, name, sizeof(name)), ==, 0);
    EXPECT_STR(name, expected);
}
