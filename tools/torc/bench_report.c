/* SPDX-License-Identifier: MIT */
/*
 * bench_report.c - what torc bench says: how it goes, and what was measured.
 */
#include "bench.h"
#include "output.h"

#include <stdlib.h>

const char *bench_mode_name(enum bench_mode mode)
{
    static const char *const names[] = {
        [BENCH_CLOSED] = "closed",
        [BENCH_OPEN] = "open",
        [BENCH_CHURN] = "churn",
    };

    return names[mode];
}

/* Put into `sum` what all shards have counted so far, before or in the window. */
static void add_up(const struct bench *bench, bool measuring, struct histogram *sum)
{
    histogram_clear(sum);
    for (unsigned i = 0; i < bench->shard_count; i++)
        histogram_merge(sum, measuring ? bench->shards[i].latency : bench->shards[i].warmup);
}

/* Show the time since the last look: `sum` holds the state at that time, and gets the present. */
static void show_period(const struct bench *bench, bool measuring, struct histogram *sum,
                        struct histogram *period, double seconds)
{
    const char *label = bench->options->live_label;

    add_up(bench, measuring, period);
    histogram_subtract(period, sum);
    add_up(bench, measuring, sum);
    output_live("%s%s%12s %s/s   p50 %-8s p99 %-8s%s", label != NULL ? label : "",
                label != NULL ? "  " : "",
                output_count((uint64_t)((double)histogram_count(period) / seconds)).text,
                bench->options->mode == BENCH_CHURN ? "connections" : "messages",
                output_time((double)histogram_percentile(period, 50)).text,
                output_time((double)histogram_percentile(period, 99)).text,
                measuring ? "" : "  (warming up)");
}

int bench_live(void *arg)
{
    const struct bench *bench = arg;
    const struct bench_shard *shard = &bench->shards[0];
    const uint64_t period_ns =
        bench->options->live_period_ns > 0 ? bench->options->live_period_ns : TORC_SECOND;
    struct torc_interval ticks;
    bool measuring = false;

    torc_fiber_set_name("bench live");
    if (!output_live_wanted())
        return 0;
    struct histogram *sum = histogram_create();
    struct histogram *period = histogram_create();
    int reason = torc_interval_init(&ticks, torc_deadline(period_ns), period_ns, TORC_MISSED_SKIP);
    for (uint64_t before_ns = torc_now(); sum != NULL && period != NULL && reason >= 0;) {
        reason = torc_interval_wait(&ticks);
        const uint64_t now_ns = torc_now();
        if (!measuring && now_ns >= shard->begin_ns) {
            measuring = true;
            before_ns = shard->begin_ns;
            histogram_clear(sum);
        }
        if (reason >= 0 && now_ns > before_ns)
            show_period(bench, measuring, sum, period, (double)(now_ns - before_ns) / 1e9);
        before_ns = now_ns;
    }
    if (bench->options->live_label == NULL)
        output_live_end();
    free(sum);
    free(period);
    return reason;
}

static double seconds_of(const struct bench_result *result)
{
    return (double)result->duration_ns / 1e9;
}

/* Per second of the window; 0 if there was none. */
static double per_second(const struct bench_result *result, double number)
{
    return result->duration_ns == 0 ? 0 : number / seconds_of(result);
}

static double percentile_us(const struct bench_result *result, double percent)
{
    return (double)histogram_percentile(result->latency, percent) / 1e3;
}

static json_t *latency_json(const struct bench_result *result)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "mean",
                     histogram_mean(result->latency) / 1e3, "p50", percentile_us(result, 50), "p90",
                     percentile_us(result, 90), "p99", percentile_us(result, 99), "p999",
                     percentile_us(result, 99.9), "max",
                     (double)histogram_max(result->latency) / 1e3);
}

