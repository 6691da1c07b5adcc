/* SPDX-License-Identifier: MIT */
/*
 * top_table.c - torc top: tables that fit the terminal.
 *
 * Columns that do not fit beside the others go into a table below. Rows that do not fit are left
 * out, and counted.
 */
#include "output.h"
#include "top.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one row is made of. */
struct row {
    const char *title;
    const struct torc_stats *stats;
    struct top_rates rates;
};

struct column {
    const char *title;
    int width;
    struct output_text (*text)(const struct row *row);
};

/* ---- Cells ---- */

/* A number that may have a fraction, in at most six letters. */
static struct output_text number(double value)
{
    struct output_text result;

    if (value >= 99999.5)
        snprintf(result.text, sizeof(result.text), value >= 9999500 ? "%.0fM" : "%.0fk",
                 value / (value >= 9999500 ? 1e6 : 1e3));
    else
        snprintf(result.text, sizeof(result.text), value < 9.95 && value > 0 ? "%.1f" : "%.0f",
                 value);
    return result;
}

static struct output_text count(uint64_t value)
{
    struct output_text result;

    if (value >= 100000)
        return number((double)value);
    snprintf(result.text, sizeof(result.text), "%u", (unsigned)value);
    return result;
}

static struct output_text percent(double part)
{
    struct output_text result;

    snprintf(result.text, sizeof(result.text), "%.1f", fabs(part) * 100);
    return result;
}

static struct output_text duration(uint64_t ns)
{
    struct output_text result;

    snprintf(result.text, sizeof(result.text), "-");
    return ns == 0 ? result : output_time((double)ns);
}

#define CELL(name, expression)                            \
    static struct output_text name(const struct row *row) \
    {                                                     \
        return expression;                                \
    }

CELL(cell_busy, percent(row->rates.busy))
CELL(cell_cpu, percent(row->rates.cpu))
CELL(cell_fibers, count(row->stats->fibers))
CELL(cell_ready, count(row->stats->ready))
CELL(cell_in_flight, count(row->stats->ops_in_flight))
CELL(cell_ops, number(row->rates.ops))
CELL(cell_completions, number(row->rates.completions))
CELL(cell_ops_per_wait, number(row->rates.ops_per_wait))
CELL(cell_switches, number(row->rates.switches))
CELL(cell_wakeups, number(row->rates.wakeups))
CELL(cell_timers, count(row->stats->timers))
CELL(cell_fired, number(row->rates.timers))
CELL(cell_p50, duration(row->rates.delay_p50))
CELL(cell_p99, duration(row->rates.delay_p99))
CELL(cell_max, duration(row->rates.delay_max))
CELL(cell_overflows, count(row->stats->overflows))
CELL(cell_starved, count(row->stats->receive_buffers_starved))
CELL(cell_stalls, count(row->stats->stalls))

static struct output_text cell_buffers(const struct row *row)
{
    struct output_text result;

    snprintf(result.text, sizeof(result.text), "%u/%u",
             (unsigned)(row->stats->receive_buffers - row->stats->receive_buffers_free),
             (unsigned)row->stats->receive_buffers);
    return result;
}

static const struct column columns[] = {
    {"BUSY%", 6, cell_busy},
    {"CPU%", 6, cell_cpu},
    {"FIBERS", 7, cell_fibers},
    {"READY", 6, cell_ready},
    {"INFLIGHT", 9, cell_in_flight},
    {"OPS/S", 7, cell_ops},
    {"DONE/S", 7, cell_completions},
    {"OPS/WAIT", 9, cell_ops_per_wait},
    {"DELAY50", 8, cell_p50},
    {"DELAY99", 8, cell_p99},
    {"MAX", 8, cell_max},
    {"SWITCH/S", 9, cell_switches},
    {"WAKE/S", 7, cell_wakeups},
    {"TIMERS", 7, cell_timers},
    {"FIRED/S", 8, cell_fired},
    {"BUFS", 8, cell_buffers},
    {"ENOBUFS", 8, cell_starved},
    {"OVERFL", 7, cell_overflows},
    {"STALLS", 7, cell_stalls},
};

#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))
#define TITLE_WIDTH  5
#define NAME_WIDTH   26

/* ---- Lines ---- */

/* What is left of the terminal. */
struct page {
    unsigned rows;
    unsigned columns;
};

/* Whether there is room for one more line, which is taken. */
static bool take_line(struct page *page)
{
    if (page->rows == 0)
        return false;
    page->rows--;
    return true;
}

static void print_header(size_t first, size_t end)
{
    fputs(output_style(stdout, OUTPUT_BOLD), stdout);
    printf("%-*s", TITLE_WIDTH, "SHARD");
    for (size_t i = first; i < end; i++)
        printf("%*s", columns[i].width, columns[i].title);
    fputs(output_style(stdout, OUTPUT_PLAIN), stdout);
    terminal_end_line();
}

