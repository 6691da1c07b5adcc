/* SPDX-License-Identifier: MIT */
/*
 * echo.h - the parts of the echo server: what was asked for, what it counts, what it says.
 */
#ifndef TORC_TOOL_ECHO_H
#define TORC_TOOL_ECHO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <torc/torc.h>

/* What the command line says. */
struct echo_options {
    struct torc_address listen;
    struct torc_options runtime;
    uint64_t buffer_size;
    uint64_t duration_ns; /* 0: until a signal comes */
    bool by_stream;
    bool stats;
    bool live;
    bool json;
};

/* What one shard has done. On cache lines of its own, since every message counts something here. */
struct echo_shard {
    _Alignas(128) _Atomic uint64_t connections; /* accepted */
    _Atomic uint64_t open;                      /* of these, those still there */
    _Atomic uint64_t messages;                  /* answered: what one receive brings is one */
    _Atomic uint64_t bytes;                     /* of the answers */
    _Atomic uint64_t resets;                    /* connections that the peer broke off */
    _Atomic uint64_t errors;                    /* connections that ended for another reason */
    _Atomic uint64_t accept_failures;           /* mostly that no descriptor was free */
    struct echo *echo;
    uint64_t complaint_ns;   /* when it last complained; 0: never */
    struct torc_stats stats; /* as the shard ended */
    uint64_t end_ns;
};

struct echo {
    const struct echo_options *options;
    struct echo_shard *shards;
    unsigned shard_count;
    struct torc_server server;
    _Atomic bool listens;    /* all shards have been ready */
    _Atomic bool complained; /* has said why it cannot listen */
    uint64_t begin_ns;       /* when the last shard was ready */
};

/* Say on standard output where the server listens. */
void echo_report_address(const struct echo *echo, const struct torc_address *address);

/* The body of a fiber, of a struct echo: a line on standard error that changes every second. */
int echo_live(void *arg);

/* Say at the end what was done. */
void echo_report(const struct echo *echo);

#endif
