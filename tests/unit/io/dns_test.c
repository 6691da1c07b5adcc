/* SPDX-License-Identifier: MIT */
/*
 * dns_test.c - who asks, who is asked, and how often: with a back end that does as the test says.
 */
#include "harness/net.h"
#include "harness/run.h"
#include "io/dns.h"
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <torc/torc.h>

/* What the back end does, and has been asked. */
static struct {
    int calls;
    int closed;
    int open_result;
    int result;               /* an error, or how many addresses */
    uint64_t ttl_ns;          /* of the answer */
    struct torc_event answer; /* it waits for this */
} script;

static int fake_open(struct torc_resolver *resolver, const struct torc_resolver_options *options)
{
    (void)resolver;
    (void)options;
    return script.open_result;
}

static void fake_close(struct torc_resolver *resolver)
{
    (void)resolver;
    script.closed++;
}

static int fake_addresses(struct torc_resolver *resolver, const char *host,
                          struct torc__names_answer *ret_answer)
{
    static const char *const texts[] = {"[2001:db8::1]:0", "192.0.2.1:0", "192.0.2.2:0"};
    int result;

    (void)resolver;
    (void)host;
    script.calls++;
    result = torc_event_wait(&script.answer);
    if (result < 0 || script.result < 0)
        return result < 0 ? result : script.result;
    for (int i = 0; i < script.result && i < 3; i++)
        ret_answer->addresses[i] = harness_address(texts[i]);
    ret_answer->count = (unsigned)script.result;
    ret_answer->ttl_ns = script.ttl_ns;
    return script.result;
}

static int fake_places(struct torc_resolver *resolver, const char *name,
                       struct torc_service *ret_places, unsigned capacity)
{
    (void)resolver;
    (void)capacity;
    ret_places[0] = (struct torc_service){.port = (uint16_t)strlen(name)};
    return 1;
}

static const struct torc__names_backend fake = {
    .open = fake_open, .close = fake_close, .addresses = fake_addresses, .places = fake_places};

static struct torc_resolver *create(const struct torc_resolver_options *options)
{
    struct torc_resolver *resolver;

    memset(&script, 0, sizeof(script));
    script.result = 3;
    script.ttl_ns = UINT64_MAX;
    EXPECT_INT(torc__resolver_create(options, &fake, &resolver), ==, 0);
    return resolver;
}

static void destroy(struct torc_resolver *resolver)
{
    torc_resolver_destroy(resolver);
    EXPECT_INT(script.closed, ==, 1);
}

struct asker {
    struct torc_resolver *resolver;
    const char *host;
    int result;
    bool done;
};

static int ask(void *arg)
{
    struct asker *asker = arg;
    struct torc_address addresses[8];

    asker->result = torc_lookup(asker->resolver, asker->host, 80, 0, addresses, 8);
    asker->done = true;
    return 0;
}

static int look_up(struct torc_resolver *resolver, const char *host)
{
    struct asker asker = {.resolver = resolver, .host = host};

    EXPECT_INT(ask(&asker), ==, 0);
    return asker.result;
}

static const struct torc_resolver_options plain;

/* ---- Answers ---- */

