/* SPDX-License-Identifier: MIT */
/*
 * dns_server_test.c - a resolver that asks DNS servers itself, and a small server for it to ask.
 *
 * All names of the server are in "test.", and what it answers is in the table below. Names have
 * their final dot, so that the search list of this machine does not matter.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <torc/torc.h>

#define TYPE_A    1
#define TYPE_AAAA 28
#define TYPE_SRV  33

#define NO_ERROR  0
#define FAILURE   2
#define NO_SUCH   3
#define REFUSED   5
#define NO_ANSWER 255

struct record {
    const char *name; /* with the length of each label in front of it, as it is sent */
    int type;
    int code;
    unsigned ttl_sec;
    const char *data;
    size_t size;
};

#define DATA(text) (text), sizeof(text) - 1

static const struct record records[] = {
    {"\3two\4test", TYPE_A, NO_ERROR, 300, DATA("\x7f\0\0\1")},
    {"\3two\4test", TYPE_A, NO_ERROR, 300, DATA("\x7f\0\0\2")},
    {"\3two\4test", TYPE_AAAA, NO_ERROR, 300, DATA("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1")},
    {"\7fleeing\4test", TYPE_A, NO_ERROR, 0, DATA("\x7f\0\0\3")},
    {"\4text\4test", TYPE_SRV, NO_ERROR, 1, DATA("")},
    {"\6broken\4test", TYPE_A, FAILURE, 0, DATA("")},
    {"\6broken\4test", TYPE_AAAA, FAILURE, 0, DATA("")},
    {"\7refused\4test", TYPE_A, REFUSED, 0, DATA("")},
    {"\7refused\4test", TYPE_AAAA, REFUSED, 0, DATA("")},
    {"\6silent\4test", TYPE_A, NO_ANSWER, 0, DATA("")},
    {"\6silent\4test", TYPE_AAAA, NO_ANSWER, 0, DATA("")},
    {"\6silent\4test", TYPE_SRV, NO_ANSWER, 0, DATA("")},
    {"\4_svc\4_tcp\4test", TYPE_SRV, NO_ERROR, 60, DATA("\0\24\0\0\x1f\x90\4last\4test")},
    {"\4_svc\4_tcp\4test", TYPE_SRV, NO_ERROR, 60, DATA("\0\12\0\7\x00\x50\5first\4test")},
    {"\5_none\4_tcp\4test", TYPE_SRV, NO_ERROR, 60, DATA("\0\0\0\0\0\0")},
};

struct server {
    int fd;
    struct torc_address address;
    struct torc_scope scope;
    unsigned questions;
    struct torc_resolver *resolver;
};

static size_t put_16(unsigned char *to, unsigned value)
{
    to[0] = (unsigned char)(value >> 8);
    to[1] = (unsigned char)value;
    return 2;
}

/* One record of an answer; its name is that of the question, at offset 12. */
static size_t put_record(unsigned char *to, const struct record *record)
{
    /* Each name ends with the empty label of the root, which the data's final NUL is. */
    const size_t size = record->size + (record->type == TYPE_SRV);
    size_t at = put_16(to, 0xc00c);

    at += put_16(to + at, (unsigned)record->type);
    at += put_16(to + at, 1);
    at += put_16(to + at, record->ttl_sec >> 16);
    at += put_16(to + at, record->ttl_sec & 0xffff);
    at += put_16(to + at, (unsigned)size);
    memcpy(to + at, record->data, size);
    return at + size;
}

/* Make the question in `packet` an answer. Returns its size; 0 for none. */
static size_t answer(unsigned char *packet, size_t size)
{
    const char *name = (const char *)packet + 12;
    const size_t name_size = strnlen(name, size - 12) + 1;
    const int type = packet[12 + name_size] << 8 | packet[13 + name_size];
    size_t at = 12 + name_size + 4;
    unsigned count = 0;
    int code = NO_SUCH;

    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        if (strcmp(records[i].name, name) != 0)
            continue;
        if (code == NO_SUCH)
            code = NO_ERROR; /* The name is there, if not with what was asked for. */
        if (records[i].type != type)
            continue;
        code = records[i].code;
        if (code == NO_ERROR && records[i].size > 0) {
            at += put_record(packet + at, &records[i]);
            count++;
        }
    }
    packet[2] |= 0x84; /* An answer, of authority. */
    packet[3] = (unsigned char)(0x80 | code);
    (void)put_16(packet + 6, count);
    (void)put_16(packet + 8, 0);
    (void)put_16(packet + 10, 0);
    return code == NO_ANSWER ? 0 : at;
}

