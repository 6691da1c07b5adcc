/* SPDX-License-Identifier: MIT */
/*
 * parser.c - requests, found where they were received.
 */
#include "parser.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_BULK      UINT32_MAX
#define SPANS_LEAST  16u
#define SPANS_KEPT   4096u
#define DIGITS_QUICK 9 /* so many cannot overflow */

void parser_init(struct parser *parser, const struct parser_limits *limits)
{
    *parser = (struct parser){.limits = limits, .bulk = NO_BULK, .need = 1};
}

void parser_finish(struct parser *parser)
{
    free(parser->spans);
    free(parser->words);
}

struct args parser_args(const struct parser *parser, const char *data)
{
    return (struct args){
        .base = parser->is_line ? parser->words : data,
        .spans = parser->spans + parser->first,
        .count = parser->count,
    };
}

size_t parser_next(struct parser *parser)
{
    const size_t length = parser->at;

    parser->first += parser->count;
    parser->count = parser->expected = parser->at = 0;
    parser->bulk = NO_BULK;
    parser->need = 1;
    parser->is_line = false;
    return length;
}

void parser_forget(struct parser *parser)
{
    if (parser->first > 0 && parser->count > 0)
        memmove(parser->spans, parser->spans + parser->first,
                parser->count * sizeof(*parser->spans));
    parser->first = 0;
    if (parser->room <= SPANS_KEPT || parser->count > 0)
        return;
    free(parser->spans);
    parser->spans = NULL;
    parser->room = 0;
}

static enum parse_result fail(struct parser *parser, const char *error)
{
    (void)snprintf(parser->error, sizeof(parser->error), "Protocol error: %s", error);
    return PARSE_ERROR;
}

static enum parse_result want(struct parser *parser, size_t need)
{
    if (need > parser->limits->request)
        return fail(parser, "request too large");
    parser->need = need;
    return PARSE_MORE;
}

static enum parse_result add_span(struct parser *parser, size_t from, size_t length)
{
    if (parser->first + parser->count == parser->room) {
        const uint32_t room = parser->room > 0 ? 2 * parser->room : SPANS_LEAST;
        struct span *larger = realloc(parser->spans, room * sizeof(*larger));

        if (larger == NULL)
            return fail(parser, "out of memory");
        parser->spans = larger;
        parser->room = room;
    }
    parser->spans[parser->first + parser->count++] =
        (struct span){(uint32_t)from, (uint32_t)length};
    return PARSE_COMPLETE;
}

/* ---- Numbers ---- */

bool parse_integer(struct slice text, int64_t *ret_number)
{
    const bool is_negative = text.length > 0 && text.at[0] == '-';
    const uint64_t most = is_negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    size_t at = is_negative;
    uint64_t number = 0;

    if (at == text.length || (text.at[at] == '0' && text.length > 1))
        return false;
    for (; at < text.length; at++) {
        const unsigned digit = (unsigned)(unsigned char)text.at[at] - '0';

        if (digit > 9 || number > (most - digit) / 10)
            return false;
        number = 10 * number + digit;
    }
    *ret_number = is_negative ? (int64_t)-number : (int64_t)number;
    return true;
}

/* The words for what can be wrong with a number that is announced by a mark. */
struct number_kind {
    char mark;
    const char *too_long;
    const char *invalid;
};

static const struct number_kind count_kind = {
    '*',
    "too big mbulk count string",
    "invalid multibulk length",
};
static const struct number_kind bulk_kind = {
    '$',
    "too big bulk count string",
    "invalid bulk length",
};

static enum parse_result read_any_number(struct parser *parser, const char *data, size_t length,
                                         const struct number_kind *kind, int64_t *ret_number)
{
    const char *from = data + parser->at;
    const char *end = memchr(from, '\r', length - parser->at);
    char text[32];

    if (end == NULL && length - parser->at > LINE_MAX_LENGTH)
        return fail(parser, kind->too_long);
    if (end == NULL || end + 1 == data + length)
        return want(parser, length + 1);
    if (*from != kind->mark) {
        (void)snprintf(text, sizeof(text), "expected '$', got '%c'", *from);
        return fail(parser, text);
    }
    if (!parse_integer((struct slice){from + 1, (size_t)(end - from - 1)}, ret_number))
        return fail(parser, kind->invalid);
    parser->at = (uint32_t)(end + 2 - data);
    return PARSE_COMPLETE;
}

/* Read a number with its mark. This is where most of parsing is done, so the usual is done here. */
static enum parse_result read_number(struct parser *parser, const char *data, size_t length,
                                     const struct number_kind *kind, int64_t *ret_number)
{
    const char *digit = data + parser->at + 1;
    const char *end = data + length;
    const char *first = digit;
    int64_t number = 0;

    if (length <= parser->at)
        return want(parser, parser->at + 1);
    while (digit < end && digit - first < DIGITS_QUICK && *digit >= '0' && *digit <= '9')
        number = 10 * number + (*digit++ - '0');
    if (first[-1] != kind->mark || digit == first || (*first == '0' && digit - first > 1) ||
        end - digit < 2 || *digit != '\r')
        return read_any_number(parser, data, length, kind, ret_number);
    parser->at = (uint32_t)(digit + 2 - data);
    *ret_number = number;
    return PARSE_COMPLETE;
}

