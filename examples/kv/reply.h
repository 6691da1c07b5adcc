/* SPDX-License-Identifier: MIT */
/*
 * reply.h - texts, and answers in the words of the Redis protocol, versions 2 and 3.
 */
#ifndef KV_REPLY_H
#define KV_REPLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Somebody else's bytes. */
struct slice {
    const char *at;
    size_t length;
};

/* A value. It is counted, since it may be on its way to a client when its key gets another one. */
struct text {
    atomic_uint references;
    uint32_t length;
    uint32_t room;
    char bytes[]; /* CR LF follow, so that it is sent in one piece */
};

/* A text with room for `room` bytes, of which none are used; NULL without memory. */
struct text *text_create(size_t room);
void text_release(struct text *text); /* NULL is ignored. */

/* Replace what is in the text, which has the room. */
void text_set(struct text *text, struct slice bytes);

/* Texts of this length and more are sent from where they are, shorter ones are copied. */
#define TEXT_LARGE ((size_t)16 * 1024)

/*
 * An answer, or many, in a buffer that grows. Without memory it is `failed`, and what it says is
 * worth nothing.
 */
struct reply {
    char *bytes;
    size_t used;
    size_t room;
    struct text *text; /* what follows the bytes: a large one, of which this holds a reference */
    int64_t number;    /* what parts of a request add up to */
    uint8_t protocol;  /* 2 or 3 */
    bool failed;
};

void reply_finish(struct reply *reply);

/* Make room for `count` more bytes. False if there is no memory. */
bool reply_reserve(struct reply *reply, size_t count);

void reply_raw(struct reply *reply, const void *bytes, size_t count);
void reply_string(struct reply *reply, const char *protocol_text); /* as it stands */
void reply_ok(struct reply *reply);
void reply_null(struct reply *reply);
void reply_integer(struct reply *reply, int64_t number);
void reply_bulk(struct reply *reply, struct slice bytes);
void reply_bulk_string(struct reply *reply, const char *string);
void reply_text(struct reply *reply, struct text *text); /* NULL: null */

/* A long text for people, which version 3 calls verbatim. */
void reply_verbatim(struct reply *reply, struct slice bytes);

/* The head of `count` elements; of a map of so many pairs; of what comes unasked. */
void reply_array(struct reply *reply, size_t count);
void reply_map(struct reply *reply, size_t count);
void reply_push(struct reply *reply, size_t count);

/* An error; "-ERR " goes before it unless it begins with a dash. Line ends become blanks. */
void reply_error(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
