/* SPDX-License-Identifier: MIT */
/*
 * stall_stack.c - the stack of a thread that does not come back.
 *
 *     observer: wanted = n, SIGURG -> shard: walks its stack, answered = n -> observer reads it
 *
 * A question that is not answered in time is not asked again before it is: until then the answer
 * may still be written to.
 *
 * Where a signal would change what the program does, nobody is asked: return addresses are looked
 * for on the thread's stack, as the kernel does for its own. Some of what is found may be left from
 * earlier calls.
 */
#include "base/clock.h"
#include "base/compiler.h"
#include "base/symbol.h"
#include "shard/observer.h"
#include "shard/shard.h"
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#define ANSWER_NS    (NS_PER_SECOND / 4)
#define GUESS_WORDS  1024u
#define GUESS_FRAMES 16u
/* The handler's own frames, and what brought us into it. */
#define HANDLER_FRAMES 6

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned users; /* runtimes that want answers; under the mutex */
static struct sigaction before;

/* ---- Copying ---- */

/* Where a container's filter denies reading by the call that is made for it. */
static size_t copy_by_file(void *to, uintptr_t from, size_t size)
{
    const int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    ssize_t count = 0;

    if (fd >= 0) {
        count = pread(fd, to, size, (off_t)from);
        close(fd);
    }
    return count > 0 ? (size_t)count : 0;
}

size_t torc__observer_copy(void *to, uintptr_t from, size_t size)
{
    const size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    const size_t first = page_size - from % page_size < size ? page_size - from % page_size : size;
    const struct iovec local = {.iov_base = to, .iov_len = size};
    /* In two pieces, since a piece that is not all there counts as not there. */
    const struct iovec remote[2] = {
        {.iov_base = (void *)from, .iov_len = first},
        {.iov_base = (void *)(from + first), .iov_len = size - first},
    };
    const ssize_t count = process_vm_readv(getpid(), &local, 1, remote, 2, 0);

    if (count < 0 && errno != EFAULT)
        return copy_by_file(to, from, size);
    return count > 0 ? (size_t)count : 0;
}

/* ---- Asking ---- */

static uintptr_t interrupted_pc(const void *context)
{
    const mcontext_t *machine = &((const ucontext_t *)context)->uc_mcontext;

#if defined(__x86_64__)
    return (uintptr_t)machine->gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)machine->pc;
#else
    return (uintptr_t)machine->__gregs[REG_PC];
#endif
}

/* The frames from the one that was interrupted on, STALL_FRAMES_MAX at most. */
static unsigned walk(uintptr_t pc, void **ret_frames)
{
    void *frames[STALL_FRAMES_MAX + HANDLER_FRAMES];
    const int count = backtrace(frames, STALL_FRAMES_MAX + HANDLER_FRAMES);
    int first = 0;
    unsigned left;

    while (first < count && (uintptr_t)frames[first] != pc)
        first++;
    if (first == count)
        first = 0; /* Better with ours than without. */
    left = (unsigned)(count - first);
    left = left < STALL_FRAMES_MAX ? left : STALL_FRAMES_MAX;
    memcpy(ret_frames, &frames[first], left * sizeof(frames[0]));
    return left;
}

