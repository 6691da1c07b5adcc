/* SPDX-License-Identifier: MIT */
/*
 * kv.h - a key-value server that speaks the Redis protocol, with a part of the keys on each shard.
 *
 *     main.c       options, and what serves
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
#include <sys/queue.h>
#include <torc/torc.h>

#define KEY_MAX            ((size_t)64 << 10) /* bytes */
#define VALUE_MAX          ((size_t)16 << 20) /* bytes of a value, or of any other argument */
#define SUBSCRIPTION_LISTS 1024u
#define SHARDS_MAX         256
#define CLOSING            1 /* the result of a client that goes after this answer */

struct slice { /* Somebody else's bytes. */
    const char *at;
    size_t length;
};

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static inline bool slice_equals(struct slice one, struct slice other)
{
    return one.length == other.length && memcmp(one.at, other.at, one.length) == 0;
}

bool slice_is(struct slice slice, const char *word); /* in any case */

/* ---- Shards ---- */

LIST_HEAD(subscriptions, subscription);

struct shard {
    struct entry *keys; /* the root of their tree */
    size_t key_count;
    uint64_t seed[2];    /* of their hashes */
    size_t mortal_count; /* keys that expire */
    uint64_t walks;      /* of the fiber that looks for those that have */
    struct subscriptions subscriptions[SUBSCRIPTION_LISTS]; /* of its clients, by channel */
    uint64_t client_count;
    uint64_t clients_ever;
} __attribute__((aligned(64)));

extern struct shard shards[SHARDS_MAX]; /* Each touches its own. */

/* ---- Commands ---- */

/* A command with its arguments; or what one key of it, or one shard, is asked. */
struct call {
    const struct command *command;
    const struct slice *args; /* the first is the name */
    unsigned count;
    unsigned part;  /* it is this one ... */
    unsigned parts; /* ... of so many that the request was split in */
    struct client *client;
    struct shard *shard; /* where it runs */
    struct torc_buffer *reply;
    int64_t number; /* that is added to those of the other parts */
    /* If that is another shard's: */
    struct errand *errand;
    bool is_done;
    size_t length; /* of its answer */
};

/*
 * Do it. Returns NULL if it has answered; or the answer: a line that begins with what it is, "+OK",
 * "-NO", "$-1", "_"; else the text of an error, in which %s is the name of the command.
 */
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
    bool always;      /* also while the client is subscribed to something, in version 2 */
};

command_fn run_get, run_set, run_delete, run_exists, run_increment, run_expire, run_ttl;
command_fn run_publish, run_subscribe, run_unsubscribe;

/* One that says so if there is none. */
const struct command *command_find(const struct slice *args, unsigned count);
const char *command_refuse(const struct call *call); /* Returns NULL, or the text of an error. */

int keys_init(struct shard *shard);
int keys_tend(void *arg); /* A fiber of each shard, which takes out keys that have expired. */

/* ---- Clients ---- */

struct client {
    struct shard *shard;
    struct torc_stream *stream;
    struct torc_scope scope; /* its life */
    struct torc_scope wait;  /* for input, while it `is_waiting` */
    bool is_waiting;
    int result;   /* what ended it, if it is not 0: an error, or CLOSING */
    int protocol; /* 2 or 3 */
    uint64_t id;
    char *name;
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
    /* Output. */
    struct torc_buffer reply;
    struct torc_buffer pushes; /* messages that came */
    struct subscriptions subscriptions;
    unsigned subscription_count;
};

torc_serve_fn client_serve;
void client_write(struct client *client);       /* Write what is in the reply. Suspends. */
void client_take_pushes(struct client *client); /* Put messages that came into the reply. */

unsigned slot_of(struct slice key);        /* Of a key with a {tag} only that counts. */
void route_request(struct client *client); /* Do it, or let it wait for more. Suspends. */
void route_batch(struct client *client);   /* Have all answers in the reply. Suspends. */
void route_finish(struct client *client);
void pubsub_leave(struct client *client); /* Leave all channels. */

/* ---- Answers ---- */

#define REPLY_KEPT ((size_t)16 << 10) /* bytes of memory of an answer that has been sent */

/* Answer with what a command_fn returned. */
void reply_line(struct torc_buffer *reply, const char *line, const char *command_name);
const char *reply_null(const struct client *client); /* Returns such a line. */

/* These return NULL, as a command_fn does that has answered. */
const char *reply_number(struct torc_buffer *reply, char mark, int64_t number);
const char *reply_bulk(struct torc_buffer *reply, struct slice bytes);
const char *reply_map(struct torc_buffer *reply, const struct client *client, int64_t pairs);
const char *reply_error(struct torc_buffer *reply, const char *format, ...) /* at most 1 KiB */
    __attribute__((format(printf, 2, 3)));

#endif
