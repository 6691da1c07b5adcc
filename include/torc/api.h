/* SPDX-License-Identifier: MIT */
/*
 * torc/api.h - attributes of public declarations, and the version.
 *
 * The rules that hold for every function of torc unless its comment says otherwise:
 *   - it is called from a fiber and touches only what belongs to the same shard;
 *   - it returns 0 or a count, or a negative errno; `ret_` arguments are untouched on failure;
 *   - it neither sets nor reads `errno`, allocates nothing, and does not suspend;
 *   - a function that suspends is a cancellation point: in a cancelled scope it returns -ECANCELED
 *     and past a deadline -ETIME (see torc/scope.h), and memory lent to it is free again when it
 *     returns, whatever it returns.
 */
#ifndef TORC_API_H
#define TORC_API_H

#define TORC_VERSION_MAJOR 0
#define TORC_VERSION_MINOR 1
#define TORC_VERSION_PATCH 0
#define TORC_VERSION       "0.1.0"

#ifdef __cplusplus
#define TORC_BEGIN_C extern "C" {
#define TORC_END_C   }
#else
#define TORC_BEGIN_C
#define TORC_END_C
#endif

#define TORC_API __attribute__((visibility("default")))

/*
 * An API function whose result must be used; a `(void)` cast says "ignored on purpose". gcc honours
 * that cast for [[nodiscard]] only, and clang 14 knows [[nodiscard]] only from C2x on.
 */
#if defined(__GNUC__) && !defined(__clang__) && !defined(__cplusplus)
#define TORC_CHECK __extension__ [[nodiscard]] TORC_API
#elif defined(__cplusplus) && __cplusplus >= 201703L
#define TORC_CHECK [[nodiscard]] TORC_API
#else
#define TORC_CHECK __attribute__((warn_unused_result)) TORC_API
#endif

#endif
