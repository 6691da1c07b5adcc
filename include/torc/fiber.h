/* SPDX-License-Identifier: MIT */
/*
 * torc/fiber.h - plain functions that take turns on a shard.
 *
 * A fiber is a function running on a small stack of its own (116 KiB by default, of which only the
 * touched pages cost memory). It stays on the shard that started it, so the fibers of one shard
 * share data without locks or atomics: another fiber runs only where this one calls a function
 * whose comment says "Suspends". Ready fibers run first come, first served.
 *
 * A fiber has no handle. To wait for it, or to stop it, start it in a scope (torc/scope.h).
 *
 * What does not survive a suspension: floating-point rounding modes and exception masks. What must
 * not be held across one: a pthread mutex, a FILE's lock, the middle of a C++ catch block.
 */
#ifndef TORC_FIBER_H
#define TORC_FIBER_H

#include <stddef.h>
#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

/*
 * The body of a fiber. A negative result is a failure and goes to the fiber's scope; any other is
 * dropped.
 */
typedef int torc_fiber_fn(void *arg);

/*
 * Start `body(arg)` as a fiber of the shard's root scope. It first runs after the caller suspends.
 * From a fiber or a loop callback.
 *
 * The root scope supervises: a fiber that fails does not stop the others, and the first failure
 * becomes the result of torc_run() if main itself succeeds. `arg` is the fiber's once this returned
 * 0, and still the caller's otherwise. The body always runs, also when the shard is being stopped:
 * it then sees the reason at its first wait.
 *
 * -ENOMEM     the shard has as many fibers as it may have, or the kernel gave no memory.
 */
TORC_CHECK int torc_spawn(torc_fiber_fn *body, void *arg);

/*
 * Let every fiber that is ready run before this one goes on. Suspends. Returns 0, or the scope's
 * reason (without having waited).
 */
TORC_API int torc_yield(void);

/*
 * Why waits end in this fiber's scope: 0, -ECANCELED or -ETIME. Looks at the clock, so that a fiber
 * that computes for long without waiting sees its deadline here.
 */
TORC_API int torc_cancelled(void);

/*
 * Name this fiber in reports. The text is not copied: it must live as long as the fiber, so a
 * literal is best. NULL takes the name away.
 */
TORC_API void torc_fiber_set_name(const char *name);

/* The name of this fiber; NULL where none was given. */
TORC_API const char *torc_fiber_name(void);

/* The number of this fiber, for logs: unique on its shard while the fiber lives. */
TORC_API uint32_t torc_fiber_id(void);

/* How many bytes of stack this fiber may still use. */
TORC_API size_t torc_stack_left(void);

/*
 * Call `fn(arg)` on the thread's own, large stack and return its result. For leaf code that needs
 * more stack than a fiber has. `fn` must not suspend: a torc call that would aborts.
 */
TORC_API int torc_on_thread_stack(int (*fn)(void *arg), void *arg);

TORC_END_C
#endif