FIBER_TEST(addresses_come_in_order_with_the_port_and_of_the_family)
{
    struct torc_resolver *resolver = create(&plain);
    struct torc_address found[3];
    const struct torc_address second = harness_address("192.0.2.2:443");
    const struct torc_address sixth = harness_address("[2001:db8::1]:443");

    torc_event_set(&script.answer);
    EXPECT_INT(torc_lookup(resolver, "a.test", 443, 0, found, 3), ==, 3);
    EXPECT(torc_address_equal(&found[0], &sixth));
    EXPECT(torc_address_equal(&found[2], &second));
    EXPECT_INT(torc_lookup(resolver, "a.test", 443, AF_INET, found, 3), ==, 2);
    EXPECT(torc_address_equal(&found[1], &second));
    EXPECT_INT(torc_lookup(resolver, "a.test", 443, AF_INET6, found, 3), ==, 1);
    EXPECT(torc_address_equal(&found[0], &sixth));
    EXPECT_INT(torc_lookup(resolver, "a.test", 443, 0, found, 2), ==, 2);
    EXPECT_INT(script.calls, ==, 1); /* All of this from one answer. */
    EXPECT_INT(torc_lookup(resolver, "a.test", 443, AF_UNIX, found, 2), ==, -EINVAL);
    EXPECT_INT(torc_lookup(resolver, "a.test", 443, 0, found, 0), ==, -EINVAL);

    script.result = 1; /* One of IPv6. */
    EXPECT_INT(torc_lookup(resolver, "six.test", 1, AF_INET, found, 3), ==, -ENXIO);
    destroy(resolver);
}

FIBER_TEST(answers_are_remembered_as_long_as_they_are_good)
{
    struct torc_resolver *resolver = create(&plain);

    torc_event_set(&script.answer);
    EXPECT_INT(look_up(resolver, "a.test"), ==, 3);
    EXPECT_INT(look_up(resolver, "A.TEST"), ==, 3);
    EXPECT_INT(script.calls, ==, 1);
    torc_resolver_flush(resolver);
    EXPECT_INT(look_up(resolver, "a.test"), ==, 3);
    EXPECT_INT(script.calls, ==, 2);

    script.ttl_ns = 0; /* DNS says that it may change at any time. */
    EXPECT_INT(look_up(resolver, "b.test"), ==, 3);
    EXPECT_INT(look_up(resolver, "b.test"), ==, 3);
    EXPECT_INT(script.calls, ==, 4);
    destroy(resolver);
}

FIBER_TEST(that_there_is_no_such_name_is_remembered_and_other_failures_are_not)
{
    struct torc_resolver *resolver =
        create(&(struct torc_resolver_options){.negative_ttl_ns = 3600 * TORC_SECOND});

    torc_event_set(&script.answer);
    script.result = -ENXIO;
    EXPECT_INT(look_up(resolver, "none.test"), ==, -ENXIO);
    EXPECT_INT(look_up(resolver, "none.test"), ==, -ENXIO);
    EXPECT_INT(script.calls, ==, 1);
    script.result = -EAGAIN;
    EXPECT_INT(look_up(resolver, "later.test"), ==, -EAGAIN);
    script.result = 2;
    EXPECT_INT(look_up(resolver, "later.test"), ==, 2);
    EXPECT_INT(script.calls, ==, 3);
    destroy(resolver);
}

FIBER_TEST(nothing_is_remembered_if_so_told)
{
    struct torc_resolver *resolver =
        create(&(struct torc_resolver_options){.ttl_ns = 1, .negative_ttl_ns = 1});

    torc_event_set(&script.answer);
    EXPECT_INT(look_up(resolver, "a.test"), ==, 3);
    EXPECT_INT(look_up(resolver, "a.test"), ==, 3);
    script.result = -ENXIO;
    EXPECT_INT(look_up(resolver, "a.test"), ==, -ENXIO);
    EXPECT_INT(look_up(resolver, "a.test"), ==, -ENXIO);
    EXPECT_INT(script.calls, ==, 4);
    destroy(resolver);
}

/* ---- Many who ask ---- */

FIBER_TEST(those_who_ask_at_the_same_time_share_one_lookup)
{
    enum {
        COUNT = 20
    };
    struct torc_resolver *resolver = create(&plain);
    struct asker askers[COUNT];
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (int i = 0; i < COUNT; i++) {
        askers[i] = (struct asker){.resolver = resolver, .host = i % 2 ? "a.test" : "A.test"};
        harness_spawn(&scope, ask, &askers[i]);
    }
    harness_yield(3);
    EXPECT_INT(script.calls, ==, 1);
    torc_event_set(&script.answer);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (int i = 0; i < COUNT; i++)
        EXPECT_INT(askers[i].result, ==, 3);
    EXPECT_INT(script.calls, ==, 1);
    destroy(resolver);
}

