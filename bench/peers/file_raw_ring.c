/* SPDX-License-Identifier: MIT */
/*
 * file_raw_ring.c - reads of a file by hand on io_uring: all that can go in and all that is there
 * by one system call. The yardstick; see file_load.h.
 */
#include "file_load.h"
#include "ring.h"

static struct ring ring;
static uint64_t offsets[FILE_LOAD_DEPTH_MAX];

/* Returns whether there was something to read. */
static bool start_read(struct file_load *load, unsigned slot)
{
    if (!file_load_next(load, &offsets[slot]))
        return false;
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    io_uring_prep_read(sqe, load->fd, file_load_buffer(load, slot), (unsigned)load->block,
                       offsets[slot]);
    io_uring_sqe_set_data64(sqe, slot);
    return true;
}

int main(int argc, char **argv)
{
    struct file_load load;
    unsigned in_flight = 0;

    ring_open(&ring, FILE_LOAD_DEPTH_MAX, FILE_LOAD_DEPTH_MAX * 2);
    file_load_open(&load, argc, argv);
    file_load_start(&load);
    for (unsigned slot = 0; slot < load.depth; slot++)
        in_flight += start_read(&load, slot);
    while (in_flight > 0) {
        ring_turn(&ring, 1);
        for (unsigned left = ring_ready(&ring); left > 0; left--) {
            const unsigned slot = (unsigned)ring_first(&ring)->user_data;
            const int result = ring_first(&ring)->res;

            ring_pop(&ring);
            file_load_done(&load, slot, offsets[slot], result);
            in_flight -= !start_read(&load, slot);
        }
    }
    file_load_stop(&load);
    file_load_report(&load);
    return 0;
}
