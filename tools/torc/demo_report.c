/* SPDX-License-Identifier: MIT */
/*
 * demo_report.c - what torc demo says: what is to come, and the table at the end.
 */
#include "demo.h"

#include "output.h"

#include <stdio.h>
#include <stdlib.h>

void demo_report_beginning(const struct demo *demo)
{
    printf("%storc %s%s: TCP echo under load, for about %.0f seconds\n",
           output_style(stdout, OUTPUT_BOLD), TORC_VERSION, output_style(stdout, OUTPUT_PLAIN),
           (double)demo->options->duration_ns / 1e9);
    if (!output_live_wanted()) {
        printf("  torc on all %u CPUs first, then torc and its peers on one CPU, in turns\n",
               cpus_count(&demo->cpus));
    }
    putchar('\n');
    fflush(stdout);
}

static int by_size(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;

    return (left > right) - (left < right);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), by_size);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* One line of the table; `torc_cost_ns` is what the cost is compared with, or 0. */
static double print_contestant(struct demo_contestant *contestant, double torc_cost_ns)
{
    const struct histogram *latency = contestant->latency;

    if (contestant->rounds == 0)
        return 0;
    const double rate = median(contestant->rates, contestant->rounds);
    const double cost_ns = median(contestant->costs_ns, contestant->rounds);
    printf("    %-12s %12s %10s %10s %10s", contestant->name, output_count((uint64_t)rate).text,
           output_time((double)histogram_percentile(latency, 50)).text,
           output_time((double)histogram_percentile(latency, 99)).text,
           output_time((double)histogram_percentile(latency, 99.9)).text);
    if (cost_ns > 0)
        printf(" %13s", output_time(cost_ns).text);
    if (cost_ns > 0 && torc_cost_ns > 0)
        printf("  (%.2f x torc)", cost_ns / torc_cost_ns);
    putchar('\n');
    return cost_ns;
}

void demo_report(struct demo *demo)
{
    const unsigned cpus = cpus_count(&demo->cpus);

    printf("%s  %-14s %12s %10s %10s %10s %13s%s\n", output_style(stdout, OUTPUT_BOLD), "echo",
           "messages/s", "p50", "p99", "p99.9", "CPU/message", output_style(stdout, OUTPUT_PLAIN));
    printf("  on all %u CPUs, load included, %llu connections\n", cpus,
           (unsigned long long)demo->options->connections * cpus);
    print_contestant(&demo->all_cpus, 0);
    printf("  on one CPU%s, %llu connections; medians of %d rounds in turns\n",
           cpus >= 2 ? ", load on another" : "", (unsigned long long)demo->options->connections,
           DEMO_ROUNDS);
    double torc_cost_ns = 0;
    for (unsigned i = 0; i < DEMO_CONTESTANTS; i++) {
        const double cost_ns = print_contestant(&demo->contestants[i], torc_cost_ns);
        if (i == 0)
            torc_cost_ns = cost_ns;
    }
    printf("\n  Messages of %s, every byte of every answer compared. CPU/message is the server's,\n"
           "  its system calls included. Your turn: torc echo, torc bench, torc doctor.\n",
           output_bytes((double)demo->options->size).text);
}
