/* SPDX-License-Identifier: MIT */
/*
 * file_libuv.c - reads of a file by uv_fs_read(), which libuv's thread pool does; see file_load.h.
 * UV_THREADPOOL_SIZE in the environment says how many threads, 4 without.
 */
#include "file_load.h"

#include <uv.h>

static struct file_load load;
static uv_fs_t requests[FILE_LOAD_DEPTH_MAX];
static uint64_t offsets[FILE_LOAD_DEPTH_MAX];

static void completed(uv_fs_t *request);

static void start_read(unsigned slot)
{
    if (!file_load_next(&load, &offsets[slot]))
        return;
    const uv_buf_t buffer = uv_buf_init(file_load_buffer(&load, slot), (unsigned)load.block);
    const int error = uv_fs_read(uv_default_loop(), &requests[slot], load.fd, &buffer, 1,
                                 (int64_t)offsets[slot], completed);
    if (error < 0) {
        fprintf(stderr, "uv_fs_read: %s\n", uv_strerror(error));
        exit(1);
    }
}

static void completed(uv_fs_t *request)
{
    const unsigned slot = (unsigned)(request - requests);
    const ssize_t result = request->result;

    uv_fs_req_cleanup(request);
    file_load_done(&load, slot, offsets[slot], result);
    start_read(slot);
}

int main(int argc, char **argv)
{
    file_load_open(&load, argc, argv);
    file_load_start(&load);
    for (unsigned slot = 0; slot < load.depth; slot++)
        start_read(slot);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    file_load_stop(&load);
    file_load_report(&load);
    return 0;
}
