/* SPDX-License-Identifier: MIT */
/*
 * trace_json.c - a trace as JSON, in the Trace Event Format.
 *
 * A shard is a process there. Its thread 0 shows what runs on it, and every fiber is a thread of
 * its own, on which it is running, ready or waiting. Operations are asynchronous slices. Slices are
 * written when they end, so nothing needs to be in order but the events themselves.
 *
 * The trace may be written to meanwhile, and by a process that is not to be trusted.
 */
#include "base/clock.h"
#include "base/compiler.h"
#include "base/opcode.h"
#include "base/utf8.h"
#include "shard/page.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE  65536u
#define TEXT_MAX     512u /* of one event */
#define EVENTS_AHEAD 64u

/* What a fiber does, or whether an op is in flight, since when. */
enum track_state {
    TRACK_NONE,
    TRACK_READY,
    TRACK_RUNNING,
    TRACK_WAITING,
    TRACK_IN_FLIGHT,
};

/* A fiber or an op. */
struct track {
    uint64_t key; /* of a fiber, twice its number and 1; of an op, its address; 0: unused */
    uint64_t since_ns;
    uint32_t value; /* the fiber's number, the op's descriptor */
    uint16_t what;  /* number of the name, opcode */
    uint8_t state;
};

struct writer {
    torc__trace_sink_fn *sink;
    void *arg;
    struct torc__trace_area *area;
    struct torc__trace_shape shape;
    uint64_t start_ns;
    struct torc__trace_ring *ring; /* of the shard that is written */
    unsigned shard;
    struct track *tracks; /* a hash table that is never more than half full */
    size_t track_mask;
    uint32_t running; /* the fiber that runs; 0: the loop */
    uint16_t running_name;
    bool running_known;
    uint64_t running_since_ns;
    uint64_t asleep_since_ns;
    uint64_t ended_ns; /* when the trace was ended ... */
    uint64_t end_ns;   /* ... and when it did on this shard, which may be later */
    bool begun;
    int error;
    size_t used;
    char buffer[BUFFER_SIZE];
};

/* ---- Text ---- */

static void flush(struct writer *writer)
{
    if (writer->error == 0 && writer->used > 0)
        writer->error = writer->sink(writer->arg, writer->buffer, writer->used);
    writer->used = 0;
}

