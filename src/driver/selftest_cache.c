/* SPDX-License-Identifier: MIT */
/*
 * selftest_cache.c - what the self-test has found is remembered: by the process, and in a file.
 *
 * The file is one line in a directory that is the user's alone; it is written under another name
 * and then renamed, so it is whole or not there. Whatever is odd about it, it is as if it were not.
 */
#include "base/environment.h"
#include "base/log.h"
#include "driver/selftest.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <torc/api.h>
#include <torc/runtime.h>
#include <unistd.h>

#define FILE_NAME "torc-selftest"
#define KEY_SIZE  256

enum origin {
    NOT_MADE,
    LEFT_OUT,
    FROM_FILE,
    MADE_NOW,
    MADE_IN_PART
};

static const struct {
    const char *passed;
    const char *failed;
} summaries[] = {
    [NOT_MADE] = {"not made", "not made"},
    [LEFT_OUT] = {"left out (TORC_SELFTEST=off)", "left out (TORC_SELFTEST=off)"},
    [FROM_FILE] = {"passed, earlier since this boot", "bugs found, earlier since this boot"},
    [MADE_NOW] = {"passed, just now", "bugs found, just now"},
    [MADE_IN_PART] = {"passed in part; for the rest memory or descriptors are wanting",
                      "bugs found; for the rest memory or descriptors are wanting"},
};

/* What this process knows. */
static struct {
    pthread_mutex_t mutex;
    struct torc__selftest known;
    unsigned told; /* what of it the log has told */
    enum origin origin;
} cache = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- The file ---- */

/* What the result holds for: this boot of this kernel, and this torc. False if unknown. */
static bool make_key(char *ret_key)
{
    char boot[64] = "";
    struct utsname names;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (file == NULL)
        return false;
    if (fgets(boot, sizeof(boot), file) == NULL)
        boot[0] = '\0';
    fclose(file);
    boot[strcspn(boot, "\n")] = '\0';
    if (boot[0] == '\0' || uname(&names) < 0)
        return false;
    (void)snprintf(ret_key, KEY_SIZE, "%s %s " TORC_VERSION, boot, names.release);
    return true;
}

/* Whether nobody else can have written there. */
static bool is_ours_alone(int fd, mode_t kind)
{
    struct stat status;

    return fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) == kind &&
           status.st_uid == geteuid() && !(status.st_mode & (S_IWGRP | S_IWOTH));
}

static int open_directory(void)
{
    const char *path = secure_getenv("XDG_RUNTIME_DIR");
    int fd;

    if (path == NULL || *path != '/')
        return -1;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && !is_ours_alone(fd, S_IFDIR)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool read_file(int directory, char *text, size_t size)
{
    int fd = openat(directory, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t count;

    if (fd < 0)
        return false;
    count = is_ours_alone(fd, S_IFREG) ? read(fd, text, size - 1) : -1;
    close(fd);
    text[count > 0 ? count : 0] = '\0';
    return count > 0 && text[count - 1] == '\n';
}

/* What the file says for these flags; nothing tested if it says nothing. */
static struct torc__selftest load(unsigned setup_flags)
{
    struct torc__selftest none = {.setup_flags = setup_flags};
    struct torc__selftest found = {0};
    char key[KEY_SIZE];
    char text[KEY_SIZE + 64];
    int directory = open_directory();
    bool is_there;
    size_t length;

    if (directory < 0)
        return none;
    is_there = read_file(directory, text, sizeof(text)) && make_key(key);
    close(directory);
    length = is_there ? strlen(key) : 0;
    if (!is_there || strncmp(text, key, length) != 0 ||
        sscanf(text + length, " %x %x %x", &found.setup_flags, &found.tested, &found.broken) != 3)
        return none;
    return found.setup_flags == setup_flags && !(found.broken & ~found.tested) ? found : none;
}

static void store(const struct torc__selftest *result)
{
    char key[KEY_SIZE];
    char text[KEY_SIZE + 64];
    char name[64];
    int directory = open_directory();
    int length;
    int fd;

    if (directory < 0)
        return;
    if (!make_key(key))
        goto close_directory;
    length = snprintf(text, sizeof(text), "%s %x %x %x\n", key, result->setup_flags, result->tested,
                      result->broken);
    (void)snprintf(name, sizeof(name), FILE_NAME ".%d.%d", (int)getpid(), (int)gettid());
    fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        goto close_directory;
    if (write(fd, text, (size_t)length) != length ||
        renameat(directory, name, directory, FILE_NAME) < 0)
        (void)unlinkat(directory, name, 0);
    close(fd);
close_directory:
    close(directory);
}

/* ---- The process ---- */

static void tell(const struct torc__selftest *result)
{
    const unsigned new = result->broken & ~cache.told;

    cache.told |= result->broken;
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        const unsigned feature = 1U << i;

        if (torc__selftest_lost(new) & feature)
            torc__log("this kernel has a bug, so a feature is not used: %s",
                      torc__selftest_reason(new, feature));
    }
}

static void learn(unsigned wanted, unsigned setup_flags)
{
    struct torc__selftest *known = &cache.known;
    struct torc__selftest found;

    if (known->setup_flags != setup_flags)
        *known = (struct torc__selftest){.setup_flags = setup_flags};
    if (known->tested == 0) {
        *known = load(setup_flags);
        cache.origin = FROM_FILE;
    }
    if (!(wanted & ~known->tested))
        return;
    found = torc__selftest_run(wanted & ~known->tested, setup_flags);
    known->tested |= found.tested;
    known->broken |= found.broken;
    cache.origin = wanted & ~known->tested ? MADE_IN_PART : MADE_NOW;
    store(known);
}

struct torc__selftest torc__selftest_get(unsigned wanted, unsigned setup_flags)
{
    static const char *const settings[] = {"on", "off", NULL};
    const int saved = errno;
    const bool is_off = torc__environment_word("TORC_SELFTEST", settings) == 1;
    struct torc__selftest result = {.setup_flags = setup_flags};

    pthread_mutex_lock(&cache.mutex);
    if (is_off) {
        cache.origin = LEFT_OUT;
    } else {
        learn(wanted, setup_flags);
        result = cache.known;
        tell(&result);
    }
    pthread_mutex_unlock(&cache.mutex);
    errno = saved;
    return result;
}

const char *torc__selftest_summary(void)
{
    const char *summary;

    pthread_mutex_lock(&cache.mutex);
    summary =
        cache.known.broken != 0 ? summaries[cache.origin].failed : summaries[cache.origin].passed;
    pthread_mutex_unlock(&cache.mutex);
    return summary;
}

static void forget(void)
{
    cache.known = (struct torc__selftest){0};
    cache.told = 0;
    cache.origin = NOT_MADE;
}

void torc__selftest_after_fork(void)
{
    if (pthread_mutex_trylock(&cache.mutex) == 0) {
        pthread_mutex_unlock(&cache.mutex);
        return;
    }
    pthread_mutex_init(&cache.mutex, NULL);
    forget();
}

void torc__selftest_forget(void)
{
    pthread_mutex_lock(&cache.mutex);
    forget();
    pthread_mutex_unlock(&cache.mutex);
}