static void print_row(const struct row *row, size_t first, size_t end)
{
    printf("%-*s", TITLE_WIDTH, row->title);
    for (size_t i = first; i < end; i++)
        printf("%*s", columns[i].width, columns[i].text(row).text);
    terminal_end_line();
}

static double seconds_of(const struct top *top)
{
    return (double)(top->now.time_ns - top->before.time_ns) / 1e9;
}

/* One table of some columns, of all shards and, if there are several, their sum. */
static void print_shards(const struct top *top, struct page *page, size_t first, size_t end)
{
    const unsigned rows = page->rows > 2 ? page->rows - 2 : 0;
    const unsigned shown = top->shard_count < rows ? top->shard_count : rows;

    if (!take_line(page))
        return;
    print_header(first, end);
    if (top->shard_count > 1 && take_line(page)) {
        const struct torc_stats before = top_total(top->before.shards, top->shard_count);
        const struct torc_stats now = top_total(top->now.shards, top->shard_count);

        print_row(&(struct row){"all", &now, top_rates(&before, &now, seconds_of(top))}, first,
                  end);
    }
    for (unsigned i = 0; i < shown && take_line(page); i++) {
        char title[16];

        snprintf(title, sizeof(title), "%u", i);
        print_row(
            &(struct row){title, &top->now.shards[i],
                          top_rates(&top->before.shards[i], &top->now.shards[i], seconds_of(top))},
            first, end);
    }
}

static size_t columns_that_fit(size_t first, unsigned width)
{
    unsigned used = TITLE_WIDTH;
    size_t end = first;

    while (end < COLUMN_COUNT && used + (unsigned)columns[end].width <= width)
        used += (unsigned)columns[end++].width;
    return end > first ? end : first + 1; /* Narrower than one: it is cut off by the terminal. */
}

/* ---- Names ---- */

struct name_row {
    const struct torc_name_stats *name;
    double cpu;
};

static int by_cpu(const void *left, const void *right)
{
    const struct name_row *a = left;
    const struct name_row *b = right;

    if (a->cpu != b->cpu)
        return a->cpu < b->cpu ? 1 : -1;
    return (a->name->fibers < b->name->fibers) - (a->name->fibers > b->name->fibers);
}

static void print_names(const struct top *top, struct page *page)
{
    struct name_row rows[TOP_NAMES_MAX];
    unsigned shown = 0;

    for (unsigned i = 0; i < top->now.name_count; i++) {
        const struct torc_name_stats *name = &top->now.names[i];

        if (name->fibers > 0 || name->cpu_ns > 0)
            rows[shown++] = (struct name_row){name, top_name_cpu(top, name)};
    }
    qsort(rows, shown, sizeof(rows[0]), by_cpu);
    if (!take_line(page) || !take_line(page))
        return;
    terminal_end_line();
    printf("%s%-*s%8s%9s%8s%9s%s", output_style(stdout, OUTPUT_BOLD), NAME_WIDTH, "FIBERS NAMED",
           "CPU%", "FIBERS", "READY", "WAITING", output_style(stdout, OUTPUT_PLAIN));
    terminal_end_line();
    for (unsigned i = 0; i < shown && take_line(page); i++) {
        const struct torc_name_stats *name = rows[i].name;

        output_cell(name->name[0] != '\0' ? name->name : "(no name)", NAME_WIDTH);
        printf("%8s%9s%8s%9s", percent(rows[i].cpu).text, count(name->fibers).text,
               count(name->ready).text, count(name->fibers - name->ready).text);
        terminal_end_line();
    }
}

void top_print(const struct top *top, struct terminal_size size)
{
    /* The last line stays free, since a newline there would scroll. */
    struct page page = {.rows = size.rows > 1 ? size.rows - 1 : 1, .columns = size.columns};

    terminal_begin();
    if (take_line(&page)) {
        printf("torc top: %.20s (%d), %u shard%s, %s, last %.1f s%s%s%s", top->process, top->pid,
               top->shard_count, top->shard_count == 1 ? "" : "s", top->driver, seconds_of(top),
               output_style(stdout, OUTPUT_BAD), top->silent ? "  does not answer" : "",
               output_style(stdout, OUTPUT_PLAIN));
        terminal_end_line();
    }
    for (size_t first = 0; first < COLUMN_COUNT && page.rows > 0;) {
        const size_t end = columns_that_fit(first, page.columns);

        print_shards(top, &page, first, end);
        first = end;
    }
    print_names(top, &page);
    terminal_end();
}
