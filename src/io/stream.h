/* SPDX-License-Identifier: MIT */
/*
 * stream.h - the halves of a stream, for each other.
 *
 *     feed:    OFF --wait for input--> ON --too much is queued, or closing--> ENDING
 *               ^                       |                                       |
 *               +----last completion----+---------------------------------------+
 *
 *     output:  IDLE --the shard's turn--> SENDING --all has left--> IDLE
 *              IDLE --a large piece-----> DIRECT  --has left------> IDLE
 *
 *              on a transport, where there are no ops:
 *              IDLE --input is waited for--> SENDING --the pump runs--> DIRECT --has left--> IDLE
 */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include "io/await.h"
#include "io/stream_memory.h"
#include <torc/stream.h>

enum output_state {
    OUTPUT_IDLE,    /* what was collected goes with the next turn */
    OUTPUT_SENDING, /* an op has it; or a pump that has not begun */
    OUTPUT_DIRECT,  /* the writing fiber has it, or the pump */
};

/*
 * Start a fiber, the pump, that sends what was collected for a transport, which is idle; so that
 * who waits for input does not wait for the peer to take output, which may wait for the same. It
 * ends before the stream is closed. 0 or -ENOMEM.
 */
int torc__stream_start_pump(struct torc_stream *stream);

/*
 * Wait for more input than there is. Returns 1 then, 0 at the end, or an error; the scope's reason
 * is none of the stream's, and the input goes on after it.
 */
int torc__stream_fill(struct torc_stream *stream);

/* End the feed and wait for that, whatever the scope says. */
void torc__stream_stop_feed(struct torc_stream *stream);

/* Forget all input. */
void torc__stream_drop_input(struct torc_stream *stream);

/* Cancel what is being sent, wait for that, and forget all output. */
void torc__stream_drop_output(struct torc_stream *stream);

/*
 * The input has ended: a send that waits for room goes on as one that must not. On the loop, or by
 * the reading fiber.
 */
void torc__stream_tell_output(struct torc_stream *stream);

/* Whether something was collected and has not left. */
static inline bool torc__stream_has_output(const struct torc_stream *stream)
{
    return stream->_out_from != stream->_out_to;
}

#endif