static int serve(void *arg)
{
    struct server *server = arg;
    unsigned char packet[1024];

    for (;;) {
        struct torc_address peer;
        struct iovec part = {.iov_base = packet, .iov_len = 512};
        struct msghdr message = {.msg_name = &peer.storage,
                                 .msg_namelen = sizeof(peer.storage),
                                 .msg_iov = &part,
                                 .msg_iovlen = 1};
        const ssize_t size = torc_recvmsg(server->fd, &message, 0);

        if (size < 0)
            return (int)size;
        EXPECT_INT(size, >, 16);
        server->questions++;
        part.iov_len = answer(packet, (size_t)size);
        if (part.iov_len > 0)
            EXPECT_INT(torc_sendmsg(server->fd, &message, 0), >, 0);
    }
}

/* False if torc was built without c-ares. */
static bool start_server(struct server *server, uint64_t try_timeout_ns)
{
    struct torc_resolver_options options = {
        .kind = TORC_RESOLVER_DNS, .tries = 2, .try_timeout_ns = try_timeout_ns};
    char text[TORC_ADDRESS_TEXT_SIZE];

    *server = (struct server){.address = harness_address("127.0.0.1:0")};
    server->fd = torc_socket(AF_INET, SOCK_DGRAM, 0);
    EXPECT_INT(server->fd, >=, 0);
    EXPECT_INT(torc_bind(server->fd, &server->address), ==, 0);
    EXPECT_INT(torc_local_address(server->fd, &server->address), ==, 0);
    options.servers = torc_address_format(&server->address, text, sizeof(text));
    const int result = torc_resolver_create(&options, &server->resolver);
    if (result == -EOPNOTSUPP) {
        EXPECT_INT(torc_close(server->fd), ==, 0);
        return false;
    }
    EXPECT_INT(result, ==, 0);
    torc_scope_open(&server->scope, 0);
    harness_spawn(&server->scope, serve, server);
    return true;
}

static void stop_server(struct server *server)
{
    torc_scope_cancel(&server->scope);
    EXPECT_INT(torc_scope_close(&server->scope), ==, -ECANCELED);
    torc_resolver_destroy(server->resolver);
    harness_yield_until_alone();
    EXPECT_INT(torc_close(server->fd), ==, 0);
}

#define START_SERVER(server, try_timeout_ns)       \
    do {                                           \
        if (!start_server(server, try_timeout_ns)) \
            SKIP("torc was built without c-ares"); \
    } while (0)

static int look_up(struct server *server, const char *host)
{
    struct torc_address addresses[4];

    return torc_lookup(server->resolver, host, 80, 0, addresses, 4);
}

static bool is_among(const char *text, const struct torc_address *addresses, int count)
{
    const struct torc_address wanted = harness_address(text);
    bool found = false;

    for (int i = 0; i < count; i++)
        found = found || torc_address_equal(&addresses[i], &wanted);
    return found;
}

/* ---- Addresses ---- */

FIBER_TEST(addresses_of_both_families_come_from_the_server)
{
    struct server server;
    struct torc_address found[8];
    struct torc_stats stats;

    START_SERVER(&server, 0);
    EXPECT_INT(torc_lookup(server.resolver, "two.test.", 80, 0, found, 8), ==, 3);
    EXPECT(is_among("127.0.0.1:80", found, 3));
    EXPECT(is_among("127.0.0.2:80", found, 3));
    EXPECT(is_among("[::1]:80", found, 3));
    EXPECT_UINT(server.questions, ==, 2);
    EXPECT_INT(torc_lookup(server.resolver, "two.test.", 81, AF_INET6, found, 8), ==, 1);
    EXPECT_UINT(server.questions, ==, 2); /* It was remembered. */
    torc_stats(&stats);
    EXPECT_UINT(stats.blocking_runs, ==, 0); /* All of it on the shard. */
    stop_server(&server);
}

FIBER_TEST(the_time_that_the_server_gives_is_kept)
{
    struct server server;

    START_SERVER(&server, 0);
    EXPECT_INT(look_up(&server, "fleeing.test."), ==, 1);
    const unsigned questions = server.questions;
    EXPECT_INT(look_up(&server, "fleeing.test."), ==, 1);
    EXPECT_UINT(server.questions, ==, 2 * questions);
    stop_server(&server);
}

FIBER_TEST(what_the_server_says_becomes_an_error)
{
    struct server server;

    START_SERVER(&server, 0);
    EXPECT_INT(look_up(&server, "missing.test."), ==, -ENXIO);
    EXPECT_INT(look_up(&server, "text.test."), ==, -ENXIO); /* It has no address. */
    EXPECT_INT(look_up(&server, "broken.test."), ==, -EAGAIN);
    const int refused = look_up(&server, "refused.test."); /* As the release of c-ares sees it. */
    EXPECT_MSG(refused == -EREMOTEIO || refused == -EAGAIN, "%d", refused);
    stop_server(&server);
}

FIBER_TEST(a_server_that_does_not_answer_is_asked_again_and_then_given_up)
{
    struct server server;

    START_SERVER(&server, 10 * TORC_MILLISECOND);
    EXPECT_INT(look_up(&server, "silent.test."), ==, -EAGAIN);
    EXPECT_UINT(server.questions, >=, 4); /* Two of each kind. */
    stop_server(&server);
}

