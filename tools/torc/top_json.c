/* SPDX-License-Identifier: MIT */
/*
 * top_json.c - torc top: one object per look. Counters are since the start, rates of the interval.
 */
#include "top.h"

static json_t *rates_json(const struct top_rates *rates)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I}", "busy", rates->busy,
                     "cpu", rates->cpu, "ops_per_second", rates->ops, "completions_per_second",
                     rates->completions, "switches_per_second", rates->switches,
                     "wakeups_per_second", rates->wakeups, "timers_fired_per_second", rates->timers,
                     "ops_per_wait", rates->ops_per_wait, "run_delay_p50_ns",
                     (json_int_t)rates->delay_p50, "run_delay_p99_ns", (json_int_t)rates->delay_p99,
                     "run_delay_max_ns", (json_int_t)rates->delay_max);
}

static void add(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *counters_json(const struct torc_stats *stats)
{
    json_t *object = json_object();

    add(object, "rounds", stats->rounds);
    add(object, "switches", stats->switches);
    add(object, "spawns", stats->spawns);
    add(object, "ops", stats->ops);
    add(object, "completions", stats->completions);
    add(object, "enters", stats->enters);
    add(object, "waits", stats->waits);
    add(object, "polls", stats->polls);
    add(object, "polls_won", stats->polls_won);
    add(object, "submits_retried", stats->submits_retried);
    add(object, "overflows", stats->overflows);
    add(object, "timers_fired", stats->timers_fired);
    add(object, "wakeups_sent", stats->wakeups_sent);
    add(object, "wakeups_received", stats->wakeups_received);
    add(object, "messages", stats->messages);
    add(object, "ops_in_flight", stats->ops_in_flight);
    add(object, "ready", stats->ready);
    add(object, "fibers", stats->fibers);
    add(object, "fibers_peak", stats->fibers_peak);
    add(object, "stacks", stats->stacks);
    add(object, "stacks_used", stats->stacks_used);
    add(object, "timers", stats->timers);
    add(object, "receive_buffers", stats->receive_buffers);
    add(object, "receive_buffers_free", stats->receive_buffers_free);
    add(object, "receive_buffers_starved", stats->receive_buffers_starved);
    add(object, "idle_ns", stats->idle_ns);
    add(object, "polled_ns", stats->polled_ns);
    add(object, "cpu_ns", stats->cpu_ns);
    add(object, "round_ns_max", stats->round_ns_max);
    add(object, "stalls", stats->stalls);
    add(object, "stall_ns_max", stats->stall_ns_max);
    return object;
}

json_t *top_json(const struct top *top)
{
    const double seconds = (double)(top->now.time_ns - top->before.time_ns) / 1e9;
    json_t *shards = json_array();
    json_t *names = json_array();

    for (unsigned i = 0; i < top->shard_count; i++) {
        const struct torc_stats *now = &top->now.shards[i];
        const struct top_rates rates = top_rates(&top->before.shards[i], now, seconds);

        json_array_append_new(shards,
                              json_pack("{s:i, s:o, s:o}", "shard", (int)i, "rates",
                                        rates_json(&rates), "counters", counters_json(now)));
    }
    for (unsigned i = 0; i < top->now.name_count; i++) {
        const struct torc_name_stats *name = &top->now.names[i];

        json_array_append_new(names,
                              json_pack("{s:s, s:f, s:I, s:I, s:I}", "name", name->name, "cpu",
                                        top_name_cpu(top, name), "fibers", (json_int_t)name->fibers,
                                        "ready", (json_int_t)name->ready, "waiting",
                                        (json_int_t)(name->fibers - name->ready)));
    }
    return json_pack("{s:s, s:i, s:s, s:s, s:f, s:b, s:o, s:o}", "event", "top", "pid",
                     (int)top->pid, "process", top->process, "driver", top->driver, "seconds",
                     seconds, "answers", !top->silent, "shards", shards, "names", names);
}
