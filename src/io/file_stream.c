/* SPDX-License-Identifier: MIT */
/*
 * file_stream.c - a file from one end to the other, with several blocks on the way.
 *
 * The blocks of a window are a ring: a reader asks for them in order and takes them in order, a
 * writer fills them in order and looks at each again before it fills it once more. A transfer that
 * was short is completed before what follows counts.
 */
#include "fiber/sanitizer.h"
#include "io/await.h"
#include <errno.h>
#include <string.h>
#include <torc/file.h>
#include <torc/file_stream.h>

#define BLOCK_SIZE_MAX ((size_t)1 << 30)

static int prepare_window(const struct torc_file_window *window, off_t offset)
{
    if (window->count == 0 || window->block_size == 0 || window->block_size > BLOCK_SIZE_MAX ||
        offset < 0)
        return -EINVAL;
    for (unsigned i = 0; i < window->count; i++) {
        window->blocks[i]._memory = (char *)window->memory + i * window->block_size;
        window->blocks[i]._length = 0;
        window->blocks[i]._on_way = false;
    }
    return 0;
}

static unsigned next_index(const struct torc_file_window *window, unsigned index)
{
    return index + 1 == window->count ? 0 : index + 1;
}

static int wait_for_block(struct torc_file_block *block)
{
    block->_on_way = false;
    return torc_op_wait(&block->_op);
}

/* Nobody wants the result of what is on the way. */
static void drop_blocks(const struct torc_file_window *window)
{
    for (unsigned i = 0; i < window->count; i++) {
        if (window->blocks[i]._on_way)
            torc_op_cancel(&window->blocks[i]._op);
    }
    for (unsigned i = 0; i < window->count; i++) {
        if (window->blocks[i]._on_way)
            (void)wait_for_block(&window->blocks[i]);
    }
}

/* ---- Reading ---- */

/* Ask for the bytes at `offset`, to be put behind the `filled` ones that the block has. */
static void ask(struct torc_file_reader *reader, struct torc_file_block *block, off_t offset,
                size_t filled)
{
    io_uring_prep_read(torc_op_prepare(&block->_op), reader->_fd, block->_memory + filled,
                       (unsigned)(reader->_window.block_size - filled), (uint64_t)offset);
    block->_offset = offset;
    block->_length = filled;
    block->_on_way = true;
}

static void ask_for_next(struct torc_file_reader *reader, struct torc_file_block *block)
{
    ask(reader, block, reader->_offset, 0);
    reader->_offset += (off_t)reader->_window.block_size;
}

int torc_file_reader_open(struct torc_file_reader *reader, int fd, off_t offset,
                          const struct torc_file_window *window)
{
    int result = prepare_window(window, offset);

    if (result < 0)
        return result;
    *reader = (struct torc_file_reader){._window = *window, ._fd = fd, ._offset = offset};
    for (unsigned i = 0; i < window->count; i++)
        ask_for_next(reader, &window->blocks[i]);
    return 0;
}

/* The caller is done with the first block's data. */
static void take_back(struct torc_file_reader *reader)
{
    struct torc_file_block *block = &reader->_window.blocks[reader->_first];

    reader->_lent = false;
    if (block->_length == reader->_window.block_size) {
        ask_for_next(reader, block);
        reader->_first = next_index(&reader->_window, reader->_first);
    } else {
        /* It was short, which is the end as a rule; to know, its rest is asked for. */
        ask(reader, block, block->_offset, block->_length);
    }
}

static int wait_for_read(struct torc_file_reader *reader, struct torc_file_block *block)
{
    int result = wait_for_block(block);

    while (torc__is_disturbed(result)) {
        ask(reader, block, block->_offset, block->_length);
        result = wait_for_block(block);
    }
    return result;
}

ssize_t torc_file_reader_next(struct torc_file_reader *reader, const void **ret_data)
{
    struct torc_file_block *block;
    size_t filled;
    int result;

    if (reader->_failure < 0 || reader->_ended)
        return reader->_failure;
    if (reader->_lent)
        take_back(reader);
    block = &reader->_window.blocks[reader->_first];
    filled = block->_length;
    result = wait_for_read(reader, block);
    /* With O_DIRECT a file's last part may end where nothing can be asked for. */
    if (result == 0 || (result == -EINVAL && filled > 0)) {
        reader->_ended = true;
        return 0;
    }
    if (result < 0) {
        reader->_failure = result;
        return result;
    }
    torc__sanitizer_kernel_wrote(block->_memory + filled, result);
    *ret_data = block->_memory + filled;
    block->_length += (size_t)result;
    block->_offset += result;
    reader->_lent = true;
    return result;
}

void torc_file_reader_close(struct torc_file_reader *reader)
{
    drop_blocks(&reader->_window);
}

/* ---- Writing ---- */

int torc_file_writer_open(struct torc_file_writer *writer, int fd, off_t offset,
                          const struct torc_file_window *window)
{
    int result = prepare_window(window, offset);

    if (result < 0)
        return result;
    *writer = (struct torc_file_writer){._window = *window, ._fd = fd, ._offset = offset};
    return 0;
}

/* Send the current block on its way, if there is anything in it; the next one is current then. */
static void send_current(struct torc_file_writer *writer)
{
    struct torc_file_block *block = &writer->_window.blocks[writer->_current];

    if (block->_length == 0 || block->_on_way)
        return;
    io_uring_prep_write(torc_op_prepare(&block->_op), writer->_fd, block->_memory,
                        (unsigned)block->_length, (uint64_t)writer->_offset);
    block->_offset = writer->_offset;
    block->_on_way = true;
    writer->_offset += (off_t)block->_length;
    writer->_current = next_index(&writer->_window, writer->_current);
}

/* Wait until a block has been written whole; it is empty then. */
static void reap(struct torc_file_writer *writer, struct torc_file_block *block)
{
    int result;

    if (!block->_on_way)
        return;
    result = wait_for_block(block);
    if (torc__is_disturbed(result))
        result = 0;
    if (result >= 0 && (size_t)result < block->_length) {
        result = torc_pwrite_all(writer->_fd, block->_memory + result,
                                 block->_length - (size_t)result, block->_offset + result, NULL);
    }
    block->_length = 0;
    if (result < 0 && writer->_failure == 0)
        writer->_failure = result;
}

int torc_file_writer_write(struct torc_file_writer *writer, const void *data, size_t length)
{
    const char *from = data;

    while (length > 0 && writer->_failure == 0) {
        struct torc_file_block *block = &writer->_window.blocks[writer->_current];
        size_t room;

        reap(writer, block);
        room = writer->_window.block_size - block->_length;
        if (room > length)
            room = length;
        memcpy(block->_memory + block->_length, from, room);
        block->_length += room;
        from += room;
        length -= room;
        if (block->_length == writer->_window.block_size)
            send_current(writer);
    }
    return writer->_failure;
}

int torc_file_writer_flush(struct torc_file_writer *writer)
{
    if (writer->_failure == 0)
        send_current(writer);
    for (unsigned i = 0; i < writer->_window.count; i++) {
        reap(writer, &writer->_window.blocks[writer->_current]);
        writer->_current = next_index(&writer->_window, writer->_current);
    }
    return writer->_failure;
}

int torc_file_writer_close(struct torc_file_writer *writer)
{
    if (writer->_failure < 0) {
        drop_blocks(&writer->_window);
    } else {
        (void)torc_file_writer_flush(writer);
    }
    return writer->_failure;
}
