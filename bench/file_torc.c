/* SPDX-License-Identifier: MIT */
/*
 * file_torc.c - reads of a file by torc_pread(), in as many fibers as reads are to be under way;
 * see peers/file_load.h.
 */
#include "peers/file_load.h"

#include <errno.h>
#include <torc/torc.h>

struct reader {
    struct file_load *load;
    unsigned slot;
};

static int read_blocks(void *arg)
{
    struct reader *reader = arg;
    struct file_load *load = reader->load;
    char *buffer = file_load_buffer(load, reader->slot);
    uint64_t offset;

    while (file_load_next(load, &offset)) {
        const ssize_t result = torc_pread(load->fd, buffer, (size_t)load->block, (off_t)offset);
        file_load_done(load, reader->slot, offset, result);
    }
    return 0;
}

static int read_file(void *arg)
{
    static struct reader readers[FILE_LOAD_DEPTH_MAX];
    struct file_load *load = arg;
    struct torc_scope scope;
    int error = 0;

    file_load_start(load);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < load->depth && error == 0; i++) {
        readers[i] = (struct reader){.load = load, .slot = i};
        error = torc_scope_spawn(&scope, read_blocks, &readers[i]);
    }
    const int result = torc_scope_close(&scope);
    file_load_stop(load);
    return error < 0 ? error : result;
}

int main(int argc, char **argv)
{
    const struct torc_options options = {.busy_poll = TORC_BUSY_POLL_OFF}; /* As the others. */
    struct file_load load;

    file_load_open(&load, argc, argv);
    const int error = torc_run(read_file, &load, &options);
    if (error < 0) {
        fprintf(stderr, "file_torc: %s\n", torc_strerror(error));
        return 1;
    }
    file_load_report(&load);
    return 0;
}
