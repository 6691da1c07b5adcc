/* SPDX-License-Identifier: MIT */
/*
 * log.c - a small replicated log, and a simulation that finds out whether it keeps its word.
 *
 * Three hosts keep the log; an entry counts as written when two of them have acknowledged it. Then
 * it has to be on two of them whatever happens to any one at a time. The scenario writes entries
 * while hosts lose their power and come back, and in the end looks for all that it was promised.
 *
 *     ./log                 a thousand seeds; --help tells of other ways to run it
 *     ./log --careless      with a mistake that programs like this one do have; see open_log()
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <torc/sim_search.h>
#include <torc/torc.h>

enum {
    PORT = 7000,
    REPLICAS = 3,
    MAJORITY = 2,
    ENTRIES = 12,
};

enum kind {
    WRITE_ENTRY,
    READ_ENTRY,
};

/* A request, and its answer: READ_ENTRY fills `value`. */
struct message {
    uint64_t kind;
    uint64_t index;
    uint64_t value; /* 0: there is none */
};

/* ---- A host that keeps the log: an ordinary program ---- */

struct replica {
    bool careless;
    int log;
};

/*
 * The mistake: after a crash a file that was synchronised is whole, but whether its name is still
 * there is another matter, until the directory has been synchronised, too.
 */
static int open_log(bool careless)
{
    const int log = torc_open("/log", O_RDWR | O_CREAT, 0600);
    int directory;
    int result;

    if (log < 0 || careless)
        return log;
    directory = torc_open("/", O_RDONLY | O_DIRECTORY, 0);
    result = directory < 0 ? directory : torc_fsync(directory);
    if (directory >= 0)
        (void)torc_close(directory);
    if (result == 0)
        return log;
    (void)torc_close(log);
    return result;
}

static int carry_out(int log, struct message *message)
{
    const off_t offset = (off_t)(message->index * sizeof(message->value));
    ssize_t count;
    int result;

    if (message->kind == READ_ENTRY) {
        message->value = 0;
        count = torc_pread(log, &message->value, sizeof(message->value), offset);
        return count < 0 ? (int)count : 0;
    }
    result = torc_pwrite_all(log, &message->value, sizeof(message->value), offset, NULL);
    return result < 0 ? result : torc_fdatasync(log);
}

/* Serve one client after the other, until something fails: then begin anew. */
static int serve(struct replica *replica, int listener)
{
    struct message message;
    int result = 0;
    const int client = torc_accept(listener, NULL);

    if (client < 0)
        return client;
    while (result == 0 && torc_recv_all(client, &message, sizeof(message), NULL) == 0) {
        result = carry_out(replica->log, &message);
        if (result == 0)
            result = torc_send_all(client, &message, sizeof(message), NULL);
    }
    (void)torc_close(client);
    return torc_cancelled();
}

static int keep_log(void *arg)
{
    struct replica *replica = arg;
    struct torc_address any;
    int listener = torc_address_parse("0.0.0.0:7000", &any);

    while ((replica->log = open_log(replica->careless)) < 0 && torc_sleep(TORC_MILLISECOND) == 0)
        ;
    while (listener <= 0 && torc_cancelled() == 0)
        listener = torc_tcp_listen(&any, NULL);
    while (torc_cancelled() == 0)
        (void)serve(replica, listener);
    (void)torc_close(replica->log);
    return torc_close(listener);
}

static int replica_main(void *arg)
{
    struct replica replica = {.careless = *(const bool *)arg};

    return torc_run(keep_log, &replica, NULL);
}

/* ---- The client ---- */

struct ask {
    struct torc_sim_host *host;
    struct message message;
    bool answered;
};

static int ask_host(void *arg)
{
    struct ask *ask = arg;
    int result = torc_tcp_connect_name(torc_sim_host_name(ask->host), PORT, NULL);
    const int fd = result;

    if (fd < 0)
        return 0; /* It is down. */
    result = torc_send_all(fd, &ask->message, sizeof(ask->message), NULL);
    if (result == 0)
        result = torc_recv_all(fd, &ask->message, sizeof(ask->message), NULL);
    ask->answered = result == 0;
    (void)torc_close(fd);
    return 0;
}

/* Ask all hosts at once, for half a second. Returns how many have answered with this value. */
static unsigned ask_all(struct torc_sim_host *const *hosts, const struct message *message,
                        uint64_t value)
{
    struct ask asks[REPLICAS];
    struct torc_scope scope;
    unsigned count = 0;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_SECOND / 2);
    for (unsigned i = 0; i < REPLICAS; i++) {
        asks[i] = (struct ask){.host = hosts[i], .message = *message};
        TORC_SIM_CHECK(torc_scope_spawn(&scope, ask_host, &asks[i]) == 0);
    }
    (void)torc_scope_close(&scope);
    for (unsigned i = 0; i < REPLICAS; i++)
        count += asks[i].answered && asks[i].message.value == value;
    return count;
}

/* ---- The scenario ---- */

/* One host at a time loses its power for a while. */
static int break_hosts(void *arg)
{
    struct torc_sim_host *const *hosts = arg;

    for (;;) {
        struct torc_sim_host *victim = hosts[torc_sim_random_below(REPLICAS)];

        if (torc_sleep(torc_sim_random_below(2 * TORC_SECOND)) < 0)
            return 0;
        torc_sim_host_crash(victim);
        (void)torc_sleep(torc_sim_random_below(TORC_SECOND));
        TORC_SIM_CHECK(torc_sim_host_restart(victim) == 0);
    }
}

static void look_for(struct torc_sim_host *const *hosts, uint64_t index)
{
    const struct message message = {.kind = READ_ENTRY, .index = index};

    for (unsigned tries = 0; tries < 100; tries++) {
        if (ask_all(hosts, &message, index + 1) >= MAJORITY)
            return;
    }
    TORC_SIM_CHECK(!"what was promised is there");
}

static int scenario(void *arg)
{
    static const char *const names[REPLICAS] = {"first", "second", "third"};
    struct torc_sim_host *hosts[REPLICAS];
    bool promised[ENTRIES] = {false};
    struct torc_scope breaking;

    for (unsigned i = 0; i < REPLICAS; i++)
        TORC_SIM_CHECK(torc_sim_host_start(names[i], NULL, replica_main, arg, &hosts[i]) == 0);
    torc_scope_open(&breaking, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&breaking, break_hosts, hosts) == 0);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        const struct message message = {.kind = WRITE_ENTRY, .index = i, .value = i + 1};

        promised[i] = ask_all(hosts, &message, i + 1) >= MAJORITY;
        (void)torc_sleep(torc_sim_random_below(TORC_SECOND));
    }
    torc_scope_cancel(&breaking);
    (void)torc_scope_close(&breaking);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        if (promised[i])
            look_for(hosts, i);
    }
    return 0;
}

int main(int argc, char **argv)
{
    bool careless = argc > 1 && strcmp(argv[1], "--careless") == 0;

    if (careless) {
        argv[1] = argv[0];
        argv++;
        argc--;
    }
    return torc_sim_main(argc, argv, scenario, &careless, NULL);
}
