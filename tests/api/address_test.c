/* SPDX-License-Identifier: MIT */
/*
 * address_test.c - addresses as texts, and the texts of errors.
 */
#include "harness/harness.h"
#include <arpa/inet.h>
#include <string.h>
#include <torc/torc.h>

static void expect_text(const char *text, const char *expected)
{
    struct torc_address address;
    struct torc_address again;
    char found[TORC_ADDRESS_TEXT_SIZE];

    memset(&address, 0xee, sizeof(address)); /* Parsing leaves nothing of it. */
    EXPECT_MSG(torc_address_parse(text, &address) == 0, "\"%s\"", text);
    EXPECT(torc_address_format(&address, found, sizeof(found)) == found);
    EXPECT_STR(found, expected);
    EXPECT_MSG(torc_address_parse(found, &again) == 0, "\"%s\"", found);
    EXPECT(torc_address_equal(&address, &again));
    EXPECT(torc_address_equal(&again, &address));
}

static void expect_invalid(const char *text)
{
    struct torc_address address = {.length = 77};

    EXPECT_MSG(torc_address_parse(text, &address) == -EINVAL, "\"%s\"", text);
    EXPECT_INT(address.length, ==, 77);
}

TEST(an_address_is_written_as_it_is_read)
{
    expect_text("127.0.0.1:80", "127.0.0.1:80");
    expect_text("255.255.255.255:65535", "255.255.255.255:65535");
    expect_text("0.0.0.0:0", "0.0.0.0:0");
    expect_text("[::1]:80", "[::1]:80");
    expect_text("[0:0:0:0:0:0:0:1]:80", "[::1]:80");
    expect_text("[2001:DB8::A]:443", "[2001:db8::a]:443");
    expect_text("[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.4]:5");
    expect_text("[fe80::1%lo]:9", "[fe80::1%1]:9"); /* The number needs no look-up. */
    expect_text("[fe80::1%1]:9", "[fe80::1%1]:9");
    expect_text("localhost:80", "127.0.0.1:80");
    expect_text("*:80", "[::]:80");
    expect_text(":80", "[::]:80");
    expect_text("/run/a path/socket", "/run/a path/socket");
    expect_text("@abstract", "@abstract");
}

TEST(a_text_that_is_no_address_is_invalid)
{
    static const char *const texts[] = {
        "",
        "80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "1.2.3:80",
        "1.2.3.4.5:1",
        "256.1.1.1:80",
        "127.0.0.1:80x",
        "127.0.0.1: 80",
        " 1.2.3.4:5",
        "1.2.3.4:-1",
        "1.2.3.4:+1",
        "[::1]",
        "[::1:80",
        "::1:80",
        "[::1]80",
        "[::1]:",
        "[1.2.3.4]:80",
        "[:::1]:80",
        "[]:80",
        "host:80",
        "example.com:80",
        "localhost:",
        "localhost",
        "*",
        ":",
        "127.0.0.1:1:2",
        "1.2.3.4:00000000080",
        "[fe80::1%]:9",
        "@",
        "[::1%nosuchinterface]:1",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_invalid(texts[i]);
}

TEST(the_path_of_a_unix_address_may_have_107_bytes)
{
    struct torc_address address;
    char path[200];
    char found[TORC_ADDRESS_TEXT_SIZE];

    memset(path, 'p', sizeof(path));
    path[0] = '/';
    path[107] = '\0';
    EXPECT_INT(torc_address_parse(path, &address), ==, 0);
    EXPECT_INT(address.local.sun_family, ==, AF_UNIX);
    EXPECT_STR(address.local.sun_path, path);
    EXPECT_STR(torc_address_format(&address, found, sizeof(found)), path);
    path[107] = 'p';
    path[109] = '\0';
    expect_invalid(path);
    path[0] = '@';
    expect_invalid(path);
}

TEST(an_abstract_address_begins_with_a_zero_and_has_an_exact_length)
{
    struct torc_address address;

    EXPECT_INT(torc_address_parse("@name", &address), ==, 0);
    EXPECT_INT(address.local.sun_family, ==, AF_UNIX);
    EXPECT_MEM(address.local.sun_path, "\0name", 5);
    EXPECT_UINT(address.length, ==, offsetof(struct sockaddr_un, sun_path) + 5);
}

TEST(a_parsed_address_is_ready_for_bind)
{
    struct torc_address address;

    EXPECT_INT(torc_address_parse("127.0.0.1:8080", &address), ==, 0);
    EXPECT_INT(address.v4.sin_family, ==, AF_INET);
    EXPECT_INT(address.length, ==, sizeof(struct sockaddr_in));
    EXPECT_INT(ntohs(address.v4.sin_port), ==, 8080);
    EXPECT_UINT(ntohl(address.v4.sin_addr.s_addr), ==, 0x7f000001);
    EXPECT_INT(torc_address_port(&address), ==, 8080);

    EXPECT_INT(torc_address_parse("[::1]:8080", &address), ==, 0);
    EXPECT_INT(address.v6.sin6_family, ==, AF_INET6);
    EXPECT_INT(address.length, ==, sizeof(struct sockaddr_in6));
    EXPECT_INT(address.v6.sin6_flowinfo, ==, 0);
    EXPECT_INT(address.v6.sin6_scope_id, ==, 0);
    EXPECT_INT(torc_address_port(&address), ==, 8080);

    EXPECT_INT(torc_address_parse("[fe80::1%lo]:1", &address), ==, 0);
    EXPECT_INT(address.v6.sin6_scope_id, ==, 1);

    EXPECT_INT(torc_address_parse("/path", &address), ==, 0);
    EXPECT_INT(torc_address_port(&address), ==, 0);
}

TEST(a_text_is_cut_to_its_room_and_never_beyond)
{
    struct torc_address address;
    char text[32];

    EXPECT_INT(torc_address_parse("127.0.0.1:8080", &address), ==, 0);
    for (size_t size = 1; size < 20; size++) {
        memset(text, '#', sizeof(text));
        torc_address_format(&address, text, size);
        EXPECT_UINT(strlen(text), ==, size - 1 < 14 ? size - 1 : 14);
        EXPECT_MEM(text, "127.0.0.1:8080", strlen(text));
        EXPECT(text[size] == '#');
    }
    memset(text, '#', sizeof(text));
    torc_address_format(&address, text, 0);
    EXPECT(text[0] == '#');
}

TEST(no_address_has_a_text_too)
{
    const struct torc_address none = {.length = 0};
    char text[TORC_ADDRESS_TEXT_SIZE] = "#";

    torc_address_format(&none, text, sizeof(text));
    EXPECT(memchr(text, '\0', sizeof(text)) != NULL);
    EXPECT_INT(torc_address_port(&none), ==, 0);
    EXPECT(torc_address_equal(&none, &none));
}

TEST(addresses_are_equal_when_family_host_and_port_are)
{
    static const char *const texts[] = {
        "127.0.0.1:1",    "127.0.0.1:2", "127.0.0.2:1", "[::1]:1", "[::1]:2", "[::2]:1",
        "[fe80::1%lo]:1", "[fe80::1]:1", "/a",          "/ab",     "@a",      "@ab",
    };
    const size_t count = sizeof(texts) / sizeof(texts[0]);

    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            struct torc_address a;
            struct torc_address b;

            EXPECT_INT(torc_address_parse(texts[i], &a), ==, 0);
            EXPECT_INT(torc_address_parse(texts[j], &b), ==, 0);
            memset(a.v4.sin_zero, 1, a.any.sa_family == AF_INET ? sizeof(a.v4.sin_zero) : 0);
            EXPECT_MSG(torc_address_equal(&a, &b) == (i == j), "%s and %s", texts[i], texts[j]);
        }
    }
}

