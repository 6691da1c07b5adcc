/* SPDX-License-Identifier: MIT */
/*
 * harness.c - the main function of all tests: on check, in fork mode.
 *
 * A failure ends the child process with _exit(), so it may happen on a fiber's stack, or on another
 * thread, without anything being unwound.
 */
#define HARNESS_POSIX_REAL
#include "harness/harness.h"
#include "harness/not_simulated.h"
#include "harness/posix.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <torc/sim.h>
#include <unistd.h>

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define TIMEOUT_S      20
#define SLOW_TIMEOUT_S 200
#define SKIPPED_STATUS 77

/* What TEST() makes, between symbols of the linker's. */
extern const TTest *__start_harness_tests[];
extern const TTest *__stop_harness_tests[];

/* Shared with the children: how many of them were skipped. */
static atomic_uint *skipped_count;

static unsigned fds_before;
static unsigned real_fds_before;
static uint64_t random_seed;
static atomic_uint_fast64_t random_state;

/* It loads a library of its own into the program. */
bool harness_is_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");

    return preloaded != NULL && strstr(preloaded, "vgpreload") != NULL;
}

bool harness_is_slow(void)
{
    return UNDER_ASAN || UNDER_TSAN || harness_is_valgrind() || getenv("TORC_TEST_SLOW") != NULL;
}

bool harness_is_simulated(void)
{
    static int answer = -1;

    if (answer < 0) {
        const char *driver = getenv("TORC_DRIVER");

        answer = driver != NULL && strcmp(driver, "sim") == 0;
    }
    return answer;
}

unsigned harness_scaled(unsigned count)
{
    return harness_is_slow() ? count / 10 : count;
}

static unsigned real_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    if (dir == NULL)
        FAIL("/proc/self/fd: %s", strerror(errno));
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 3; /* ".", ".." and the one that reads the directory. */
}

/* Weak: some tests bring parts of the library of their own, which this would double. */
extern __typeof__(torc_sim_files) torc_sim_files __attribute__((weak));

/* Of a simulated process, which has its own 0, 1 and 2. */
unsigned harness_open_fds(void)
{
    if (!harness_is_simulated())
        return real_fds();
    return 3 + (torc_sim_files != NULL ? torc_sim_files() : 0);
}

