/* SPDX-License-Identifier: MIT */
/*
 * process_run.c - run a program to its end, with all that it reads and writes.
 *
 * One fiber feeds the child and one collects each of its streams, so neither side waits for the
 * other with a full pipe. They end when their streams do, and only then is the child waited for.
 *
 * When the scope's reason ends that, the child is stopped; and as it may have something to say in
 * its grace, and must not be stuck in saying it, they go on where they were, under a shield.
 */
#include <errno.h>
#include <string.h>
#include <torc/io.h>
#include <torc/process.h>
#include <torc/scope.h>
#include <unistd.h>

/* What a child writes beyond the room for it is read into so much of the stack, and dropped. */
#define DROP_SIZE 4096u

/*
 * When a child was stopped its pipes are soon empty and at their end, unless it has left somebody
 * behind who has them open.
 */
#define LAST_WORDS_NS TORC_SECOND

/* One stream of the child. */
struct stream {
    int *fd; /* of the process; closed, and -1, when the stream has ended */
    char *data;
    size_t size;      /* of the input, or the room for output */
    size_t done;      /* fed or stored */
    uint64_t dropped; /* read without room */
};

struct exchange {
    struct torc_process process;
    struct stream input;
    struct stream output;
    struct stream error;
};

static void end_stream(struct stream *stream)
{
    (void)torc_close(*stream->fd);
    *stream->fd = -1;
}

/* Whether an error says why this fiber is to end, and not how the stream has ended. */
static bool is_reason(ssize_t result)
{
    return result < 0 && result == torc_cancelled();
}

static int feed(void *arg)
{
    struct stream *stream = arg;

    while (stream->done < stream->size) {
        const ssize_t count =
            torc_write(*stream->fd, stream->data + stream->done, stream->size - stream->done);

        if (is_reason(count))
            return (int)count;
        if (count < 0)
            break; /* It does not read any more: its good right. */
        stream->done += (size_t)count;
    }
    end_stream(stream);
    return 0;
}

static int collect(void *arg)
{
    struct stream *stream = arg;
    char rest[DROP_SIZE];

    for (;;) {
        const size_t room = stream->size - stream->done;
        char *to = room > 0 ? stream->data + stream->done : rest;
        const ssize_t count = torc_read(*stream->fd, to, room > 0 ? room : sizeof(rest));

        if (is_reason(count))
            return (int)count;
        if (count <= 0)
            break;
        if (room > 0) {
            stream->done += (size_t)count;
        } else {
            stream->dropped += (uint64_t)count;
        }
    }
    end_stream(stream);
    return 0;
}

/* Start a fiber for each stream that has not ended. */
static int start_streams(struct torc_scope *scope, struct exchange *exchange)
{
    const struct {
        struct stream *stream;
        torc_fiber_fn *body;
    } list[] = {
        {&exchange->input, feed}, {&exchange->output, collect}, {&exchange->error, collect}};
    int result = 0;

    for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]) && result == 0; i++) {
        if (*list[i].stream->fd >= 0)
            result = torc_scope_spawn(scope, list[i].body, list[i].stream);
    }
    return result;
}

/* Serve the streams to their end, then wait for the child. */
static int serve(struct exchange *exchange, struct torc_process_status *ret_status)
{
    struct torc_scope scope;
    int started;
    int closed;

    torc_scope_open(&scope, 0);
    started = start_streams(&scope, exchange);
    if (started < 0)
        torc_scope_cancel(&scope);
    closed = torc_scope_close(&scope);
    if (started < 0)
        return started;
    return closed < 0 ? closed : torc_process_wait(&exchange->process, ret_status);
}

/* Stop the child, and let it say its last words meanwhile. */
static void stop(struct exchange *exchange, uint64_t grace_ns,
                 struct torc_process_status *ret_status)
{
    struct torc_scope shield;

    torc_scope_open(&shield, TORC_SHIELD);
    (void)start_streams(&shield, exchange); /* Where there is no memory it has to be silent. */
    (void)torc_process_stop(&exchange->process, grace_ns, ret_status);
    (void)torc_scope_linger(&shield, LAST_WORDS_NS);
}

/* The options of the child, whose streams become pipes where the exchange serves them. */
static int choose_streams(const struct torc_process_options *options,
                          const struct torc_process_exchange *exchange,
                          struct torc_process_options *ret_options)
{
    const struct torc_stdio through_pipe = {.kind = TORC_STDIO_PIPE};

    *ret_options = *options;
    if (ret_options->input.kind == TORC_STDIO_PIPE || ret_options->output.kind == TORC_STDIO_PIPE ||
        ret_options->error.kind == TORC_STDIO_PIPE)
        return -EINVAL;
    if (exchange->input != NULL) {
        ret_options->input = through_pipe;
    } else if (ret_options->input.kind == TORC_STDIO_INHERIT) {
        ret_options->input.kind = TORC_STDIO_NULL;
    }
    if (exchange->output != NULL)
        ret_options->output = through_pipe;
    if (exchange->error != NULL)
        ret_options->error = through_pipe;
    return 0;
}

static void tell_results(const struct exchange *exchange, struct torc_process_exchange *public)
{
    public->output_size = exchange->output.done;
    public->output_dropped = exchange->output.dropped;
    public->error_size = exchange->error.done;
    public->error_dropped = exchange->error.dropped;
}

int torc_process_run(const char *const *argv, const struct torc_process_options *options,
                     struct torc_process_exchange *public, struct torc_process_status *ret_status)
{
    static const struct torc_process_options defaults;
    struct torc_process_exchange nothing = {0};
    struct torc_process_options chosen;
    struct exchange exchange = {0};
    int result;

    public = public != NULL ? public : &nothing;
    tell_results(&exchange, public);
    result = choose_streams(options != NULL ? options : &defaults, public, &chosen);
    if (result == 0)
        result = torc_process_spawn(argv, &chosen, &exchange.process);
    if (result < 0)
        return result;
    exchange.input = (struct stream){.fd = &exchange.process.input,
                                     .data = (char *)(uintptr_t) public->input,
                                     .size = public->input_size};
    exchange.output = (struct stream){
        .fd = &exchange.process.output, .data = public->output, .size = public->output_capacity};
    exchange.error = (struct stream){
        .fd = &exchange.process.error, .data = public->error, .size = public->error_capacity};
    result = serve(&exchange, ret_status);
    if (result < 0 && result != -ECHILD) {
        stop(&exchange, public->grace_ns != 0 ? public->grace_ns : TORC_PROCESS_GRACE_NS,
             ret_status);
    }
    torc_process_close(&exchange.process);
    tell_results(&exchange, public);
    return result;
}