static void expect_resolved(const char *host, const char *first, const char *second)
{
    struct torc_address found[4];
    char text[TORC_ADDRESS_TEXT_SIZE];
    const int count = torc_resolve(host, 80, found, 4);

    EXPECT_MSG(count == (second != NULL ? 2 : 1), "\"%s\": %d", host, count);
    EXPECT_STR(torc_address_format(&found[0], text, sizeof(text)), first);
    if (second != NULL)
        EXPECT_STR(torc_address_format(&found[1], text, sizeof(text)), second);
}

TEST(resolving_gives_literals_and_the_well_known_names)
{
    struct torc_address found[1];

    expect_resolved("127.0.0.1", "127.0.0.1:80", NULL);
    expect_resolved("::1", "[::1]:80", NULL);
    expect_resolved("localhost", "[::1]:80", "127.0.0.1:80");
    expect_resolved("*", "[::]:80", "0.0.0.0:80");
    expect_resolved("", "[::]:80", "0.0.0.0:80");
    EXPECT_INT(torc_resolve("localhost", 80, found, 1), ==, 1); /* No room for the other. */
    EXPECT_INT(torc_resolve("no-such-name", 80, found, 1), ==, -EINVAL);
    EXPECT_INT(torc_resolve("1.2.3", 80, found, 1), ==, -EINVAL);
    EXPECT_INT(torc_resolve("1.2.3.4 ", 80, found, 1), ==, -EINVAL);
}

TEST(a_name_of_any_length_does_no_harm)
{
    static char name[100000];
    struct torc_address found;

    memset(name, '1', sizeof(name) - 1);
    EXPECT_INT(torc_resolve(name, 80, &found, 1), ==, -EINVAL);
    expect_invalid(name);
    name[0] = '[';
    expect_invalid(name);
}

TEST(random_texts_are_parsed_or_refused_and_never_overrun)
{
    static const char letters[] = "0123456789abcdef:.[]%*@/ localhost";

    for (int i = 0; i < 100000; i++) {
        struct torc_address address;
        char text[40];
        char back[TORC_ADDRESS_TEXT_SIZE];
        const size_t length = harness_random_below(sizeof(text));

        for (size_t j = 0; j < length; j++)
            text[j] = letters[harness_random_below(sizeof(letters) - 1)];
        text[length] = '\0';
        if (torc_address_parse(text, &address) == 0) {
            struct torc_address again;

            torc_address_format(&address, back, sizeof(back));
            EXPECT_MSG(torc_address_parse(back, &again) == 0, "\"%s\" gave \"%s\"", text, back);
            EXPECT_MSG(torc_address_equal(&address, &again), "\"%s\" gave \"%s\"", text, back);
        }
    }
}

TEST(every_error_has_a_text)
{
    EXPECT_STR(torc_strerror(-ECONNRESET), "Connection reset by peer");
    EXPECT_STR(torc_strerror(-EINVAL), "Invalid argument");
    EXPECT_STR(torc_strerror(-99999), "unknown error");
    EXPECT_STR(torc_strerror(INT32_MIN), "unknown error");
    for (int i = -200; i <= 200; i++)
        EXPECT(torc_strerror(i) != NULL);
}