FIBER_TEST(the_lookup_goes_on_without_those_who_were_interrupted)
{
    struct torc_resolver *resolver = create(&plain);
    struct asker impatient = {.resolver = resolver, .host = "a.test"};
    struct asker patient = impatient;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, ask, &impatient);
    harness_spawn(NULL, ask, &patient);
    harness_yield(3);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(impatient.result, ==, -ECANCELED);
    EXPECT(!patient.done);
    torc_event_set(&script.answer);
    harness_yield_until(&patient.done);
    EXPECT_INT(patient.result, ==, 3);
    EXPECT_INT(look_up(resolver, "a.test"), ==, 3);
    EXPECT_INT(script.calls, ==, 1);
    destroy(resolver);
}

FIBER_TEST(a_deadline_ends_the_wait_and_the_answer_is_there_later)
{
    struct torc_resolver *resolver = create(&plain);
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(look_up(resolver, "slow.test"), ==, -ETIME);
    EXPECT_INT(look_up(resolver, "127.0.0.1"), ==, -ETIME); /* Refused like any other wait. */
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_INT(harness_fibers(), ==, 2);
    torc_event_set(&script.answer);
    harness_yield_until_alone();
    EXPECT_INT(look_up(resolver, "slow.test"), ==, 3);
    EXPECT_INT(script.calls, ==, 1);
    destroy(resolver);
}

FIBER_TEST(lookups_in_flight_are_limited)
{
    struct torc_resolver *resolver = create(&(struct torc_resolver_options){.lookups_max = 2});
    struct asker askers[3] = {{.resolver = resolver, .host = "a.test"},
                              {.resolver = resolver, .host = "b.test"},
                              {.resolver = resolver, .host = "a.test"}};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (int i = 0; i < 3; i++)
        harness_spawn(&scope, ask, &askers[i]);
    harness_yield(3);
    EXPECT_INT(look_up(resolver, "c.test"), ==, -EBUSY);
    torc_event_set(&script.answer);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(askers[2].result, ==, 3);
    EXPECT_INT(look_up(resolver, "c.test"), ==, 3);
    destroy(resolver);
}

