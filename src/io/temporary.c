/* SPDX-License-Identifier: MIT */
/*
 * temporary.c - names for what is not to stay.
 */
#include "io/temporary.h"
#include "driver/thread.h"
#include <stdint.h>
#include <string.h>

static uint64_t scatter(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void torc__temporary_name(char name[TEMPORARY_LENGTH + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t number = scatter(torc__thread_unique());

    memcpy(name, ".torc-", 6);
    for (unsigned i = 6; i < TEMPORARY_LENGTH; i++, number >>= 4)
        name[i] = digits[number & 15];
    name[TEMPORARY_LENGTH] = '\0';
}