static void asked(int number, siginfo_t *info, void *context)
{
    const int saved = errno;
    struct torc__stall_answer *answer;
    uint32_t wanted;

    (void)number, (void)info;
    if (torc__shard == NULL || torc__shard->observed == NULL)
        return; /* It is somebody else's, and was to be ignored. */
    answer = &torc__shard->observed->answer;
    wanted = atomic_load(&answer->wanted);
    if (wanted == atomic_load(&answer->answered))
        return;
    answer->frame_count = walk(interrupted_pc(context), answer->frames);
    atomic_store(&answer->answered, wanted);
    (void)syscall(SYS_futex, &answer->answered, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}

static bool handler_is_ours(void)
{
    struct sigaction now;

    return sigaction(SIGURG, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
           now.sa_sigaction == asked;
}

void torc__stall_catch(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    void *frame;

    action.sa_sigaction = asked;
    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&mutex);
    if (users++ == 0) {
        (void)backtrace(&frame, 1); /* The first call loads the unwinder, which allocates. */
        sigaction(SIGURG, NULL, &before);
        if (!(before.sa_flags & SA_SIGINFO) &&
            (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN))
            sigaction(SIGURG, &action, NULL);
    }
    pthread_mutex_unlock(&mutex);
}

void torc__stall_release(void)
{
    pthread_mutex_lock(&mutex);
    if (--users == 0 && handler_is_ours())
        sigaction(SIGURG, &before, NULL);
    pthread_mutex_unlock(&mutex);
}

void torc__stall_after_fork(void)
{
    pthread_mutex_init(&mutex, NULL);
}

/* Whether question `number` has been answered, in time. */
static bool await_answer(struct torc__stall_answer *answer, uint32_t number)
{
    const uint64_t until_ns = torc__clock_now() + ANSWER_NS;

    for (;;) {
        const uint32_t answered = atomic_load(&answer->answered);
        const uint64_t now_ns = torc__clock_now();
        struct timespec timeout;

        if (answered == number)
            return true;
        if (now_ns >= until_ns)
            return false;
        timeout = (struct timespec){.tv_nsec = (long)(until_ns - now_ns)};
        (void)syscall(SYS_futex, &answer->answered, FUTEX_WAIT_PRIVATE, answered, &timeout, NULL,
                      0);
    }
}

unsigned torc__stall_ask(struct torc__observed *observed, void **ret_frames)
{
    struct torc__stall_answer *answer = &observed->answer;
    const uint32_t number = atomic_load(&answer->wanted) + 1;

    if (atomic_load(&answer->answered) != number - 1 || !handler_is_ours())
        return 0;
    atomic_store(&answer->wanted, number);
    if (syscall(SYS_tgkill, getpid(), observed->tid, SIGURG) < 0) {
        atomic_store(&answer->wanted, number - 1);
        return 0;
    }
    if (!await_answer(answer, number))
        return 0;
    memcpy(ret_frames, answer->frames, answer->frame_count * sizeof(ret_frames[0]));
    return answer->frame_count;
}

/* ---- Guessing ---- */

/* Whether the instruction before `address` is a call. */
static bool follows_call(uintptr_t address)
{
    unsigned char code[8];

    if (address < 4096 || torc__observer_copy(code, address - 8, 8) != 8)
        return false;
#if defined(__x86_64__)
    if (code[3] == 0xe8)
        return true; /* call to a place */
    for (unsigned length = 2; length <= 7; length++) {
        if (length != 5 && code[8 - length] == 0xff && (code[9 - length] >> 3 & 7) == 2)
            return true; /* call through a register or memory */
    }
    return false;
#else
    uint32_t instruction;

    memcpy(&instruction, code + 4, sizeof(instruction));
#if defined(__aarch64__)
    return (instruction & 0xfc000000) == 0x94000000 || (instruction & 0xfffffc1f) == 0xd63f0000;
#else
    return (instruction & 0xfff) == 0x0ef || (instruction & 0xfff) == 0x0e7 ||
           (instruction >> 16 & 0xf07f) == 0x9002;
#endif
#endif
}

/* Where the running fiber's stack ends, if `stack` is in it. */
static LOOKS_AT_OTHERS uintptr_t top_of_stack(const struct torc__shard *shard, uintptr_t stack)
{
    const struct torc_fiber *fiber = PEEK(shard->running);
    const struct torc__stack *record = PEEK(fiber->stack);
    const uintptr_t top = record != NULL ? (uintptr_t)PEEK(record->top) : 0;

    if (record == NULL || stack < (uintptr_t)PEEK(record->low) || stack >= top)
        return stack + GUESS_WORDS * sizeof(uintptr_t);
    return top;
}

unsigned torc__stall_guess(struct torc__observed *observed, uintptr_t pc, uintptr_t stack,
                           void **ret_frames)
{
    const uintptr_t top = top_of_stack(observed->shard, stack);
    uintptr_t words[GUESS_WORDS];
    size_t size = top - stack < sizeof(words) ? top - stack : sizeof(words);
    unsigned count = 0;

    ret_frames[count++] = (void *)pc;
    size = torc__observer_copy(words, stack, size);
    for (size_t i = 0; i < size / sizeof(words[0]) && count < GUESS_FRAMES; i++) {
        if (torc__symbol_is_code((void *)words[i]) && follows_call(words[i]))
            ret_frames[count++] = (void *)words[i];
    }
    return count;
}