/* splitmix64: any state is a good one, and threads can share it. */
uint64_t harness_random(void)
{
    uint64_t z = atomic_fetch_add(&random_state, UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t harness_random_below(uint32_t limit)
{
    return (uint32_t)(((harness_random() >> 32) * limit) >> 32);
}

void harness_skip(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    flockfile(stdout);
    fputs("skipped: ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    fflush(stdout);
    funlockfile(stdout);
    va_end(arguments);
    atomic_fetch_add(skipped_count, 1);
}

/* ---- Failures ---- */

void harness_fail(const char *file, int line, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    const bool random_used = atomic_load(&random_state) != random_seed;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (random_used)
        fprintf(stderr, "to repeat: TORC_TEST_SEED=%" PRIu64 "\n", random_seed);
    _ck_assert_failed(file, line, "Failed", "%s", text);
    abort(); /* For the compiler, which does not know that check never returns. */
}

/* " (-ECANCELED)" for what may be an error, else nothing. */
static const char *error_name(intmax_t value, char *text, size_t size)
{
    const char *name = value < 0 && value > -4096 ? strerrorname_np((int)-value) : NULL;

    text[0] = '\0';
    if (name != NULL)
        snprintf(text, size, " (-%s)", name);
    return text;
}

void harness_fail_int(const char *file, int line, const char *what, intmax_t left, intmax_t right)
{
    char left_name[32];
    char right_name[32];

    harness_fail(file, line, "%s: left is %" PRIdMAX "%s, right is %" PRIdMAX "%s", what, left,
                 error_name(left, left_name, sizeof(left_name)), right,
                 error_name(right, right_name, sizeof(right_name)));
}

void harness_fail_uint(const char *file, int line, const char *what, uintmax_t left,
                       uintmax_t right)
{
    harness_fail(file, line, "%s: left is %" PRIuMAX ", right is %" PRIuMAX, what, left, right);
}

bool harness_same_text(const char *left, const char *right)
{
    return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
}

void harness_expect_mem(const char *file, int line, const char *what, const void *left,
                        const void *right, size_t size)
{
    const unsigned char *a = left;
    const unsigned char *b = right;

    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) {
            harness_fail(file, line, "%s: byte %zu of %zu is 0x%02x, not 0x%02x", what, i, size,
                         a[i], b[i]);
        }
    }
}

/* ---- Deaths ---- */

static _Noreturn void run_doomed(void (*body)(void), int stderr_fd)
{
    const struct rlimit no_core = {0, 0};

    setrlimit(RLIMIT_CORE, &no_core);
    dup2(stderr_fd, STDERR_FILENO);
    body();
    _exit(0);
}

static void collect_text(int fd, char *text, size_t size)
{
    char rest[512];
    size_t length = 0;
    ssize_t count;

    do {
        const bool room = length < size - 1;

        count = read(fd, room ? text + length : rest, room ? size - 1 - length : sizeof(rest));
        if (count > 0 && room)
            length += (size_t)count;
    } while (count > 0 || (count < 0 && errno == EINTR));
    text[length] = '\0';
}

void harness_watch_death(void (*body)(void), struct harness_death *ret_death)
{
    int ends[2];
    pid_t child;

    EXPECT_INT(pipe2(ends, O_CLOEXEC), ==, 0);
    fflush(NULL);
    child = fork();
    EXPECT_INT(child, >=, 0);
    if (child == 0)
        run_doomed(body, ends[1]);
    close(ends[1]);
    collect_text(ends[0], ret_death->text, sizeof(ret_death->text));
    close(ends[0]);
    EXPECT_INT(waitpid(child, &ret_death->status, 0), ==, child);
}

void harness_expect_death(void (*body)(void), int signal, const char *text)
{
    struct harness_death death;

    harness_watch_death(body, &death);
    EXPECT_MSG(WIFSIGNALED(death.status), "status 0x%x, said: %s", (unsigned)death.status,
               death.text);
    EXPECT_MSG(WTERMSIG(death.status) == signal, "by %s, said: %s",
               strsignal(WTERMSIG(death.status)), death.text);
    EXPECT_MSG(strstr(death.text, text) != NULL, "\"%s\" is not in: %s", text, death.text);
}

/* ---- Running ---- */

/* Both run in the test's own process. */
static void before_test(void)
{
    const char *seed = getenv("TORC_TEST_SEED");
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    random_seed =
        seed ? strtoull(seed, NULL, 0) : (uint64_t)now.tv_sec << 20 ^ (uint64_t)now.tv_nsec;
    atomic_store(&random_state, random_seed);
    mallopt(M_ARENA_MAX, 1); /* One arena for all threads makes memory in use countable. */
    fds_before = harness_open_fds();
    real_fds_before = real_fds();
}

static void after_test(void)
{
    EXPECT_UINT(harness_open_fds(), ==, fds_before);
    EXPECT_UINT(real_fds(), ==, real_fds_before);
}

static int by_line(const void *left, const void *right)
{
    const TTest *a = *(const TTest *const *)left;
    const TTest *b = *(const TTest *const *)right;
    const int files = strcmp(a->file, b->file);

    return files != 0 ? files : (a->line > b->line) - (a->line < b->line);
}

static bool is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strstr(name, argv[i]) != NULL)
            return true;
    }
    return argc < 2;
}

/* Whether a test is none of the simulated driver's; then it is counted as skipped. */
static bool is_not_simulated(const char *name)
{
    for (size_t i = 0; harness_is_simulated() && i < ARRAY_LENGTH(not_simulated); i++) {
        if (strcmp(name, not_simulated[i].name) == 0) {
            harness_skip("%s: it %s", name, not_simulated[i].reason);
            return true;
        }
    }
    return false;
}

static TCase *make_case(const TTest *test)
{
    const bool slow = harness_is_slow() && getenv("CK_TIMEOUT_MULTIPLIER") == NULL;
    TCase *tcase = tcase_create(test->name);

    tcase_add_checked_fixture(tcase, before_test, after_test);
    tcase_set_timeout(tcase, slow ? SLOW_TIMEOUT_S : TIMEOUT_S);
    tcase_add_test(tcase, test);
    return tcase;
}

static int run_suite(Suite *suite)
{
    const unsigned left_out = atomic_load(skipped_count); /* before it has begun */
    SRunner *runner = srunner_create(suite);
    int failed;
    int run;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    run = srunner_ntests_run(runner);
    srunner_free(runner);
    if (run == 0 && atomic_load(skipped_count) == 0) {
        fputs("no such test\n", stderr);
        return EXIT_FAILURE;
    }
    if (failed == 0 && (unsigned)run == atomic_load(skipped_count) - left_out)
        return SKIPPED_STATUS;
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const size_t count = (size_t)(__stop_harness_tests - __start_harness_tests);
    const bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
    Suite *suite = list ? NULL : suite_create(argv[0]);

    skipped_count = mmap(NULL, sizeof(*skipped_count), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    qsort(__start_harness_tests, count, sizeof(const TTest *), by_line);
    for (size_t i = 0; i < count; i++) {
        const TTest *test = __start_harness_tests[i];

        if (list) {
            puts(test->name);
        } else if (is_wanted(test->name, argc, argv) && !is_not_simulated(test->name)) {
            suite_add_tcase(suite, make_case(test));
        }
    }
    return list ? EXIT_SUCCESS : run_suite(suite);
}
