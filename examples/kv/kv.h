/* SPDX-License-Identifier: MIT */
/*
 * kv.h - a key-value server that speaks the Redis protocol, with a part of the keys on each shard.
 *
 *     connection.c   a fiber for each connection: input, requests, output
 *     parser.c       requests, found where they were received
 *     command.c      the table of commands
 *     route.c        requests to the shards that own their keys, and the answers in order
 *     strings.c      commands on keys: what they do on the shard that owns them
 *     expiry.c       those about the life of keys
 *     control.c      commands about the connection and the server
 *     pubsub.c       channels
 *     store.c        the keys of a shard, above dict.c, the table
 *     reply.c        answers
 *     main.c         options, listeners, the end
 *
 * A key belongs to one shard, by its slot as in a Redis Cluster. All that is done to it happens
 * there, by one thread: no locks. What is done to a key never suspends, so that it is atomic, and
 * can be done by the shard's loop for a connection of another shard.
 */
#ifndef KV_KV_H
#define KV_KV_H

#include "dict.h"
#include "parser.h"
#include "reply.h"
#include <torc/torc.h>

/* The version of Redis whose commands these are, which some clients want to know. */
#define KV_REDIS_VERSION "7.0.15"

struct options {
    struct torc_address listen;
    struct torc_options runtime;
    struct parser_limits limits;
    size_t key_max;
    unsigned clients_max;
};

/* ---- Shards ---- */

struct store {
    struct dict keys;
    size_t mortal_count; /* keys that expire */
    size_t sweep_cursor;
    struct dict dropped; /* what FLUSHALL left, to be freed little by little */
    size_t dropped_cursor;
    uint64_t expired;
};

struct shard {
    struct server *server;
    unsigned index;
    struct store store;
    struct dict channels;
    struct connection *connections;
    unsigned connection_count;
    uint64_t connections_ever;
    uint64_t requests;
    struct torc_listener listener;
} __attribute__((aligned(64)));

struct server {
    struct options options;
    struct shard *shards;
    unsigned shard_count;
    struct torc_address address; /* where it listens, once the first shard does */
    struct torc_shared_event is_bound;
    struct torc_shared_semaphore listening; /* a unit for each shard that does */
    uint64_t started_ms;
};

/* ---- Commands ---- */

/* Who runs a command. */
enum command_place {
    BY_CONNECTION, /* the fiber of the connection; nothing else is under way then */
    BY_KEY,        /* the shard that owns the key, the first argument */
    BY_EACH_KEY,   /* the shard of each key, on its own */
    BY_ALL,        /* every shard */
};

/* How the answers of several keys or shards become one. */
enum command_answer {
    ANSWER_ITSELF,
    ANSWER_LIST,
    ANSWER_SUM,
    ANSWER_OK,
};

/* On a shard: answers, or adds to reply->number. Does not suspend. */
typedef void command_fn(struct shard *shard, const struct args *args, struct reply *reply);

/* In the connection's fiber. Returns 0, or an error that ends the connection. */
typedef int control_fn(struct connection *connection, const struct args *args);

struct command {
    const char *name; /* a subcommand is "command|subcommand" */
    int arity;        /* arguments with the name; negative: at least */
    enum command_place place;
    enum command_answer answer;
    unsigned step; /* arguments for each key */
    command_fn *run;
    control_fn *control;
    const char *flags; /* what COMMAND says */
};

/* To be called once, before the others. */
void commands_init(void);

/* The command of a request; NULL if there is none, or if it wants other arguments. */
const struct command *command_find(const struct args *args);

/* Say why command_find() found none. */
void command_refuse(const struct args *args, struct reply *reply);

void refuse_arity(struct reply *reply, const char *name);

/* All of them, one after the other; NULL at the end. */
const struct command *command_at(unsigned index);

bool argument_is(const struct args *args, unsigned index, const char *word); /* in any case */
bool argument_integer(const struct args *args, unsigned index, struct reply *reply,
                      int64_t *ret_number); /* false: no number, which is said */

command_fn run_get, run_set, run_set_one, run_delete, run_exists, run_increment, run_decrement;
command_fn run_increment_by, run_decrement_by, run_append, run_length, run_count;
command_fn run_expire, run_expire_ms, run_ttl, run_ttl_ms, run_persist, run_publish;
control_fn control_ping, control_echo, control_hello, control_info, control_quit, control_select;
control_fn control_command, control_command_count, control_command_docs, control_config_get;
control_fn control_client_name, control_client_set_name, control_client_id, control_client_info;
control_fn control_client_list, control_flush, control_subscribe, control_unsubscribe;

/* ---- Connections ---- */

/* A request, or what one key of it, or one shard, is asked. */
struct part {
    const struct command *command;
    struct args args; /* `spans` is found by `first_span` when the batch is complete */
    uint32_t first_span;
    uint32_t keys; /* of a request that begins with this part; else 0 */
    bool is_last;
    unsigned shard;
    struct part *next; /* for the same shard */
    /* Of another shard's answer. */
    size_t answer_at;
    size_t answer_length;
    struct text *text;
    int64_t number;
};

struct errand; /* what another shard does for a batch */
struct subscription;

struct connection {
    struct shard *shard;
    struct torc_stream stream;
    struct torc_scope scope; /* of the fibers that serve it */
    struct connection *next;
    struct connection **link;
    uint64_t id;
    char *name;
    struct parser parser;
    struct torc_mutex output; /* held from a request to the end of its answer */
    struct reply reply;
    bool is_closing; /* after this answer */
    /* Requests that go to several shards. */
    struct part *parts;
    unsigned part_count;
    struct errand *errands; /* one for each shard */
    unsigned underway;
    struct torc_event answered;
    /* Channels. */
    struct subscription *subscriptions;
    unsigned subscription_count;
    bool has_pusher;
    struct reply pushes; /* messages that came */
    struct torc_event pushed;
};

/* Serve the descriptor `arg` stands for: a fiber of the shard whose connection it is. */
int connection_main(void *arg);

/* A connection for connection_main(); NULL without memory. */
struct connection *connection_create(struct shard *shard, int fd);

/* Write what is in the reply, and its text. Suspends. */
int connection_write(struct connection *connection);

/* Shards other than the connection's need these; they are made when the first key is theirs. */
void route_finish(struct connection *connection);

/* Do what the request says, or let it wait for more of the batch. Suspends. */
int route_request(struct connection *connection, const struct args *args);

/* Finish the batch: all answers are written, or in the reply. Suspends. */
int route_batch(struct connection *connection);

/* Leave all channels. */
void pubsub_leave(struct connection *connection);

/* ---- The keys of a shard ---- */

int64_t now_ms(void);

/* The entry of a key that has not expired; NULL if there is none. */
struct entry *store_find(struct store *store, struct slice key);

/* Let a key have this value; it stays as mortal as it is. Its entry, or NULL without memory. */
struct entry *store_set(struct store *store, struct slice key, struct slice value);

bool store_delete(struct store *store, struct slice key);
void store_set_expiry(struct store *store, struct entry *entry, int64_t expires_ms);
void store_clear(struct store *store);
void store_finish(struct store *store);

/* A fiber that takes out keys that have expired, and does other chores. */
int store_tend(void *arg);

#endif
