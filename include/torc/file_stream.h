/* SPDX-License-Identifier: MIT */
/*
 * torc/file_stream.h - a file from one end to the other, with several blocks on the way.
 *
 * A reader has asked for the next blocks before they are wanted; a writer goes on while the last
 * blocks are still being written. Both are for regular files and block devices, opened with or
 * without O_DIRECT, and for one fiber at a time, which ends no earlier than they do. A writer's
 * must not be opened with O_APPEND: blocks would stand in the order in which they happen to arrive.
 *
 *     static char memory[4][65536];
 *     struct torc_file_block blocks[4];
 *     const struct torc_file_window window = {blocks, 4, memory, sizeof(memory[0])};
 *
 *     result = torc_file_reader_open(&reader, fd, 0, &window);
 *     if (result < 0)
 *         return result;
 *     while ((count = torc_file_reader_next(&reader, &data)) > 0)
 *         consume(data, (size_t)count);
 *     torc_file_reader_close(&reader);
 *
 * When the fiber's scope gets a reason, the block that is waited for is cancelled and awaited, and
 * the call returns the reason. After an error there is nothing to do but to close, which does the
 * same with the others.
 */
#ifndef TORC_FILE_STREAM_H
#define TORC_FILE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <torc/op.h>
TORC_BEGIN_C

/* A block on its way; all fields are private. */
struct torc_file_block {
    struct torc_op _op;
    char *_memory;
    size_t _length;
    off_t _offset;
    bool _on_way;
};

/* The caller's memory, lent from open to close. */
struct torc_file_window {
    struct torc_file_block *blocks;
    unsigned count;    /* > 0; 2 to 8 are plenty */
    void *memory;      /* count * block_size bytes; aligned for O_DIRECT, if that is used */
    size_t block_size; /* > 0, at most 1 GiB; 64 KiB to 1 MiB are plenty */
};

/* All fields of these are private. */
struct torc_file_reader {
    struct torc_file_window _window;
    unsigned _first; /* the block whose data come next */
    int _fd;
    off_t _offset; /* what is asked for next */
    int _failure;
    bool _ended;
    bool _lent; /* the first block's data are with the caller */
};

struct torc_file_writer {
    struct torc_file_window _window;
    unsigned _current; /* the block that is being filled */
    int _fd;
    off_t _offset; /* where it goes */
    int _failure;
};

/*
 * Begin to read `fd` from `offset`. The first blocks are asked for at once. On success
 * torc_file_reader_close() has to follow. The descriptor stays the caller's.
 *
 * -EINVAL     the window or the offset is none.
 */
TORC_CHECK int torc_file_reader_open(struct torc_file_reader *reader, int fd, off_t offset,
                                     const struct torc_file_window *window);

/*
 * The data that come next, in the window's memory; valid until the next call. Suspends unless they
 * are there. Returns how many bytes, at most a block; 0 at the end; or an error.
 */
TORC_CHECK ssize_t torc_file_reader_next(struct torc_file_reader *reader, const void **ret_data);

/* End, and wait for what is on the way. Suspends; not cancellable. */
TORC_API void torc_file_reader_close(struct torc_file_reader *reader);

/* Begin to write to `fd` from `offset`. As torc_file_reader_open(). */
TORC_CHECK int torc_file_writer_open(struct torc_file_writer *writer, int fd, off_t offset,
                                     const struct torc_file_window *window);

/*
 * Have `length` bytes written, which are copied. Suspends while all blocks are on the way. Returns
 * 0, or the error of this or an earlier write; what has been written by then is not said.
 */
TORC_CHECK int torc_file_writer_write(struct torc_file_writer *writer, const void *data,
                                      size_t length);

/*
 * Wait until all has been written, also the last block, which may be short. Suspends. That it lasts
 * is torc_fsync()'s business. With O_DIRECT only what is aligned can be written.
 */
TORC_CHECK int torc_file_writer_flush(struct torc_file_writer *writer);

/*
 * Flush, unless there was an error, and end. Suspends. Returns 0 if all has been written, else the
 * first error; nothing is on the way any more in both cases.
 */
TORC_CHECK int torc_file_writer_close(struct torc_file_writer *writer);

TORC_END_C
#endif
