/* SPDX-License-Identifier: MIT */
/*
 * utf8.c - texts that may be cut off, or be no texts at all.
 */
#include "base/utf8.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* How many bytes a character has that begins so; 0 if none does. */
static unsigned length_by_first(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

unsigned torc__utf8_length(const char *text)
{
    static const uint32_t least[UTF8_LENGTH_MAX + 1] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned length = length_by_first((unsigned char)text[0]);
    uint32_t code =
        length == 1 ? (unsigned char)text[0] : (unsigned char)text[0] & (0x7fU >> length);

    for (unsigned i = 1; i < length; i++) {
        if (!is_continuation(text[i]))
            return 0;
        code = code << 6 | ((unsigned char)text[i] & 0x3fU);
    }
    if (length == 0 || code < least[length] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
        return 0;
    return length;
}

void torc__utf8_drop_part(char *text, size_t size)
{
    const size_t length = strlen(text);

    for (size_t back = 1; length + 1 == size && back < UTF8_LENGTH_MAX && back <= length; back++) {
        char *last = &text[length - back];

        if (is_continuation(*last))
            continue;
        if (length_by_first((unsigned char)*last) > back)
            *last = '\0';
        return;
    }
}
