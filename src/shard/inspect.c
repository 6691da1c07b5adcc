/* SPDX-License-Identifier: MIT */
/*
 * inspect.c - where to look into a process that runs torc, for those who do so from outside.
 *
 * The reader needs no symbols: a note, which is found through the program headers and survives
 * stripping, tells how far away the table is. The table names the fields that such a reader needs;
 * see torc/inspect.h.
 */
#include "arch/context.h"
#include "shard/diagnose.h"
#include <pthread.h>
#include <signal.h>
#include <torc/inspect.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* All shards of the process, newest first; under the mutex, but read from outside at any time. */
static struct torc__shard *shards;

/* The handler of SIGQUIT takes the mutex as well, so it must not interrupt who has it. */
static void lock(sigset_t *ret_before)
{
    sigset_t quit;

    sigemptyset(&quit);
    sigaddset(&quit, SIGQUIT);
    pthread_sigmask(SIG_BLOCK, &quit, ret_before);
    pthread_mutex_lock(&mutex);
}

static void unlock(const sigset_t *before)
{
    pthread_mutex_unlock(&mutex);
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* Not optimised away, and known to the assembler. */
extern const struct torc_inspect torc__inspect __attribute__((visibility("hidden")));

__asm__(".pushsection .note.torc, \"a\", %note\n"
        "    .balign 4\n"
        "    .long 5, 8, 1\n" /* sizes of the name and of the contents; TORC_INSPECT_NOTE */
        "    .asciz \"torc\"\n"
        "    .balign 4\n"
        "    .quad torc__inspect - .\n"
        "    .popsection");

_Static_assert((int)TORC_INSPECT_FREE == FIBER_FREE, "as told to readers");
_Static_assert((int)TORC_INSPECT_NEW == FIBER_NEW, "as told to readers");
_Static_assert((int)TORC_INSPECT_READY == FIBER_READY, "as told to readers");
_Static_assert((int)TORC_INSPECT_RUNNING == FIBER_RUNNING, "as told to readers");
_Static_assert((int)TORC_INSPECT_WAITING == FIBER_WAITING, "as told to readers");
_Static_assert((int)TORC_INSPECT_INTERRUPTED == FIBER_INTERRUPTED, "as told to readers");

#define AT(label, type, field)                                                                  \
    {                                                                                           \
        .name = (label), .offset = offsetof(type, field), .size = sizeof(((type *)NULL)->field) \
    }
#define SIZE(label, type)                                                   \
    {                                                                       \
        .name = label ".size", .offset = sizeof(type), .size = sizeof(type) \
    }
#define SHARD(name, field) AT("shard." name, struct torc__shard, field)
#define FIBER(name, field) AT("fiber." name, struct torc_fiber, field)
#define SCOPE(name, field) AT("scope." name, struct torc_scope, field)
#define STACK(name, field) AT("stack." name, struct torc__stack, field)

/* clang-format off */
static const struct torc_inspect_field fields[] = {
    SIZE("shard", struct torc__shard),
    SHARD("next", next_shard),
    SHARD("index", index),
    SHARD("thread", thread_id),
    SHARD("running", running),
    SHARD("loop", loop),
    SHARD("round_time", round_time_ns),
    SHARD("root", root),
    SHARD("alive", fibers.alive),
    SHARD("chunks", fibers.chunks),
    SHARD("mailbox", mailbox),
    SHARD("driver", driver),
    SHARD("told", told),
    SHARD("feeds", feeds),
    SIZE("fiber", struct torc_fiber),
    FIBER("sp", sp),
    FIBER("since", since_ns),
    FIBER("scope", scope),
    FIBER("home", home),
    FIBER("wait", wait),
    FIBER("waits_for", waits_for),
    FIBER("state", state),
    FIBER("id", id),
    FIBER("stack", stack),
    FIBER("body", body),
    FIBER("deadline", timer._deadline_ns),
    SIZE("chunk", struct torc__fiber_chunk),
    AT("chunk.fibers", struct torc__fiber_chunk, fibers),
    AT("chunk.next", struct torc__fiber_chunk, next),
    SIZE("scope", struct torc_scope),
    SCOPE("parent", _parent),
    SCOPE("owner", _owner),
    SCOPE("reason", _reason),
    SCOPE("flags", _flags),
    SCOPE("fibers", _fiber_count),
    SCOPE("timer", _deadline._link._previous),
    SCOPE("deadline", _deadline._deadline_ns),
    SIZE("stack", struct torc__stack),
    STACK("low", low),
    STACK("top", top),
    STACK("name", name),
    SIZE("op", struct torc_op),
    AT("op.opcode", struct torc_op, _opcode),
    AT("op.fd", struct torc_op, _fd),
    AT("op.next", struct torc_op, _next),
    AT("op.opener", struct torc_op, _opener),
    AT("driver.ops", struct torc__driver, ops),
    AT("driver.name", struct torc__driver_ops, name),
};
/* clang-format on */

const struct torc_inspect torc__inspect __attribute__((used)) = {
    .magic = "torc",
    .version = TORC_INSPECT_VERSION,
    .torc_version = TORC_VERSION,
    .shards = &shards,
    .resume = torc__context_resume,
    .fields = fields,
    .field_count = ARRAY_LENGTH(fields),
    .fiber_chunk = FIBER_CHUNK,
};

void torc__inspect_add(struct torc__shard *shard)
{
    sigset_t before;

    shard->thread_id = gettid();
    lock(&before);
    shard->next_shard = shards;
    __atomic_store_n(&shards, shard, __ATOMIC_RELEASE);
    unlock(&before);
}

void torc__inspect_remove(struct torc__shard *shard)
{
    struct torc__shard **link = &shards;
    sigset_t before;

    lock(&before);
    while (*link != shard)
        link = &(*link)->next_shard;
    __atomic_store_n(link, shard->next_shard, __ATOMIC_RELEASE);
    unlock(&before);
}

void torc__inspect_each(void (*visit)(struct torc__shard *shard))
{
    sigset_t before;

    lock(&before);
    for (struct torc__shard *shard = shards; shard != NULL; shard = shard->next_shard)
        visit(shard);
    unlock(&before);
}

void torc__inspect_after_fork(void)
{
    pthread_mutex_init(&mutex, NULL);
    shards = NULL;
}
