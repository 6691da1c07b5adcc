/* SPDX-License-Identifier: MIT */
/*
 * remaining.c - what has not ended long after its shard was stopped, in the log.
 *
 * First the fibers, which have been told to end. When the last of them has ended there may still be
 * operations that no fiber waits for: of a stream, say, that was allocated and never closed. These
 * go on until somebody closes it, and nobody is left to do that.
 */
#include "base/opcode.h"
#include "base/symbol.h"
#include "shard/diagnose.h"
#include "shard/loan.h"
#include <inttypes.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <torc/datagram_feed.h>
#include <torc/listener.h>
#include <torc/stream.h>
#include <torc/zero_copy.h>
#include <unistd.h>

#define NAMED_MAX 16u

/* ---- What a descriptor is ---- */

/* An address of a socket, as text. Returns its family, or an error. */
static int read_address(const struct torc__shard *shard, enum torc__control_kind kind, int fd,
                        char *text, size_t size)
{
    struct torc_address address = {0};
    struct torc__control request = {
        .kind = kind, .fd = fd, .data = &address.storage, .length = sizeof(address.storage)};
    const int result = shard->driver->ops->control(shard->driver, &request);

    text[0] = '\0';
    if (result < 0)
        return result;
    address.length = request.length;
    if (address.length <= sizeof(sa_family_t))
        (void)snprintf(text, size, "unnamed");
    else
        (void)torc_address_format(&address, text, size);
    return address.any.sa_family;
}

/* SOCK_STREAM or the like; an error for what is no socket. */
static int socket_type(const struct torc__shard *shard, int fd)
{
    int value = 0;
    struct torc__control request = {.kind = CONTROL_GET_OPTION,
                                    .fd = fd,
                                    .a = SOL_SOCKET,
                                    .b = SO_TYPE,
                                    .data = &value,
                                    .length = sizeof(value)};
    const int result = shard->driver->ops->control(shard->driver, &request);

    return result < 0 ? result : value;
}

static const char *protocol_name(int family, int type)
{
    if (family == AF_UNIX)
        return type == SOCK_DGRAM ? "unix datagram" : "unix";
    if (family == AF_INET || family == AF_INET6)
        return type == SOCK_STREAM ? "tcp" : type == SOCK_DGRAM ? "udp" : "raw ip";
    return "socket";
}

static void read_link(int fd, char *text, size_t size)
{
    char path[32];
    ssize_t length;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    length = readlink(path, text, size - 1);
    text[length > 0 ? length : 0] = '\0';
}

/* What it is; "" if that is not to be had. */
static void read_kind(const struct torc__shard *shard, int fd, char *text, size_t size)
{
    const int type = socket_type(shard, fd);
    char local[128];
    char peer[128];
    int family;

    if (type < 0) {
        read_link(fd, text, size);
        return;
    }
    family = read_address(shard, CONTROL_LOCAL, fd, local, sizeof(local));
    (void)read_address(shard, CONTROL_PEER, fd, peer, sizeof(peer));
    (void)snprintf(text, size, "%s %s%s%s", protocol_name(family, type), local,
                   peer[0] != '\0' ? " <-> " : "", peer);
}

const char *torc__describe_fd(const struct torc__shard *shard, int fd, char *text, size_t size)
{
    char kind[320];

    read_kind(shard, fd, kind, sizeof(kind));
    (void)snprintf(text, size, "descriptor %d%s%s%s", fd, kind[0] != '\0' ? " (" : "", kind,
                   kind[0] != '\0' ? ")" : "");
    return text;
}

/* ---- Operations ---- */

/* What an op is a part of. */
static const void *owner_of(struct torc_op *op)
{
    switch ((enum torc__loan)op->_loan) {
    case LOAN_STREAM:
        return op->_opcode == IORING_OP_RECV ? container_of(op, struct torc_stream, _receive)
                                             : container_of(op, struct torc_stream, _send);
    case LOAN_LISTENER:
        return container_of(op, struct torc_listener, _accept);
    case LOAN_DATAGRAM_FEED:
        return container_of(op, struct torc_datagram_feed, _receive);
    case LOAN_ZERO_COPY:
        return container_of(op, struct torc_zero_copy, _op);
    case LOAN_FEED:
    case LOAN_COUNT:
        break;
    }
    return op;
}

static void describe_owner(struct torc_op *op, char *text, size_t size)
{
    static const char *const kinds[LOAN_COUNT] = {
        [LOAN_STREAM] = "stream",
        [LOAN_LISTENER] = "listener",
        [LOAN_DATAGRAM_FEED] = "datagram feed",
        [LOAN_ZERO_COPY] = "zero-copy send",
        [LOAN_FEED] = "feed",
    };
    const bool is_feed = op->_loan == LOAN_FEED;
    const void *place = op->_opener;
    char where[256];

    if (is_feed)
        memcpy(&place, &op->_feed, sizeof(place));
    torc__symbol_describe(place, !is_feed, where, sizeof(where));
    (void)snprintf(text, size, "%s at %p, %s %s", kinds[op->_loan], owner_of(op),
                   is_feed ? "told to" : "opened by", where);
}

static void name_operation(const struct torc__shard *shard, struct torc_op *op)
{
    char owner[320];
    char fd[288];

    describe_owner(op, owner, sizeof(owner));
    if (op->_fd < 0)
        torc__log("    %s, of the %s", torc__opcode_name(op->_opcode), owner);
    else
        torc__log("    %s on %s, of the %s", torc__opcode_name(op->_opcode),
                  torc__describe_fd(shard, op->_fd, fd, sizeof(fd)), owner);
}

static void name_operations(const struct torc__shard *shard)
{
    struct torc_op *const lists[] = {shard->told, shard->feeds};
    unsigned named = 0;

    torc__log("shard %u: all fibers have ended; operations in flight: %" PRIu64
              ", of what was not closed:",
              shard->index, torc__driver_in_flight(shard->driver));
    for (unsigned i = 0; i < ARRAY_LENGTH(lists); i++) {
        for (struct torc_op *op = lists[i]; op != NULL && named < NAMED_MAX; op = op->_next) {
            name_operation(shard, op);
            named++;
        }
    }
}

/* ---- Fibers ---- */

static void name_fibers(const struct torc__shard *shard)
{
    struct torc__printed printed = {0};
    unsigned named = 0;

    torc__log("shard %u: %u fibers have not ended since the shard was stopped", shard->index,
              shard->fibers.alive);
    for (struct torc__fiber_chunk *chunk = shard->fibers.chunks; chunk != NULL;
         chunk = chunk->next) {
        for (unsigned i = 0; i < FIBER_CHUNK && named < NAMED_MAX; i++) {
            struct torc_fiber *fiber = &chunk->fibers[i];

            if (fiber->state == FIBER_FREE)
                continue;
            named++;
            torc__print_fiber(shard, fiber, &printed);
        }
    }
}

void torc__name_remaining(struct torc_timer *timer)
{
    struct torc__shard *shard = container_of(timer, struct torc__shard, warn);

    if (shard->fibers.alive > 0)
        name_fibers(shard);
    else
        name_operations(shard);
}
