/* SPDX-License-Identifier: MIT */
/*
 * files.c - a file holds just what calls say that they have written, and reads give just that.
 *
 * A file is changed by every call there is, in scopes that end at any instant, beside a model of it
 * in memory. Transfers are short, some fail. Then streams of blocks write and read another one, and
 * copies of both are the same.
 */
#include "books.h"
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>

#define FILE_MAX  60000u
#define PIECE_MAX 9000u
#define CHANGES   60u
#define BLOCK     4096u
#define BLOCKS    3u

/* The file, and what has to be in it. */
struct model {
    int fd;
    size_t length;
    uint64_t written; /* how many pieces: each is different */
    uint8_t bytes[FILE_MAX];
};

/* ---- Changes ---- */

/* So many bytes of `piece` are in the file now. */
static void note_write(struct model *model, size_t offset, const uint8_t *piece, size_t count)
{
    TORC_SIM_CHECK(offset + count <= FILE_MAX);
    if (count == 0)
        return;
    if (offset > model->length)
        memset(model->bytes + model->length, 0, offset - model->length);
    memcpy(model->bytes + offset, piece, count);
    if (offset + count > model->length)
        model->length = offset + count;
}

static void append(struct model *model, const uint8_t *piece, size_t count)
{
    const int64_t result =
        model->length + count > FILE_MAX ? 0 : torc_append(model->fd, piece, count);

    TORC_SIM_CHECK(result <= (int64_t)count && (result >= 0 || is_chance(result)));
    note_write(model, model->length, piece, result > 0 ? (size_t)result : 0);
}

static void write_piece(struct model *model)
{
    const size_t offset = torc_sim_random_below(FILE_MAX - PIECE_MAX);
    const size_t count = torc_sim_random_below(PIECE_MAX >> torc_sim_random_below(12)) + 1;
    const size_t first = torc_sim_random_below(count + 1);
    uint8_t piece[PIECE_MAX];
    const struct iovec vector[] = {{.iov_base = piece, .iov_len = first},
                                   {.iov_base = piece + first, .iov_len = count - first}};
    size_t done = 0;
    int64_t result;

    pattern_fill((uint8_t)++model->written, offset, piece, count);
    switch (torc_sim_random_below(4)) {
    case 0:
        append(model, piece, count);
        return;
    case 1:
        result = torc_pwrite(model->fd, piece, count, (off_t)offset);
        break;
    case 2:
        result = torc_pwritev(model->fd, vector, 2, (off_t)offset, 0);
        break;
    default:
        result = torc_pwrite_all(model->fd, piece, count, (off_t)offset, &done);
        TORC_SIM_CHECK(result == 0 ? done == count : is_chance(result));
        note_write(model, offset, piece, done);
        return;
    }
    TORC_SIM_CHECK(result <= (int64_t)count && (result >= 0 || is_chance(result)));
    note_write(model, offset, piece, result > 0 ? (size_t)result : 0);
}

static void cut(struct model *model)
{
    const size_t length = torc_sim_random_below(FILE_MAX);
    const int result = torc_ftruncate(model->fd, (off_t)length);

    TORC_SIM_CHECK(result == 0 || is_chance(result));
    if (result < 0)
        return;
    if (length > model->length)
        memset(model->bytes + model->length, 0, length - model->length);
    model->length = length;
}

/* ---- Looking ---- */

static void read_piece(const struct model *model)
{
    const size_t offset = torc_sim_random_below(FILE_MAX);
    const size_t count = torc_sim_random_below(PIECE_MAX) + 1;
    const size_t there = offset < model->length ? model->length - offset : 0;
    uint8_t piece[PIECE_MAX];
    size_t done = 0;
    int64_t result;

    if (one_in(2)) {
        result = torc_pread(model->fd, piece, count, (off_t)offset);
        done = result > 0 ? (size_t)result : 0;
        TORC_SIM_CHECK(result != 0 || there == 0);
    } else {
        result = torc_pread_all(model->fd, piece, count, (off_t)offset, &done);
        TORC_SIM_CHECK(result != 0 || done == count);
        TORC_SIM_CHECK(result != -ENODATA || done == there);
    }
    TORC_SIM_CHECK(result >= 0 || result == -ENODATA || is_chance(result));
    TORC_SIM_CHECK(done <= there && done <= count);
    TORC_SIM_CHECK(memcmp(piece, model->bytes + offset, done) == 0);
}

static void check_path(const struct model *model, const char *path)
{
    static uint8_t bytes[FILE_MAX]; /* More than a fiber's stack should hold. */
    int64_t result;

    do
        result = torc_read_file(path, bytes, sizeof(bytes));
    while (is_chance(result));
    TORC_SIM_CHECK(result == (int64_t)model->length);
    TORC_SIM_CHECK(memcmp(bytes, model->bytes, model->length) == 0);
}