static void put(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(struct writer *writer, const char *format, ...)
{
    va_list arguments;
    int length;

    if (BUFFER_SIZE - writer->used < TEXT_MAX)
        flush(writer);
    va_start(arguments, format);
    length = vsnprintf(writer->buffer + writer->used, TEXT_MAX, format, arguments);
    va_end(arguments);
    if (length > 0)
        writer->used += (size_t)length < TEXT_MAX ? (size_t)length : TEXT_MAX - 1;
}

struct text {
    char text[6 * TRACE_NAME_MAX + 1];
};

/*
 * One character, as it stands in a JSON string; what is none (`length` 0) as the one that stands
 * for such. Returns its length, at most 6.
 */
static size_t put_letter(const char *letter, unsigned length, char *to)
{
    const unsigned char first = (unsigned char)*letter;
    char escape[7];

    if (length > 0 && first >= 0x20 && first != 0x7f && first != '"' && first != '\\') {
        memcpy(to, letter, length);
        return length;
    }
    (void)snprintf(escape, sizeof(escape), "\\u%04x", length > 0 ? first : 0xfffdU);
    memcpy(to, escape, 6);
    return 6;
}

/* By hand, since ThreadSanitizer watches what the library's functions read. */
static LOOKS_AT_OTHERS void copy_name(char to[TRACE_NAME_MAX + 1], const char *from)
{
    unsigned length = 0;

    for (; length < TRACE_NAME_MAX && from[length] != '\0'; length++)
        to[length] = from[length];
    to[length] = '\0';
}

/* What a fiber is called, as the inside of a JSON string. The name was there before its event. */
static LOOKS_AT_OTHERS struct text name_text(const struct writer *writer, uint32_t fiber,
                                             uint16_t number)
{
    const char *from = number < TRACE_NAMES ? writer->ring->names[number] : "";
    char name[TRACE_NAME_MAX + 1]; /* It may be changed meanwhile. */
    struct text result;
    unsigned length = 0;
    size_t used = 0;

    if (fiber == 0 || from[0] == '\0') {
        (void)snprintf(result.text, sizeof(result.text), fiber == 0 ? "loop" : "fiber %u", fiber);
        return result;
    }
    copy_name(name, from);
    for (from = name; *from != '\0'; from += length > 0 ? length : 1) {
        length = torc__utf8_length(from);
        used += put_letter(from, length, result.text + used);
    }
    result.text[used] = '\0';
    return result;
}

struct time_text {
    char text[32];
};

/* Microseconds. */
static struct time_text time_text(uint64_t ns)
{
    struct time_text result;

    (void)snprintf(result.text, sizeof(result.text), "%" PRIu64 ".%03u", ns / 1000,
                   (unsigned)(ns % 1000));
    return result;
}

static struct time_text at(const struct writer *writer, uint64_t time_ns)
{
    return time_text(time_ns > writer->start_ns ? time_ns - writer->start_ns : 0);
}

/* The beginning of an event; what is put next goes on with its fields. */
static void begin(struct writer *writer, char phase, uint32_t thread)
{
    put(writer, "%s{\"ph\":\"%c\",\"pid\":%u,\"tid\":%u", writer->begun ? ",\n" : "", phase,
        writer->shard + 1, thread);
    writer->begun = true;
}

static void put_slice(struct writer *writer, uint32_t thread, const char *name, uint64_t since_ns,
                      uint64_t until_ns)
{
    begin(writer, 'X', thread);
    put(writer, ",\"name\":\"%s\",\"ts\":%s,\"dur\":%s}", name, at(writer, since_ns).text,
        time_text(until_ns > since_ns ? until_ns - since_ns : 0).text);
}

static void put_thread_name(struct writer *writer, uint32_t thread, const char *name)
{
    begin(writer, 'M', thread);
    put(writer, ",\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}", name);
    begin(writer, 'M', thread);
    put(writer, ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":%u}}", thread);
}

/* ---- Tracks ---- */

static struct track *find_track(struct writer *writer, uint64_t key)
{
    size_t i = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & writer->track_mask;

    while (writer->tracks[i].key != 0 && writer->tracks[i].key != key)
        i = (i + 1) & writer->track_mask;
    writer->tracks[i].key = key;
    return &writer->tracks[i];
}

static struct track *track_of_fiber(struct writer *writer, uint32_t fiber)
{
    struct track *track = find_track(writer, (uint64_t)fiber * 2 + 1);

    track->value = fiber;
    return track;
}

/* The fiber goes on to another state; what it has done until then is a slice. */
static void change(struct writer *writer, struct track *track, enum track_state state,
                   uint64_t time_ns)
{
    static const char *const texts[] = {
        [TRACK_READY] = "ready",
        [TRACK_RUNNING] = "running",
        [TRACK_WAITING] = "waiting",
    };

    if (track->state != TRACK_NONE)
        put_slice(writer, track->value, texts[track->state], track->since_ns, time_ns);
    track->state = (uint8_t)state;
    track->since_ns = time_ns;
}

static void put_op(struct writer *writer, char phase, const struct track *track, uint64_t time_ns)
{
    begin(writer, phase, 0);
    put(writer, ",\"cat\":\"op\",\"id\":\"0x%" PRIx64 "\",\"name\":\"%s\",\"ts\":%s", track->key,
        torc__opcode_name(track->what), at(writer, time_ns).text);
}

static void put_op_begin(struct writer *writer, const struct track *track)
{
    put_op(writer, 'b', track, track->since_ns);
    put(writer, ",\"args\":{\"fd\":%d}}", (int)track->value);
}

/* ---- Events ---- */

static void on_run(struct writer *writer, const struct torc__trace_event *event)
{
    static const enum track_state after[] = {
        [TRACE_ENDED] = TRACK_NONE,
        [TRACE_YIELDED] = TRACK_READY,
        [TRACE_WAITS] = TRACK_WAITING,
    };

    if (writer->running_known) {
        put_slice(writer, 0, name_text(writer, writer->running, writer->running_name).text,
                  writer->running_since_ns, event->time_ns);
        if (writer->running != 0)
            change(writer, track_of_fiber(writer, writer->running),
                   event->detail <= TRACE_WAITS ? after[event->detail] : TRACK_NONE,
                   event->time_ns);
    }
    writer->running_known = true;
    writer->running = event->fiber;
    writer->running_name = event->name;
    writer->running_since_ns = event->time_ns;
    if (event->fiber != 0) {
        struct track *track = track_of_fiber(writer, event->fiber);

        track->what = event->name != 0 ? event->name : track->what;
        change(writer, track, TRACK_RUNNING, event->time_ns);
    }
}

/* Odd keys are those of fibers, and no op is at an odd address. */
static bool has_op(const struct torc__trace_event *event)
{
    return event->object != 0 && event->object % 2 == 0;
}

static void on_op_start(struct writer *writer, const struct torc__trace_event *event)
{
    struct track *track;

    if (!has_op(event))
        return;
    track = find_track(writer, event->object);
    track->what = event->detail;
    track->value = (uint32_t)event->value;
    track->since_ns = event->time_ns;
    track->state = TRACK_IN_FLIGHT;
}

static void on_op_end(struct writer *writer, const struct torc__trace_event *event)
{
    struct track *track = has_op(event) ? find_track(writer, event->object) : NULL;

    if (track == NULL || track->state != TRACK_IN_FLIGHT)
        return; /* It began before the trace did. */
    if (event->detail != 0) {
        put_op(writer, 'n', track, event->time_ns);
    } else {
        put_op_begin(writer, track);
        put_op(writer, 'e', track, event->time_ns);
        track->state = TRACK_NONE;
    }
    put(writer, ",\"args\":{\"result\":%d}}", event->value);
}

static void on_event(struct writer *writer, const struct torc__trace_event *event)
{
    if (event->time_ns > writer->end_ns)
        writer->end_ns = event->time_ns;
    switch ((enum torc__trace_kind)event->kind) {
    case TRACE_RUN:
        on_run(writer, event);
        break;
    case TRACE_SPAWN:
        track_of_fiber(writer, event->fiber)->what = 0;
        change(writer, track_of_fiber(writer, event->fiber), TRACK_READY, event->time_ns);
        break;
    case TRACE_WAKE:
        change(writer, track_of_fiber(writer, event->fiber), TRACK_READY, event->time_ns);
        break;
    case TRACE_OP_START:
        on_op_start(writer, event);
        break;
    case TRACE_OP_END:
        on_op_end(writer, event);
        break;
    case TRACE_SLEEP:
        writer->asleep_since_ns = event->time_ns;
        break;
    case TRACE_AWAKE:
        if (writer->asleep_since_ns != 0)
            put_slice(writer, 0, "sleep", writer->asleep_since_ns, event->time_ns);
        writer->asleep_since_ns = 0;
        break;
    }
}

/* ---- Shards ---- */

/* What has begun and not ended, and what fibers are called. */
static void put_rest(struct writer *writer)
{
    if (writer->running_known)
        put_slice(writer, 0, name_text(writer, writer->running, writer->running_name).text,
                  writer->running_since_ns, writer->end_ns);
    for (size_t i = 0; i <= writer->track_mask; i++) {
        struct track *track = &writer->tracks[i];

        if (track->key == 0)
            continue;
        if (track->state == TRACK_IN_FLIGHT) {
            put_op_begin(writer, track);
        } else if (track->key & 1) {
            char name[sizeof(struct text) + 16];

            change(writer, track, TRACK_NONE, writer->end_ns);
            (void)snprintf(name, sizeof(name), "%u %s", track->value,
                           name_text(writer, track->value, track->what).text);
            put_thread_name(writer, track->value, name);
        }
    }
}

static LOOKS_AT_OTHERS void put_events(struct writer *writer)
{
    struct torc__trace_ring *ring = writer->ring;
    const uint32_t capacity = writer->shape.capacity;
    const uint64_t end = atomic_load_explicit(&ring->written, memory_order_acquire);
    struct torc__trace_event events[EVENTS_AHEAD];

    for (uint64_t next = end > capacity ? end - capacity : 0; next < end && writer->error == 0;) {
        const uint64_t count = end - next < EVENTS_AHEAD ? end - next : EVENTS_AHEAD;
        uint64_t oldest;

        for (uint64_t i = 0; i < count; i++)
            events[i] = ring->events[(next + i) & (capacity - 1)];
        atomic_thread_fence(memory_order_acquire);
        oldest = atomic_load_explicit(&ring->written, memory_order_relaxed);
        /* One more is perhaps being written just now. */
        oldest = oldest >= capacity ? oldest - capacity + 1 : 0;
        for (uint64_t i = 0; i < count; i++) {
            if (end <= capacity || next + i >= oldest)
                on_event(writer, &events[i]);
        }
        next += count;
    }
}

static void put_shard(struct writer *writer, unsigned shard)
{
    writer->shard = shard;
    writer->ring = torc__trace_ring_of(writer->area, shard, writer->shape.capacity);
    writer->running_known = false;
    writer->asleep_since_ns = 0;
    writer->end_ns = writer->ended_ns;
    memset(writer->tracks, 0, (writer->track_mask + 1) * sizeof(writer->tracks[0]));
    begin(writer, 'M', 0);
    put(writer, ",\"name\":\"process_name\",\"args\":{\"name\":\"shard %u\"}}", shard);
    begin(writer, 'M', 0);
    put(writer, ",\"name\":\"process_sort_index\",\"args\":{\"sort_index\":%u}}", shard);
    put_thread_name(writer, 0, "what runs");
    put_events(writer);
    put_rest(writer);
}

static void put_stalls(struct writer *writer)
{
    const uint32_t end = atomic_load(&writer->area->stall_count);

    for (uint32_t i = end > TRACE_STALLS ? end - TRACE_STALLS : 0; i != end; i++) {
        const struct torc__trace_stall stall = writer->area->stalls[i % TRACE_STALLS];

        writer->shard = stall.shard;
        begin(writer, 'i', 0);
        put(writer, ",\"s\":\"p\",\"name\":\"stall\",\"ts\":%s,\"args\":{\"us\":%s}}",
            at(writer, stall.time_ns).text, time_text(stall.lasted_ns).text);
    }
}

bool torc__trace_is_valid(const struct torc__trace_area *area, size_t size,
                          struct torc__trace_shape *ret_shape)
{
    const uint32_t capacity = size >= sizeof(*area) ? PEEK(area->capacity) : 0;
    const uint32_t shard_count = size >= sizeof(*area) ? PEEK(area->shard_count) : 0;

    *ret_shape = (struct torc__trace_shape){.capacity = capacity, .shard_count = shard_count};
    return capacity >= TRACE_EVENTS_MIN && capacity <= TRACE_EVENTS_MAX &&
           (capacity & (capacity - 1)) == 0 && area->magic == TRACE_MAGIC &&
           area->version == PAGE_VERSION && shard_count <= PAGE_SHARDS_MAX &&
           size == torc__trace_area_size(shard_count, capacity);
}

int torc__trace_to_json(struct torc__trace_area *area, struct torc__trace_shape shape,
                        torc__trace_sink_fn *sink, void *arg)
{
    const size_t track_count = (size_t)shape.capacity * 2;
    struct writer *writer = calloc(1, sizeof(*writer));
    struct track *tracks = calloc(track_count, sizeof(*tracks));
    int result = -ENOMEM;

    if (writer != NULL && tracks != NULL) {
        writer->sink = sink;
        writer->arg = arg;
        writer->area = area;
        writer->shape = shape;
        writer->start_ns = area->started_ns;
        writer->ended_ns = atomic_load(&area->ended_ns);
        if (writer->ended_ns == 0)
            writer->ended_ns = torc__clock_now();
        writer->tracks = tracks;
        writer->track_mask = track_count - 1;
        put(writer, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
        for (unsigned i = 0; i < shape.shard_count; i++)
            put_shard(writer, i);
        put_stalls(writer);
        put(writer, "\n]}\n");
        flush(writer);
        result = writer->error;
    }
    free(tracks);
    free(writer);
    return result;
}
