/* SPDX-License-Identifier: MIT */
/*
 * saves.c - a file that is replaced as a whole is never a mixture, whatever fails, is cancelled, or
 * loses its power.
 *
 * A host saves one version of a file after the other, while another fiber of it reads. In between
 * it crashes, or is killed. What is found then is a version, whole, and none that is older than one
 * that was found before.
 */
#include "books.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define PATH       "/tmp/state"
#define LENGTH_MAX 20000u
#define VERSIONS   30u
#define BOUND_NS   (600 * TORC_SECOND)

/* What is known of the file; it outlives the program, as what one has told to others does. */
struct state {
    uint64_t tried;
    uint64_t saved; /* this one or a later one is found, also after a crash; 0: perhaps none */
    uint64_t seen;  /* and this one unless there was a crash */
    bool has_ended;
    bool may_have_rest; /* temporary files may be left: it was killed */
};

static size_t length_of(uint64_t version)
{
    return 8 + (size_t)(((version * UINT64_C(0x9e3779b97f4a7c15)) >> 32) % (LENGTH_MAX - 8));
}

static size_t write_version(uint64_t version, uint8_t *bytes)
{
    const size_t length = length_of(version);

    memcpy(bytes, &version, 8);
    pattern_fill((uint8_t)version, 0, bytes + 8, length - 8);
    return length;
}

/* Returns the version. */
static uint64_t check_version(const uint8_t *bytes, size_t length)
{
    uint64_t version;

    TORC_SIM_CHECK(length >= 8);
    memcpy(&version, bytes, 8);
    TORC_SIM_CHECK(length == length_of(version));
    pattern_check((uint8_t)version, 0, bytes + 8, length - 8);
    return version;
}

/* ---- Reading ---- */

static int64_t load(uint8_t *bytes)
{
    char *data;
    size_t length;
    int result;

    if (one_in(2))
        return torc_read_file(PATH, bytes, LENGTH_MAX);
    result = torc_load_file(PATH, LENGTH_MAX, &data, &length);
    if (result < 0)
        return result;
    memcpy(bytes, data, length);
    free(data);
    return (int64_t)length;
}

/* Look at the file once. Returns 0 if that could not be done. */
static uint64_t look(struct state *state)
{
    uint8_t bytes[LENGTH_MAX];
    const uint64_t least = state->seen;
    uint64_t version = 0;
    struct peril peril;
    int64_t result;

    peril_open(&peril);
    result = load(bytes);
    peril_close(&peril);
    if (result >= 0)
        version = check_version(bytes, (size_t)result);
    TORC_SIM_CHECK(version <= state->tried);
    TORC_SIM_CHECK(version >= least || result < 0);
    TORC_SIM_CHECK(result != -ENOENT || least == 0);
    return version;
}

static int read_often(void *arg)
{
    struct state *state = arg;

    while (!state->has_ended && torc_sleep(some_time(100 * TORC_MILLISECOND)) == 0)
        (void)look(state);
    return 0;
}

/* ---- Writing ---- */

static void save(struct state *state)
{
    uint8_t bytes[LENGTH_MAX];
    const size_t length = write_version(++state->tried, bytes);
    struct peril peril;
    int result;

    peril_open(&peril);
    result = torc_save_file(PATH, bytes, length, 0600);
    peril_close(&peril);
    if (result == 0)
        state->saved = state->seen = state->tried;
}

/* A failure leaves what was, unless the removal fails, too. */
static void check_no_rest(const struct state *state)
{
    struct torc_sim_chaos chaos;
    struct torc_dir dir;
    struct torc_dir_entry entry;

    torc_sim_get_chaos(&chaos);
    if (chaos.op_error_rate != 0 || chaos.disk_error_rate != 0)
        return;
    if (state->may_have_rest || torc_dir_open(&dir, AT_FDCWD, "/tmp") < 0)
        return;
    while (torc_dir_next(&dir, &entry) > 0)
        TORC_SIM_CHECK(strcmp(entry.name, "state") == 0 || strncmp(entry.name, ".", 1) != 0);
    torc_dir_close(&dir);
}

static int keep(void *arg)
{
    struct state *state = arg;
    struct torc_scope scope;
    uint64_t found = 0;

    for (unsigned tries = 0; tries < 100 && found == 0; tries++)
        found = look(state);
    if (found > state->seen)
        state->seen = found;
    torc_scope_open(&scope, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, read_often, state) == 0);
    while (state->tried < VERSIONS) {
        save(state);
        (void)torc_sleep(some_time(100 * TORC_MILLISECOND));
    }
    state->has_ended = true;
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    check_alone();
    check_no_rest(state);
    return 0;
}

static int keeper(void *arg)
{
    return run_and_check(keep, arg, NULL);
}

static void interrupt_keeper(struct torc_sim_host *host, struct state *state)
{
    (void)torc_sleep(some_time(TORC_SECOND));
    if (!torc_sim_host_runs(host))
        return;
    state->may_have_rest = true;
    if (one_in(2)) {
        torc_sim_host_crash(host);
        state->seen = state->saved;
    } else {
        torc_sim_host_kill(host);
    }
    TORC_SIM_CHECK(torc_sim_host_restart(host) == 0);
}

static int scenario(void *arg)
{
    struct state state = {0};
    struct torc_sim_host *host;

    (void)arg;
    TORC_SIM_CHECK(torc_sim_host_start("keeper", NULL, keeper, &state, &host) == 0);
    for (uint64_t count = torc_sim_random_below(4); count > 0; count--)
        interrupt_keeper(host, &state);
    TORC_SIM_CHECK(wait_for_end(host, BOUND_NS) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}
