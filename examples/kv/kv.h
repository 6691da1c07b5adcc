/* SPDX-License-Identifier: MIT */
/*
 * kv.h - a key-value server that speaks the Redis protocol, with a part of the keys on each shard.
 *
 *     main.c       options, the listener, the end
 *     client.c     a fiber for each client: read requests, have them done, write the answers
 *     route.c      requests to the shards that own their keys, and the answers in order
 *     commands.c   the table of commands, and those about the client and the server
 *     keys.c       commands on keys
 *     pubsub.c     channels
 *     table.c      a hash table
 *     reply.c      answers
 *
 * A key belongs to one shard, by its slot as in a Redis Cluster. All that is done to it happens
 * there, by one thread: no locks. What is done to a key never suspends, so that it is atomic, and
 * can be done by the shard's loop for a client of another shard.
 */
#ifndef KV_H
#define KV_H

#include <torc/torc.h>

struct slice { /* Somebody else's bytes. */
    const char *at;
    size_t length;
};

/* ---- Tables ---- */

struct entry {
    struct entry *next;
    char *value; /* of a key */
    uint32_t value_length;
    uint32_t value_room;
    struct subscription *subscribers; /* of a channel: the first of them */
    int64_t expires_ms;               /* of the clock of the world; 0: never */
    uint32_t hash;
    uint32_t length;
    char key[];
};

struct table { /* Zeroed but for the seed is empty, and ready. */
    struct entry **buckets;
    size_t size;  /* buckets in use ... */
    size_t mask;  /* ... of mask + 1, a power of two */
    size_t count; /* entries */
    uint64_t seed[2];
};

struct entry *table_find(const struct table *table, struct slice key); /* NULL: not there */
struct entry *table_add(struct table *table, struct slice key);        /* NULL: no memory */
void table_take(struct table *table, struct entry *entry);             /* out, and free it */
void table_clear(struct table *table);

/* ---- Answers ---- */

/* In a buffer that grows. Without memory it is `failed`, and what it says is worth nothing. */
struct reply {
    char *bytes;
    size_t used;
    size_t room;
    int protocol; /* 2 or 3 */
    bool failed;
};