/* ---- Streams of blocks ---- */

/* Returns whether all of it has been written. */
static bool write_stream(const struct model *model, int fd)
{
    uint8_t memory[BLOCKS][BLOCK];
    struct torc_file_block blocks[BLOCKS];
    const struct torc_file_window window = {blocks, BLOCKS, memory, BLOCK};
    struct torc_file_writer writer;
    size_t done = 0;
    int result = torc_file_writer_open(&writer, fd, 0, &window);

    TORC_SIM_CHECK(result == 0);
    while (result == 0 && done < model->length) {
        size_t count = torc_sim_random_below(PIECE_MAX) + 1;

        count = model->length - done < count ? model->length - done : count;
        result = torc_file_writer_write(&writer, model->bytes + done, count);
        done += count;
    }
    TORC_SIM_CHECK(result == 0 || is_chance(result));
    result = torc_file_writer_close(&writer);
    TORC_SIM_CHECK(result == 0 || is_chance(result));
    return result == 0;
}

/* What came before an error is right in any case. */
static bool read_stream(const struct model *model, int fd)
{
    uint8_t memory[BLOCKS][BLOCK];
    struct torc_file_block blocks[BLOCKS];
    const struct torc_file_window window = {blocks, BLOCKS, memory, BLOCK};
    struct torc_file_reader reader;
    const void *data;
    size_t done = 0;
    int64_t count;

    TORC_SIM_CHECK(torc_file_reader_open(&reader, fd, 0, &window) == 0);
    while ((count = torc_file_reader_next(&reader, &data)) > 0) {
        TORC_SIM_CHECK(done + (size_t)count <= model->length);
        TORC_SIM_CHECK(memcmp(data, model->bytes + done, (size_t)count) == 0);
        done += (size_t)count;
    }
    torc_file_reader_close(&reader);
    TORC_SIM_CHECK(count == 0 ? done == model->length : is_chance(count));
    return count == 0;
}

static void use_streams(const struct model *model, int fd)
{
    bool is_done = false;

    while (!is_done) {
        struct peril peril;

        peril_open(&peril);
        is_done = write_stream(model, fd);
        peril_close(&peril);
    }
    for (is_done = false; !is_done;) {
        struct peril peril;

        peril_open(&peril);
        is_done = read_stream(model, fd);
        peril_close(&peril);
    }
}

/* ---- Copies ---- */

static void copy_to(const struct model *model, int to)
{
    const int from = model->fd;
    struct torc_copy copy;
    int result;

    torc_copy_init(&copy, from, to);
    copy.in_offset = 0;
    do {
        struct peril peril;

        peril_open(&peril);
        result = torc_copy_run(&copy, torc_sim_random_below(FILE_MAX) + 1);
        peril_close(&peril);
        TORC_SIM_CHECK(result == 0 || is_chance(result));
        TORC_SIM_CHECK(copy.delivered <= copy.taken && copy.taken <= model->length);
    } while (!copy.ended || copy.delivered < copy.taken);
    TORC_SIM_CHECK(copy.delivered == model->length);
    torc_copy_finish(&copy);
}

static int open_file(const char *path)
{
    int fd;

    do
        fd = torc_open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    while (is_chance(fd));
    TORC_SIM_CHECK(fd >= 0);
    return fd;
}

static void copy_path(const struct model *model)
{
    int result;

    do {
        struct peril peril;

        peril_open(&peril);
        result = torc_copy_file("/tmp/a", "/tmp/d");
        peril_close(&peril);
        TORC_SIM_CHECK(result == 0 || is_chance(result));
    } while (result < 0);
    check_path(model, "/tmp/d");
}

/* ---- All together ---- */

static void change(struct model *model)
{
    for (unsigned i = 0; i < CHANGES; i++) {
        struct peril peril;

        peril_open(&peril);
        switch (torc_sim_random_below(8)) {
        case 0:
            cut(model);
            break;
        case 1:
        case 2:
        case 3:
            read_piece(model);
            break;
        default:
            write_piece(model);
            break;
        }
        peril_close(&peril);
    }
}

static int scenario(void *arg)
{
    static struct model model;
    const unsigned files = torc_sim_files();
    const int copies[] = {open_file("/tmp/b"), open_file("/tmp/c")};

    (void)arg;
    model = (struct model){.fd = open_file("/tmp/a")};
    change(&model);
    check_path(&model, "/tmp/a");
    use_streams(&model, copies[0]);
    check_path(&model, "/tmp/b");
    copy_to(&model, copies[1]);
    check_path(&model, "/tmp/c");
    copy_path(&model);
    (void)torc_close(model.fd);
    (void)torc_close(copies[0]);
    (void)torc_close(copies[1]);
    check_alone();
    TORC_SIM_CHECK(torc_sim_files() <= files + 2); /* The shard may keep a pipe. */
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}
