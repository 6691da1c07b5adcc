/* SPDX-License-Identifier: MIT */
/*
 * address.c - socket addresses and their texts.
 */
#include "base/compiler.h"
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc/net.h>

#define HOST_SIZE 256

static void set_v4(struct torc_address *address, struct in_addr host, uint16_t port)
{
    memset(address, 0, sizeof(*address));
    address->length = sizeof(address->v4);
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = htons(port);
    address->v4.sin_addr = host;
}

static void set_v6(struct torc_address *address, struct in6_addr host, uint32_t scope,
                   uint16_t port)
{
    memset(address, 0, sizeof(*address));
    address->length = sizeof(address->v6);
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_port = htons(port);
    address->v6.sin6_addr = host;
    address->v6.sin6_scope_id = scope;
}

/* "fe80::1%eth0" or "fe80::1%2" or without a zone. */
static int parse_v6(const char *text, uint16_t port, struct torc_address *ret_address)
{
    char host[HOST_SIZE];
    char *zone;
    struct in6_addr bits;
    uint32_t scope = 0;

    if (strlen(text) >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, strlen(text) + 1);
    zone = strchr(host, '%');
    if (zone != NULL) {
        *zone++ = '\0';
        scope = if_nametoindex(zone);
        if (scope == 0)
            scope = (uint32_t)strtoul(zone, NULL, 10);
        if (scope == 0)
            return -EINVAL;
    }
    if (inet_pton(AF_INET6, host, &bits) != 1)
        return -EINVAL;
    set_v6(ret_address, bits, scope, port);
    return 0;
}

static int parse_local(const char *text, struct torc_address *ret_address)
{
    size_t length = strlen(text);
    struct torc_address address = {0};

    if (length >= sizeof(address.local.sun_path))
        return -EINVAL;
    address.local.sun_family = AF_UNIX;
    memcpy(address.local.sun_path, text, length);
    address.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    if (text[0] == '@') {
        if (length == 1)
            return -EINVAL;
        address.local.sun_path[0] = '\0'; /* Abstract: the length counts, not a final NUL. */
        address.length--;
    }
    *ret_address = address;
    return 0;
}

static int parse_port(const char *text, uint16_t *ret_port)
{
    unsigned long port = 0;

    if (*text == '\0' || strlen(text) > 5)
        return -EINVAL;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        port = port * 10 + (unsigned long)(*text - '0');
    }
    if (port > UINT16_MAX)
        return -EINVAL;
    *ret_port = (uint16_t)port;
    return 0;
}

int torc_resolve(const char *host, uint16_t port, struct torc_address *ret_addresses,
                 unsigned capacity)
{
    struct torc_address found[2];
    struct in_addr bits;
    unsigned count = 1;

    if (*host == '\0' || strcmp(host, "*") == 0) {
        set_v6(&found[0], in6addr_any, 0, port);
        set_v4(&found[1], (struct in_addr){htonl(INADDR_ANY)}, port);
        count = 2;
    } else if (strcasecmp(host, "localhost") == 0) {
        set_v6(&found[0], in6addr_loopback, 0, port);
        set_v4(&found[1], (struct in_addr){htonl(INADDR_LOOPBACK)}, port);
        count = 2;
    } else if (inet_pton(AF_INET, host, &bits) == 1) {
        set_v4(&found[0], bits, port);
    } else if (parse_v6(host, port, &found[0]) < 0) {
        return -EINVAL;
    }
    if (count > capacity)
        count = capacity;
    memcpy(ret_addresses, found, count * sizeof(found[0]));
    return (int)count;
}

int torc_address_parse(const char *text, struct torc_address *ret_address)
{
    const char *colon = strrchr(text, ':');
    struct torc_address found[2];
    char host[HOST_SIZE];
    uint16_t port;
    size_t length;
    int count;

    if (text[0] == '/' || text[0] == '@')
        return parse_local(text, ret_address);
    if (colon == NULL || parse_port(colon + 1, &port) < 0)
        return -EINVAL;
    length = (size_t)(colon - text);
    if (length >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    if (host[0] == '[') {
        if (host[length - 1] != ']')
            return -EINVAL;
        host[length - 1] = '\0';
        return parse_v6(host + 1, port, ret_address);
    }
    if (strchr(host, ':') != NULL)
        return -EINVAL; /* An IPv6 address needs its brackets, or the port is anyone's guess. */
    count = torc_resolve(host, port, found, ARRAY_LENGTH(found));
    if (count < 0)
        return count;
    *ret_address = found[strcasecmp(host, "localhost") == 0 ? count - 1 : 0];
    return 0;
}

static void format_local(const struct torc_address *address, char *text, size_t size)
{
    size_t start = offsetof(struct sockaddr_un, sun_path);
    int length = address->length > start ? (int)(address->length - start) : 0;
    const char *path = address->local.sun_path;

    if (length == 0)
        (void)snprintf(text, size, "(unnamed)");
    else if (path[0] == '\0')
        (void)snprintf(text, size, "@%.*s", length - 1, path + 1);
    else
        (void)snprintf(text, size, "%.*s", length, path);
}

char *torc_address_format(const struct torc_address *address, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    char zone[16] = "";

    if (size == 0)
        return text;
    if (address->length == 0) {
        (void)snprintf(text, size, "(none)");
    } else if (address->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof(host));
        (void)snprintf(text, size, "%s:%u", host, ntohs(address->v4.sin_port));
    } else if (address->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof(host));
        if (address->v6.sin6_scope_id != 0)
            (void)snprintf(zone, sizeof(zone), "%%%u", address->v6.sin6_scope_id);
        (void)snprintf(text, size, "[%s%s]:%u", host, zone, ntohs(address->v6.sin6_port));
    } else if (address->any.sa_family == AF_UNIX) {
        format_local(address, text, size);
    } else {
        (void)snprintf(text, size, "(family %d)", address->any.sa_family);
    }
    return text;
}

uint16_t torc_address_port(const struct torc_address *address)
{
    if (address->length == 0)
        return 0;
    if (address->any.sa_family == AF_INET)
        return ntohs(address->v4.sin_port);
    return address->any.sa_family == AF_INET6 ? ntohs(address->v6.sin6_port) : 0;
}

bool torc_address_equal(const struct torc_address *a, const struct torc_address *b)
{
    if (a->length == 0 || b->length == 0)
        return a->length == b->length;
    if (a->any.sa_family != b->any.sa_family)
        return false;
    switch (a->any.sa_family) {
    case AF_INET:
        return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    case AF_INET6:
        return a->v6.sin6_port == b->v6.sin6_port && a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
               memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
    default:
        return a->length == b->length && memcmp(&a->any, &b->any, a->length) == 0;
    }
}
