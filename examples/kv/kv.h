/* SPDX-License-Identifier: MIT */
/*
 * kv.h - a key-value server that speaks the Redis protocol, with a part of the keys on each shard.
 *
 *     main.c       options, the listener, the end
 *     client.c     a fiber for each client: read requests, have them done, write the answers
 *     route.c      requests to the shards that own their keys, and the answers in order
 *     commands.c   the table of commands, and those about the client and the server
 *     keys.c       the keys of a shard: a hash table, and what is done to it
 *     pubsub.c     channels
 *     reply.c      answers
 *
 * A key belongs to one shard, by its slot as in a Redis Cluster. All that is done to it happens
 * there, by one thread: no locks. What is done to a key never suspends, so that it is atomic, and
 * can be done by the shard's loop for a client of another shard.
 */
#ifndef KV_H
#define KV_H

#include <string.h>
#include <torc/torc.h>

#define KEY_MAX            ((size_t)64 << 10) /* bytes */
#define VALUE_MAX          ((size_t)16 << 20) /* bytes of a value, or of any other argument */
#define ARGUMENTS_MAX      (1 << 20)          /* of a request */
#define SUBSCRIPTION_LISTS 1024u

struct slice { /* Somebody else's bytes. */
    const char *at;
    size_t length;
};

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

/* A whole number, written as Redis writes it: no blanks, no plus, no needless zeros. */
bool parse_integer(struct slice text, int64_t *ret_number);

/* ---- Answers ---- */

/* In a buffer that grows. Without memory it is `failed`, and what it says is worth nothing. */
struct reply {
    char *bytes;
    size_t used;
    size_t room;
    int protocol; /* 2 or 3 */
    bool failed;
};

void reply_bytes(struct reply *reply, const void *bytes, size_t count);
void reply_printf(struct reply *reply, const char *format, ...) /* at most 1 KiB */
    __attribute__((format(printf, 2, 3)));
/* "-ERR ", and the text with its line ends as blanks. Returns NULL, as a command_fn does then. */
const char *reply_error(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void reply_line(struct reply *reply, const char *line);            /* that a command_fn returned */
void reply_number(struct reply *reply, char mark, int64_t number); /* ':', or the mark of a head */
void reply_map(struct reply *reply, int64_t pairs);
void reply_bulk(struct reply *reply, struct slice bytes);
const char *reply_null(struct reply *reply); /* Returns NULL. */
void reply_reset(struct reply *reply);
void reply_finish(struct reply *reply);

/* ---- Shards ---- */

struct server {
    struct torc_address address; /* where it listens */
    int64_t shard_count;
    struct shard *shards;
};

struct shard {
    struct server *server;
    struct entry **buckets; /* of keys */
    size_t bucket_count;
    uint64_t seed[2]; /* of their hashes */
    size_t key_count;
    size_t mortal_count; /* keys that expire */
    size_t cursor;       /* how far the fiber is that looks for those that have */
    struct subscription *subscriptions[SUBSCRIPTION_LISTS]; /* of its clients, by channel */
    uint64_t client_count;
    uint64_t clients_ever;
    uint64_t requests;
    uint64_t expired;
    unsigned index;
} __attribute__((aligned(64)));

/* ---- Commands ---- */

/* A command with its arguments; or what one key of it, or one shard, is asked. */
struct call {
    const struct command *command;
    const struct slice *args; /* the first is the name */
    unsigned count;
    unsigned part;  /* it is this one ... */
    unsigned parts; /* ... of so many that the request was split in */
    unsigned owner; /* the shard where it runs */
    struct client *client;
    struct shard *shard;
    struct reply *reply;
    int64_t number; /* that is added to those of the other parts */
    bool is_done;
};

bool arg_is(const struct call *call, unsigned index, const char *word); /* in any case */

/* Do it. Returns NULL, or a line to answer: "+...", "-...", or an error without its "-ERR ". */
typedef const char *command_fn(struct call *call);

struct command {
    const char *name;
    int arity; /* arguments with the name; negative: at least */
    command_fn *run;
    enum {
        BY_CLIENT, /* by the client's fiber; nothing else of it is under way, so it may suspend */
        BY_KEY,    /* by the shard that owns the key */
        BY_ALL,    /* by every shard */
    } place;
    unsigned step;    /* arguments for each of several keys; 0: there is one, the first argument */
    char kind;        /* of several parts: '*' a list, ':' a sum, '+' what the last one says */
    const char *flag; /* what COMMAND says */
};

/* What is to be done: if it is not what the client asked for, then it is to say why. */
const struct command *command_find(const struct call *call);

command_fn run_get, run_set, run_delete, run_exists, run_increment, run_expire;
command_fn run_ttl, run_publish, run_subscribe, run_unsubscribe;

int keys_init(struct shard *shard);
int keys_tend(void *arg); /* A fiber of each shard, which takes out keys that have expired. */
void keys_finish(struct shard *shard);

/* ---- Clients ---- */

struct client {
    struct shard *shard;
    struct torc_stream stream;
    struct torc_scope scope; /* its life */
    struct torc_scope wait;  /* for input, while it `is_waiting` */
    bool is_waiting;
    uint64_t id;
    char *name;
    bool is_closing; /* after this answer */
    struct reply reply;
    /* Input: `length` bytes are there; the request begins at `used`, the parser is at `at`. */
    const char *input;
    size_t length;
    size_t used;
    size_t at;
    struct slice *args; /* of the requests of a batch; those of this one ... */
    unsigned arg_room;
    unsigned first; /* ... begin here, */
    unsigned count; /* and are so many */
    /* A batch: requests that wait for others to go to other shards. */
    struct batch *batch;
    unsigned call_count;
    unsigned answered;
    int64_t sum; /* of the parts of a request, so far */
    /* Channels. */
    unsigned subscription_count;
    struct reply pushes; /* messages that came */
};

int client_main(void *arg); /* A fiber that serves a zeroed client with a stream, and frees it. */
int client_write(struct client *client); /* Write what is in the reply. Suspends. */

unsigned slot_of(struct slice key);       /* Of a key with a {tag} only that counts. */
int route_request(struct client *client); /* Do it, or let it wait for more. Suspends. */
int route_batch(struct client *client);   /* Have all answers in the reply. Suspends. */
void route_finish(struct client *client);
void pubsub_leave(struct client *client); /* Leave all channels. */

#endif