/* ---- Arrays of bulk strings ---- */

static enum parse_result read_argument(struct parser *parser, const char *data, size_t length)
{
    size_t end;

    if (parser->bulk == NO_BULK) {
        int64_t number;
        enum parse_result result = read_number(parser, data, length, &bulk_kind, &number);

        if (result != PARSE_COMPLETE)
            return result;
        if (number < 0 || (uint64_t)number > parser->limits->argument)
            return fail(parser, bulk_kind.invalid);
        parser->bulk = (uint32_t)number;
    }
    end = (size_t)parser->at + parser->bulk + 2;
    if (end > length)
        return want(parser, end);
    if (add_span(parser, parser->at, parser->bulk) != PARSE_COMPLETE)
        return PARSE_ERROR;
    parser->at = (uint32_t)end;
    parser->bulk = NO_BULK;
    return PARSE_COMPLETE;
}

static enum parse_result run_array(struct parser *parser, const char *data, size_t length)
{
    enum parse_result result = PARSE_COMPLETE;

    if (parser->expected == 0) {
        int64_t number;

        result = read_number(parser, data, length, &count_kind, &number);
        if (result != PARSE_COMPLETE)
            return result;
        if (number > parser->limits->arguments)
            return fail(parser, count_kind.invalid);
        if (number <= 0)
            return PARSE_EMPTY;
        parser->expected = (uint32_t)number;
    }
    while (result == PARSE_COMPLETE && parser->count < parser->expected)
        result = read_argument(parser, data, length);
    return result;
}

/* ---- Lines of words ---- */

/* What a backslash and what follows stand for; *at moves on to the last character of it. */
static char unescape(const char *line, size_t length, size_t *at)
{
    static const char letters[] = "n\nr\rt\tb\ba\a";
    const char *letter;
    unsigned byte;

    if (*at + 3 < length && line[*at + 1] == 'x' && isxdigit((unsigned char)line[*at + 2]) &&
        isxdigit((unsigned char)line[*at + 3]) && sscanf(line + *at + 2, "%2x", &byte) == 1) {
        *at += 3;
        return (char)byte;
    }
    ++*at;
    for (letter = letters; *letter != '\0'; letter += 2) {
        if (*letter == line[*at])
            return letter[1];
    }
    return line[*at];
}

/* Copy one word, quoted or not, to *to, from *at on. False if its quotes do not match. */
static bool read_word(const char *line, size_t length, size_t *at, char **to)
{
    char quote = '\0';

    for (; *at < length; ++*at) {
        const char c = line[*at];

        if (quote == '\0' && isspace((unsigned char)c))
            return true;
        if (quote == '\0' && (c == '"' || c == '\'')) {
            quote = c;
        } else if (quote != '\0' && c == quote) {
            ++*at; /* Nothing but a blank may follow. */
            return *at == length || isspace((unsigned char)line[*at]);
        } else if (quote == '"' && c == '\\' && *at + 1 < length) {
            *(*to)++ = unescape(line, length, at);
        } else if (quote == '\'' && c == '\\' && *at + 1 < length && line[*at + 1] == '\'') {
            *(*to)++ = line[++*at];
        } else {
            *(*to)++ = c;
        }
    }
    return quote == '\0';
}

static enum parse_result split_words(struct parser *parser, const char *line, size_t length)
{
    char *words = realloc(parser->words, length + 1);
    char *to = words;

    if (words == NULL)
        return fail(parser, "out of memory");
    parser->words = words;
    for (size_t at = 0;; at++) {
        char *from = to;

        while (at < length && isspace((unsigned char)line[at]))
            at++;
        if (at >= length)
            break;
        if (!read_word(line, length, &at, &to))
            return fail(parser, "unbalanced quotes in request");
        if (add_span(parser, (size_t)(from - words), (size_t)(to - from)) != PARSE_COMPLETE)
            return PARSE_ERROR;
    }
    return parser->count > 0 ? PARSE_COMPLETE : PARSE_EMPTY;
}

static enum parse_result run_line(struct parser *parser, const char *data, size_t length)
{
    const char *end = memchr(data + parser->at, '\n', length - parser->at);
    size_t line_length;

    if (end == NULL && length > LINE_MAX_LENGTH)
        return fail(parser, "too big inline request");
    if (end == NULL) {
        parser->at = (uint32_t)length;
        return want(parser, length + 1);
    }
    parser->at = (uint32_t)(end + 1 - data);
    parser->is_line = true;
    line_length = (size_t)(end - data);
    if (line_length > 0 && data[line_length - 1] == '\r')
        line_length--;
    return split_words(parser, data, strnlen(data, line_length));
}

enum parse_result parser_run(struct parser *parser, const char *data, size_t length)
{
    if (length == 0)
        return want(parser, 1);
    return data[0] == '*' ? run_array(parser, data, length) : run_line(parser, data, length);
}