static void report_json(const struct bench_options *options, const struct bench_result *result)
{
    char address[TORC_ADDRESS_TEXT_SIZE];
    const uint64_t bytes = result->messages * options->size;
    const bool open = options->mode == BENCH_OPEN;

    torc_address_format(&options->address, address, sizeof(address));
    json_t *report = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:b, s:i}", "command",
        options->address.any.sa_family == AF_UNIX ? "bench unix" : "bench tcp", "address", address,
        "mode", bench_mode_name(options->mode), "connections", (json_int_t)options->connections,
        "size", (json_int_t)options->size, "depth", (json_int_t)options->depth, "rate",
        open ? json_real(options->rate) : json_null(), "verified", !options->no_verify, "shards",
        options->runtime.shards > 0 ? options->runtime.shards : 1);
    json_t *figures = json_pack(
        "{s:f, s:f, s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:b, s:o, s:f}", "warmup_seconds",
        (double)options->warmup_ns / 1e9, "duration_seconds", seconds_of(result), "messages",
        (json_int_t)result->messages, "messages_per_second",
        per_second(result, (double)result->messages), "bytes_per_second",
        per_second(result, (double)bytes), "errors", (json_int_t)result->errors, "mismatches",
        (json_int_t)result->mismatches, "connect_errors", (json_int_t)result->connect_errors,
        "unanswered", (json_int_t)result->unanswered, "interrupted", result->interrupted != 0,
        "latency_us", latency_json(result), "cpu_seconds", result->cpu_seconds);

    if (report != NULL && figures != NULL)
        json_object_update(report, figures);
    json_decref(figures);
    (void)output_json(report);
}

static void print_setup(const struct bench_options *options, const struct bench_result *result)
{
    char address[TORC_ADDRESS_TEXT_SIZE];

    torc_address_format(&options->address, address, sizeof(address));
    printf("%s%s%s  %s connection%s, %s", output_style(stdout, OUTPUT_BOLD), address,
           output_style(stdout, OUTPUT_PLAIN), output_count(options->connections).text,
           options->connections == 1 ? "" : "s", output_bytes((double)options->size).text);
    if (options->mode == BENCH_OPEN) {
        printf(", %s messages/s wanted", output_count((uint64_t)options->rate).text);
    } else if (options->mode == BENCH_CHURN) {
        printf(", a new connection for each message");
    } else {
        printf(", depth %s", output_count(options->depth).text);
    }
    printf(", %.1f s%s\n\n", seconds_of(result), options->no_verify ? ", not verified" : "");
}

static void print_latency(const struct bench_result *result)
{
    static const struct {
        const char *name;
        double percent;
    } columns[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}};
    const struct histogram *latency = result->latency;

    printf("  latency       mean %s", output_time(histogram_mean(latency)).text);
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        printf("   %s %s", columns[i].name,
               output_time((double)histogram_percentile(latency, columns[i].percent)).text);
    }
    printf("   max %s\n", output_time((double)histogram_max(latency)).text);
}

/* A line for something that should not have happened; none if it did not. */
static void print_trouble(uint64_t count, const char *what)
{
    if (count > 0) {
        printf("  %s%s %s%s\n", output_style(stdout, OUTPUT_BAD), output_count(count).text, what,
               output_style(stdout, OUTPUT_PLAIN));
    }
}

void bench_report(const struct bench_options *options, const struct bench_result *result)
{
    const double messages = (double)result->messages;

    if (options->json) {
        report_json(options, result);
        return;
    }
    print_setup(options, result);
    printf("  %-12s%15s   %s /s\n", options->mode == BENCH_CHURN ? "connections" : "messages",
           output_count(result->messages).text,
           output_count((uint64_t)per_second(result, messages)).text);
    printf("  %-12s%15s   %s/s each way\n", "data",
           output_bytes(messages * (double)options->size).text,
           output_bytes(per_second(result, messages * (double)options->size)).text);
    print_latency(result);
    printf("  client CPU  %13.2f s", result->cpu_seconds);
    if (result->messages > 0)
        printf("   %s per message", output_time(result->cpu_seconds * 1e9 / messages).text);
    putchar('\n');
    print_trouble(result->errors, "connections broke");
    print_trouble(result->mismatches, "connections brought other bytes than were sent");
    print_trouble(result->connect_errors, "connections could not be made");
    print_trouble(result->unanswered, "messages were not answered in time");
    fflush(stdout);
}
