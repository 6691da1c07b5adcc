/* SPDX-License-Identifier: MIT */
/*
 * torc/error.h - errors are negative errno values.
 *
 * Two of them are torc's own and always speak of the caller's scope: -ECANCELED (it was cancelled)
 * and -ETIME (its deadline has passed). A network timeout stays -ETIMEDOUT.
 */
#ifndef TORC_ERROR_H
#define TORC_ERROR_H

#include <errno.h>
#include <torc/api.h>
TORC_BEGIN_C

/*
 * The text for a negative errno, such as "Connection reset by peer". Never NULL; an unknown value
 * gives "unknown error". Any thread; the text is constant and lives for ever.
 */
TORC_API const char *torc_strerror(int negative_errno);

TORC_END_C
#endif
