/* SPDX-License-Identifier: MIT */
/*
 * utf8.h - texts that may be cut off, or be no texts at all.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

#define UTF8_LENGTH_MAX 4u

/* How many bytes the character has with which `text` begins; 0 if that is none of UTF-8. */
unsigned torc__utf8_length(const char *text);

/*
 * A text may have been cut off to fit its memory of `size` bytes: then take away the character of
 * which only the beginning is there.
 */
void torc__utf8_drop_part(char *text, size_t size);

#endif
