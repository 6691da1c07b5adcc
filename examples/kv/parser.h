/* SPDX-License-Identifier: MIT */
/*
 * parser.h - requests, found where they were received, however they come in pieces.
 *
 * A request is an array of bulk strings, or a line of words for people. Nothing of it is copied but
 * the words of a line; and nothing is read twice: when more bytes have come the parser goes on
 * where it stopped, also if they all stand somewhere else by then.
 */
#ifndef KV_PARSER_H
#define KV_PARSER_H

#include "reply.h"

/* What a client may send. Beyond these limits its connection is closed with an error. */
struct parser_limits {
    size_t argument;    /* bytes of one argument */
    size_t request;     /* bytes of them all */
    uint32_t arguments; /* of one request */
};

#define LINE_MAX_LENGTH ((size_t)64 * 1024) /* of words, or before a number's CR LF */

/* A piece of a request: from its first byte, which is found elsewhere. */
struct span {
    uint32_t from;
    uint32_t length;
};

/* The arguments of a request; the first is the command's name. */
struct args {
    const char *base;
    const struct span *spans;
    unsigned count;
};

static inline struct slice arg(const struct args *args, unsigned index)
{
    return (struct slice){args->base + args->spans[index].from, args->spans[index].length};
}

struct parser {
    const struct parser_limits *limits;
    struct span *spans;
    uint32_t room;     /* for spans */
    uint32_t first;    /* the spans before belong to earlier requests of a batch */
    uint32_t count;    /* arguments that are complete */
    uint32_t expected; /* arguments that were announced; 0 before that */
    uint32_t at;       /* bytes that have been parsed */
    uint32_t bulk;     /* the length that was announced of the next argument, or NO_BULK */
    size_t need;       /* so many bytes, from the request's first, are needed to go on */
    char *words;       /* of a line */
    bool is_line;
    char error[64];
};

enum parse_result {
    PARSE_COMPLETE, /* parser_args(), and then parser_next() */
    PARSE_EMPTY,    /* a request without arguments: parser_next() */
    PARSE_MORE,     /* call again with `need` bytes */
    PARSE_ERROR,    /* `error` says what the client did; there is no going on */
};

void parser_init(struct parser *parser, const struct parser_limits *limits);
void parser_finish(struct parser *parser);

/* Parse the request that begins at `data`. */
enum parse_result parser_run(struct parser *parser, const char *data, size_t length);

/* The arguments of the complete request that begins at `data`. */
struct args parser_args(const struct parser *parser, const char *data);

/* Begin with the next request. Returns how long the last one was. Its spans are kept. */
size_t parser_next(struct parser *parser);

/* Forget the spans of all requests but the one that is not complete. */
void parser_forget(struct parser *parser);

/* A whole number, written as Redis writes it: no blanks, no plus, no needless zeros. */
bool parse_integer(struct slice text, int64_t *ret_number);

#endif
