/* SPDX-License-Identifier: MIT */
/*
 * file_load.h - what the programs that read a file have in common: what to read, and the report.
 *
 *     PROGRAM FILE [--seconds S] [--block BYTES] [--depth N] [--direct 0|1] [--sequential 0|1]
 *
 * Reads blocks at random places until the time is over, or with --sequential 1 the file once, from
 * begin to end. `depth` reads are under way at a time. Each 4 KiB of the file begin with their own
 * offset (files.py writes it so), by which every read is verified.
 *
 * Prints one object of JSON. Nothing here takes part in how a block is read.
 */
#ifndef TORC_BENCH_PEERS_FILE_LOAD_H
#define TORC_BENCH_PEERS_FILE_LOAD_H

#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum {
    FILE_LOAD_DEPTH_MAX = 256,
    FILE_LOAD_BLOCK_MAX = 4 << 20,
    FILE_LOAD_STAMP_EVERY = 4096, /* bytes; also what O_DIRECT is content with */
    FILE_LOAD_LOOK_EVERY = 32,    /* reads between two looks at the clock */
};

struct file_load {
    int fd;
    uint64_t size; /* of the file, in whole blocks */
    uint64_t block;
    unsigned depth;
    bool direct;
    bool sequential;
    bool over; /* no read is to be started any more */
    double seconds;
    char *memory; /* depth blocks */
    uint64_t seed;
    uint64_t started;
    uint64_t done;
    double begin_sec;
    double begin_cpu_sec;
    double taken_sec;
    double taken_cpu_sec;
};

static inline double file_load_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* The CPU time of all threads of this process. */
static inline double file_load_cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static inline _Noreturn void file_load_fail(const char *what)
{
    perror(what);
    exit(1);
}

static inline double file_load_number(const char *text, double min, double max)
{
    char *end;
    const double value = strtod(text, &end);

    if (*text == '\0' || *end != '\0' || !(value >= min && value <= max)) {
        fprintf(stderr, "'%s' is not a number from %g to %g\n", text, min, max);
        exit(2);
    }
    return value;
}

static inline const char *file_load_parse(struct file_load *load, int argc, char **argv)
{
    static const struct option known[] = {
        {"seconds", required_argument, NULL, 's'},    {"block", required_argument, NULL, 'b'},
        {"depth", required_argument, NULL, 'd'},      {"direct", required_argument, NULL, 'o'},
        {"sequential", required_argument, NULL, 'q'}, {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 's')
            load->seconds = file_load_number(optarg, 0.001, 600);
        else if (option == 'b')
            load->block =
                (uint64_t)file_load_number(optarg, FILE_LOAD_STAMP_EVERY, FILE_LOAD_BLOCK_MAX);
        else if (option == 'd')
            load->depth = (unsigned)file_load_number(optarg, 1, FILE_LOAD_DEPTH_MAX);
        else if (option == 'o')
            load->direct = file_load_number(optarg, 0, 1) > 0;
        else if (option == 'q')
            load->sequential = file_load_number(optarg, 0, 1) > 0;
        else
            exit(2);
    }
    if (optind + 1 != argc || load->block % FILE_LOAD_STAMP_EVERY != 0) {
        fprintf(stderr,
                "usage: %s FILE [--seconds S] [--block BYTES, a multiple of 4096] [--depth N]\n"
                "       [--direct 0|1] [--sequential 0|1]\n",
                argv[0]);
        exit(2);
    }
    return argv[optind];
}

/* Read the command line and open the file. */
static inline void file_load_open(struct file_load *load, int argc, char **argv)
{
    struct stat status;

    *load = (struct file_load){.block = 4096, .depth = 32, .seconds = 1, .seed = 1};
    const char *path = file_load_parse(load, argc, argv);
    load->fd = open(path, O_RDONLY | O_CLOEXEC | (load->direct ? O_DIRECT : 0));
    if (load->fd < 0 || fstat(load->fd, &status) != 0)
        file_load_fail(path);
    load->size = (uint64_t)status.st_size / load->block * load->block;
    if (load->size == 0) {
        fprintf(stderr, "%s is smaller than a block\n", path);
        exit(2);
    }
    load->memory = aligned_alloc(FILE_LOAD_STAMP_EVERY, load->depth * load->block);
    if (load->memory == NULL)
        file_load_fail("memory");
    memset(load->memory, 0xff, load->depth * load->block);
}

/* What is measured begins here, with the program ready to read, */
static inline void file_load_start(struct file_load *load)
{
    load->begin_sec = file_load_now();
    load->begin_cpu_sec = file_load_cpu();
}

/* and ends here, with everything read. */
static inline void file_load_stop(struct file_load *load)
{
    load->taken_sec = file_load_now() - load->begin_sec;
    load->taken_cpu_sec = file_load_cpu() - load->begin_cpu_sec;
}

static inline char *file_load_buffer(const struct file_load *load, unsigned slot)
{
    return load->memory + slot * load->block;
}

/* Where to read next (xorshift64*). False when nothing is to be read any more. */
static inline bool file_load_next(struct file_load *load, uint64_t *ret_offset)
{
    if (load->sequential)
        load->over |= load->started * load->block >= load->size;
    else if (load->started % FILE_LOAD_LOOK_EVERY == 0)
        load->over |= file_load_now() - load->begin_sec > load->seconds;
    if (load->over)
        return false;
    if (load->sequential) {
        *ret_offset = load->started * load->block;
    } else {
        load->seed ^= load->seed >> 12;
        load->seed ^= load->seed << 25;
        load->seed ^= load->seed >> 27;
        const uint64_t random = load->seed * UINT64_C(2685821657736338717) >> 32;
        *ret_offset = random % (load->size / load->block) * load->block;
    }
    load->started++;
    return true;
}

/* A read of the block at `offset` has given `result`. Whatever is wrong ends the program. */
static inline void file_load_done(struct file_load *load, unsigned slot, uint64_t offset,
                                  int64_t result)
{
    uint64_t stamp;

    if (result != (int64_t)load->block) {
        fprintf(stderr, "a read at %llu gave %lld\n", (unsigned long long)offset,
                (long long)result);
        exit(1);
    }
    memcpy(&stamp, file_load_buffer(load, slot), sizeof(stamp));
    if (stamp != offset) {
        fprintf(stderr, "a read at %llu brought what stands at %llu\n", (unsigned long long)offset,
                (unsigned long long)stamp);
        exit(1);
    }
    load->done++;
}

static inline void file_load_report(const struct file_load *load)
{
    printf("{\"operations\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n",
           (unsigned long long)load->done, load->taken_sec, load->taken_cpu_sec);
}

#endif