FIBER_TEST(no_server_at_all_is_told_soon)
{
    const struct torc_address dead = harness_dead_address();
    struct torc_resolver_options options = {
        .kind = TORC_RESOLVER_DNS, .tries = 1, .try_timeout_ns = 10 * TORC_MILLISECOND};
    char text[TORC_ADDRESS_TEXT_SIZE];
    struct torc_resolver *resolver;
    struct torc_address found;
    int result;

    options.servers = torc_address_format(&dead, text, sizeof(text));
    result = torc_resolver_create(&options, &resolver);
    if (result == -EOPNOTSUPP)
        SKIP("torc was built without c-ares");
    EXPECT_INT(result, ==, 0);
    EXPECT_INT(torc_lookup(resolver, "two.test.", 80, 0, &found, 1), ==, -EAGAIN);
    torc_resolver_destroy(resolver);
    options.servers = "not a server";
    EXPECT_INT(torc_resolver_create(&options, &resolver), ==, -EINVAL);
    options.servers = NULL;
    options.tries = 1000;
    EXPECT_INT(torc_resolver_create(&options, &resolver), ==, -EINVAL);
}

struct asker {
    struct server *server;
    const char *host;
    int result;
};

static int ask(void *arg)
{
    struct asker *asker = arg;

    asker->result = look_up(asker->server, asker->host);
    return 0;
}

FIBER_TEST(many_names_are_looked_up_at_once)
{
    enum {
        COUNT = 40
    };
    static char hosts[COUNT][32];
    struct asker askers[COUNT];
    struct server server;
    struct torc_scope scope;

    START_SERVER(&server, 0);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < COUNT; i++) {
        snprintf(hosts[i], sizeof(hosts[i]), i % 2 ? "no-%d.test." : "two.test.", i);
        askers[i] = (struct asker){.server = &server, .host = hosts[i]};
        harness_spawn(&scope, ask, &askers[i]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (int i = 0; i < COUNT; i++)
        EXPECT_INT(askers[i].result, ==, i % 2 ? -ENXIO : 3);
    stop_server(&server);
}

/* Leaves a lookup in flight, which the end of the shard ends. */
static int leave_a_lookup(void *arg)
{
    bool *skipped = arg;
    struct torc_address found;
    struct server server;
    struct torc_scope scope;

    *skipped = !start_server(&server, 3600 * TORC_SECOND);
    if (*skipped)
        return 0;
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_lookup(server.resolver, "silent.test.", 80, 0, &found, 1), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    torc_scope_cancel(&server.scope);
    EXPECT_INT(torc_scope_close(&server.scope), ==, -ECANCELED);
    torc_resolver_destroy(server.resolver);
    EXPECT_INT(torc_close(server.fd), ==, 0);
    return 0;
}

TEST(the_end_of_the_shard_ends_a_lookup)
{
    bool skipped;

    EXPECT_INT(harness_run_result(NULL, leave_a_lookup, &skipped), ==, 0);
    if (skipped)
        SKIP("torc was built without c-ares");
}

/* ---- Places ---- */

FIBER_TEST(the_places_of_a_service_come_in_the_order_to_try_them)
{
    struct torc_service places[4];
    struct server server;

    START_SERVER(&server, 0);
    EXPECT_INT(torc_lookup_places(server.resolver, "_svc._tcp.test.", places, 4), ==, 2);
    EXPECT_STR(places[0].host, "first.test");
    EXPECT_INT(places[0].priority, ==, 10);
    EXPECT_INT(places[0].weight, ==, 7);
    EXPECT_INT(places[0].port, ==, 80);
    EXPECT_STR(places[1].host, "last.test");
    EXPECT_INT(places[1].port, ==, 8080);
    EXPECT_INT(torc_lookup_places(server.resolver, "_svc._tcp.test.", places, 1), ==, 1);
    EXPECT_STR(places[0].host, "first.test");
    EXPECT_INT(torc_lookup_places(server.resolver, "_none._tcp.test.", places, 4), ==, -ENXIO);
    EXPECT_INT(torc_lookup_places(server.resolver, "_nix._tcp.test.", places, 4), ==, -ENXIO);
    EXPECT_INT(torc_lookup_places(server.resolver, "two.test.", places, 4), ==, -ENXIO);
    stop_server(&server);
}

FIBER_TEST(a_deadline_ends_the_wait_for_places)
{
    struct torc_service places[4];
    struct torc_scope scope;
    struct server server;

    START_SERVER(&server, 3600 * TORC_SECOND);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_lookup_places(server.resolver, "silent.test.", places, 4), ==, -ETIME);
    EXPECT_INT(torc_lookup_places(server.resolver, "_svc._tcp.test.", places, 4), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    stop_server(&server);
}
