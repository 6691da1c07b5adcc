/* SPDX-License-Identifier: MIT */
/*
 * environment.c - settings in environment variables.
 */
#include "base/environment.h"
#include "base/log.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A power of two, and many more than there are variables. */
#define TOLD 64u

static uint32_t hash_of(uint32_t hash, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u; /* FNV-1a */
    return hash;
}

void torc__environment_wrong(const char *name, const char *text, size_t length, const char *wanted)
{
    static _Atomic uint32_t told[TOLD]; /* Of two with one place, either may be told again. */
    const uint32_t hash = hash_of(hash_of(2166136261u, name, strlen(name) + 1), text, length);

    if (atomic_exchange(&told[hash % TOLD], hash) != hash)
        torc__log("%s: \"%.*s\" is not %s", name, (int)length, text, wanted);
}

uint32_t torc__environment_number(const char *name, uint32_t otherwise, uint32_t most)
{
    const char *text = getenv(name);
    const int saved = errno;
    unsigned long number;
    char wanted[40];
    char *end;
    int error;

    if (text == NULL || *text == '\0')
        return otherwise;
    errno = 0;
    number = strtoul(text, &end, 10);
    error = errno;
    errno = saved;
    if (*end == '\0' && *text != '-' && error == 0 && number <= most)
        return (uint32_t)number;
    (void)snprintf(wanted, sizeof(wanted), "a number from 0 to %u", most);
    torc__environment_wrong(name, text, strlen(text), wanted);
    return otherwise;
}

int torc__environment_word(const char *name, const char *const *words)
{
    const char *text = getenv(name);
    char wanted[100] = "one of";
    size_t length = strlen(wanted);

    if (text == NULL || *text == '\0')
        return 0;
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0)
            return i;
        if (length < sizeof(wanted))
            length += (size_t)snprintf(wanted + length, sizeof(wanted) - length, "%s %s",
                                       i > 0 ? "," : "", words[i]);
    }
    torc__environment_wrong(name, text, strlen(text), wanted);
    return -EINVAL;
}
