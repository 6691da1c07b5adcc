/* SPDX-License-Identifier: MIT */
/*
 * error.c - the text for a negative errno.
 */
#include <string.h>
#include <torc/error.h>

const char *torc_strerror(int negative_errno)
{
    const char *text;

    if (negative_errno == -ETIME)
        return "Deadline passed";
    if (negative_errno == -ECANCELED)
        return "Canceled";
    /* Unlike strerror() it neither allocates nor depends on the thread (glibc 2.32). */
    text = negative_errno <= 0 && negative_errno > -4096 ? strerrordesc_np(-negative_errno) : NULL;
    return text != NULL ? text : "unknown error";
}