FIBER_TEST(a_resolver_may_go_before_its_lookups)
{
    struct torc_resolver *resolver = create(&plain);
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(look_up(resolver, "slow.test"), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    torc_resolver_destroy(resolver);
    EXPECT_INT(script.closed, ==, 0);
    torc_event_set(&script.answer);
    harness_yield_until_alone();
    EXPECT_INT(script.closed, ==, 1);
    torc_resolver_destroy(NULL);
}

/* Leaves a lookup behind, for the end of the shard to end. */
static int leave_a_lookup(void *arg)
{
    struct torc_resolver *resolver = create(&plain);
    struct torc_scope scope;

    (void)arg;
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(look_up(resolver, "slow.test"), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    torc_resolver_destroy(resolver);
    return 0;
}

TEST(the_end_of_the_shard_ends_a_lookup)
{
    EXPECT_INT(harness_run_result(NULL, leave_a_lookup, NULL), ==, 0);
    EXPECT_INT(script.closed, ==, 1);
}

/* ---- Resolvers ---- */

FIBER_TEST(a_resolver_that_cannot_be_made_leaves_nothing)
{
    struct torc_resolver *resolver;

    memset(&script, 0, sizeof(script));
    script.open_result = -EINVAL;
    EXPECT_INT(torc__resolver_create(&plain, &fake, &resolver), ==, -EINVAL);
    script.open_result = 0;
    EXPECT_INT(torc__resolver_create(&(struct torc_resolver_options){.cache_entries = 1 << 21},
                                     &fake, &resolver),
               ==, -EINVAL);
    EXPECT_INT(script.closed, ==, 0);
}

FIBER_TEST(places_are_the_back_ends_matter)
{
    struct torc_resolver *resolver = create(&plain);
    struct torc_service place;

    EXPECT_INT(torc_lookup_places(resolver, "_a._tcp.test", &place, 1), ==, 1);
    EXPECT_INT(place.port, ==, 12);
    EXPECT_INT(torc_lookup_places(resolver, "_a..test", &place, 1), ==, -EINVAL);
    EXPECT_INT(torc_lookup_places(resolver, "_a._tcp.test", &place, 0), ==, -EINVAL);
    destroy(resolver);
}

/* ---- Names and errors ---- */

TEST(names_have_labels_of_1_to_63_bytes_and_253_in_all)
{
    char name[5001];

    EXPECT_INT(torc__names_check("a"), ==, 0);
    EXPECT_INT(torc__names_check("a.b-c.example."), ==, 0);
    EXPECT_INT(torc__names_check("_http._tcp.example"), ==, 0);
    EXPECT_INT(torc__names_check("b\303\274cher.example"), ==, 0);
    EXPECT_INT(torc__names_check(""), ==, -EINVAL);
    EXPECT_INT(torc__names_check("."), ==, -EINVAL);
    EXPECT_INT(torc__names_check("a..b"), ==, -EINVAL);
    EXPECT_INT(torc__names_check(".a"), ==, -EINVAL);
    EXPECT_INT(torc__names_check("a.."), ==, -EINVAL);
    EXPECT_INT(torc__names_check("a b"), ==, -EINVAL);
    EXPECT_INT(torc__names_check("a\n"), ==, -EINVAL);

    memset(name, 'x', sizeof(name));
    name[63] = '\0';
    EXPECT_INT(torc__names_check(name), ==, 0);
    name[63] = 'x';
    name[64] = '\0';
    EXPECT_INT(torc__names_check(name), ==, -ENAMETOOLONG);
    name[64] = 'x';
    name[5000] = '\0';
    EXPECT_INT(torc__names_check(name), ==, -ENAMETOOLONG);
    for (size_t i = 50; i < 5000; i += 51)
        name[i] = '.';
    EXPECT_INT(torc__names_check(name), ==, -ENAMETOOLONG);
    name[253] = '\0';
    EXPECT_INT(torc__names_check(name), ==, 0);
    name[253] = '.';
    name[254] = '\0';
    EXPECT_INT(torc__names_check(name), ==, 0);
    name[253] = 'x';
    EXPECT_INT(torc__names_check(name), ==, -ENAMETOOLONG);
}

TEST(errors_of_getaddrinfo_become_ours)
{
    EXPECT_INT(torc__names_error(0, EIO), ==, 0);
    EXPECT_INT(torc__names_error(EAI_NONAME, 0), ==, -ENXIO);
    EXPECT_INT(torc__names_error(EAI_NODATA, 0), ==, -ENXIO);
    EXPECT_INT(torc__names_error(EAI_SERVICE, 0), ==, -ENXIO);
    EXPECT_INT(torc__names_error(EAI_AGAIN, 0), ==, -EAGAIN);
    EXPECT_INT(torc__names_error(EAI_FAIL, 0), ==, -EREMOTEIO);
    EXPECT_INT(torc__names_error(EAI_FAMILY, 0), ==, -EAFNOSUPPORT);
    EXPECT_INT(torc__names_error(EAI_MEMORY, 0), ==, -ENOMEM);
    EXPECT_INT(torc__names_error(EAI_OVERFLOW, 0), ==, -ENOBUFS);
    EXPECT_INT(torc__names_error(EAI_SYSTEM, EMFILE), ==, -EMFILE);
    EXPECT_INT(torc__names_error(EAI_SYSTEM, 0), ==, -EREMOTEIO);
    EXPECT_INT(torc__names_error(4711, 0), ==, -EREMOTEIO);
}