void reply_raw(struct reply *reply, const void *bytes, size_t count);
void reply_string(struct reply *reply, const char *protocol_text);
void reply_printf(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "-ERR ", and the text with its line ends as blanks. Returns NULL, as a command_fn does then. */
const char *reply_error(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void reply_number(struct reply *reply, char mark, int64_t number); /* ':', or the mark of a head */
void reply_map(struct reply *reply, int64_t pairs);
void reply_bulk(struct reply *reply, const void *bytes, size_t length);
void reply_null(struct reply *reply);
void reply_push(struct reply *reply, const char *kind, struct slice channel); /* one is missing */
void reply_text(struct reply *reply, struct reply *text); /* for people; it is finished */
void reply_reset(struct reply *reply);
void reply_finish(struct reply *reply);

/* ---- Shards ---- */

struct server {
    struct torc_address address; /* where it listens */
    int64_t shard_count;
    int64_t clients_max;
    int64_t arguments_max; /* of one request */
    int64_t key_max;       /* bytes */
    int64_t value_max;     /* and of any other argument */
    int64_t started_ms;
    struct shard *shards;
};

struct shard {
    struct server *server;
    struct table keys;
    size_t mortal_count; /* keys that expire */
    size_t cursor;       /* how far the fiber is that looks for those that have */
    struct table channels;
    struct client *clients;
    uint64_t client_count;
    uint64_t clients_ever;
    uint64_t requests;
    uint64_t expired;
    unsigned index;
} __attribute__((aligned(64)));

/* ---- Commands ---- */

struct span { /* A piece of a request, from its first byte on. */
    uint32_t from;
    uint32_t length;
};

/* A command with its arguments; or what one key of it, or one shard, is asked. */
struct call {
    const struct command *command;
    const char *base; /* of the spans */
    const struct span *spans;
    unsigned count;
    unsigned part;  /* it is this one ... */
    unsigned parts; /* ... of so many that the request was split in */
    unsigned owner; /* the shard where it runs */
    struct client *client;
    struct shard *shard;
    struct reply *reply;
    int64_t number;   /* that is added to those of the other parts */
    const char *said; /* what the command returned */
    bool is_done;
};

/*
 * Do it. Returns NULL if it has answered; else the line to answer: one that begins with '+' or '-',
 * or an error without its "-ERR ". Of several parts' lines the first is answered.
 */
typedef const char *command_fn(struct call *call);

enum command_place {
    BY_CLIENT,   /* by the client's fiber; nothing else of it is under way, so it may suspend */
    BY_KEY,      /* by the shard that owns the key, the first argument */
    BY_EACH_KEY, /* by the shard of each key, on its own */
    BY_ALL,      /* by every shard */
};

struct command {
    const char *name; /* a subcommand is "command|subcommand" */
    int arity;        /* arguments with the name; negative: at least */
    command_fn *run;  /* NULL: it has subcommands only */
    enum command_place place;
    char answer; /* of several parts: '*' a list, ':' a sum, '$' a text; else what the parts say */
    int number;  /* BY_EACH_KEY: arguments for each key; BY_KEY: what the command needs */
    const char *flag; /* what COMMAND says */
};

/* The command that is called; NULL if there is none, or if it wants other arguments. */
const struct command *command_find(const struct call *call);
void command_refuse(struct call *call); /* Say why there is none. */

static inline struct slice arg(const struct call *call, unsigned index)
{
    return (struct slice){call->base + call->spans[index].from, call->spans[index].length};
}

bool arg_is(const struct call *call, unsigned index, const char *word); /* in any case */

/* A whole number, written as Redis writes it: no blanks, no plus, no needless zeros. */
bool parse_integer(struct slice text, int64_t *ret_number);

#define NOT_AN_INTEGER "value is not an integer or out of range"

command_fn run_get, run_set, run_set_one, run_delete, run_exists, run_add, run_append, run_length;
command_fn run_expire, run_ttl, run_persist, run_count, run_flush;
command_fn run_publish, run_subscribe, run_unsubscribe;

int64_t now_ms(void);
int keys_tend(void *arg); /* A fiber of each shard, which takes out keys that have expired. */

/* ---- Clients ---- */

struct client {
    struct shard *shard;
    struct torc_stream stream;
    struct torc_scope scope; /* of the fibers that serve it */
    struct client *next;
    struct client **link;
    uint64_t id;
    char *name;
    bool is_closing; /* after this answer */
    struct reply reply;
    struct torc_mutex output; /* held from a request to the end of its answer */
    /* Input: `length` bytes are there; the request begins at `used`, the parser is at `at`. */
    const char *input;
    size_t length;
    size_t used;
    size_t at;
    struct span *spans; /* of the requests of a batch; those of this one ... */
    uint32_t span_room;
    uint32_t first; /* ... begin here, */
    uint32_t count; /* and are so many */
    char *words;    /* of a line */
    /* A batch: requests that wait for others to go to other shards. */
    struct batch *batch;
    unsigned call_count;
    unsigned answered;
    /* Of the parts of a request, so far. */
    int64_t sum;
    const char *said;
    struct reply text;
    /* Channels. */
    struct subscription *subscriptions;
    unsigned subscription_count;
    bool has_pusher;
    struct reply pushes; /* messages that came */
    struct torc_event pushed;
};

int client_main(
    void *arg); /* A fiber that serves, and then frees, a zeroed client with a stream. */
int client_write(struct client *client); /* Write what is in the reply. Suspends. */

/* Do what was asked, or let it wait for more of the batch. Suspends. */
int route_request(struct client *client, const char *base);
int route_batch(struct client *client); /* Have all answers in the reply. Suspends. */
void route_finish(struct client *client);
void pubsub_leave(struct client *client); /* Leave all channels. */

#endif
