/* SPDX-License-Identifier: MIT */
/*
 * histogram_test.c - the latencies that torc bench reports are those that occurred.
 */
#include "harness/harness.h"

#include "histogram.h"

#include <stdlib.h>

static struct histogram *create(void)
{
    struct histogram *histogram = histogram_create();

    EXPECT(histogram != NULL);
    return histogram;
}

/* What histogram_percentile() may answer for a value: rounded up by less than a thousandth. */
static bool stands_for(uint64_t answer, uint64_t value)
{
    return answer >= value && answer - value <= value / 1000;
}

TEST(an_empty_histogram_answers_zero)
{
    struct histogram *histogram = create();

    EXPECT_UINT(histogram_count(histogram), ==, 0);
    EXPECT_UINT(histogram_max(histogram), ==, 0);
    EXPECT_UINT(histogram_percentile(histogram, 50), ==, 0);
    EXPECT(histogram_mean(histogram) == 0);
    free(histogram);
}

TEST(values_below_two_microseconds_are_exact)
{
    struct histogram *histogram = create();

    for (uint64_t value = 0; value < 2048; value++) {
        histogram_clear(histogram);
        histogram_record(histogram, value);
        histogram_record(histogram, 5000000);
        EXPECT_UINT(histogram_percentile(histogram, 50), ==, value);
    }
    free(histogram);
}

TEST(every_value_up_to_a_minute_is_known_to_one_part_in_a_thousand)
{
    struct histogram *histogram = create();

    for (uint64_t value = 1; value < UINT64_C(60000000000); value += value / 77 + 1) {
        for (uint64_t near = value - 1; near <= value + 1; near++) {
            histogram_clear(histogram);
            histogram_record(histogram, near);
            histogram_record(histogram, UINT64_C(61000000000));
            EXPECT(stands_for(histogram_percentile(histogram, 50), near));
        }
        value += value / 5;
    }
    free(histogram);
}

TEST(a_value_at_a_power_of_two_is_not_taken_for_its_neighbour)
{
    struct histogram *histogram = create();

    for (unsigned bit = 11; bit < 36; bit++) {
        const uint64_t value = UINT64_C(1) << bit;

        histogram_clear(histogram);
        histogram_record(histogram, value - 1);
        histogram_record(histogram, value);
        EXPECT_UINT(histogram_percentile(histogram, 50), ==, value - 1);
        EXPECT_UINT(histogram_percentile(histogram, 100), ==, value);
    }
    free(histogram);
}

TEST(percentiles_are_values_of_the_right_rank)
{
    struct histogram *histogram = create();

    for (uint64_t us = 1000; us > 0; us--)
        histogram_record(histogram, us * 1000);
    EXPECT_UINT(histogram_count(histogram), ==, 1000);
    EXPECT_UINT(histogram_percentile(histogram, 0), ==, 1000);
    EXPECT(stands_for(histogram_percentile(histogram, 50), 500000));
    EXPECT(stands_for(histogram_percentile(histogram, 90), 900000));
    EXPECT(stands_for(histogram_percentile(histogram, 99), 990000));
    EXPECT(stands_for(histogram_percentile(histogram, 99.9), 999000));
    EXPECT_UINT(histogram_percentile(histogram, 100), ==, 1000000);
    EXPECT(histogram_mean(histogram) == 500500);
    free(histogram);
}

TEST(what_exceeds_the_range_counts_and_leaves_the_maximum_exact)
{
    struct histogram *histogram = create();

    histogram_record(histogram, UINT64_MAX / 2);
    histogram_record(histogram, 7);
    EXPECT_UINT(histogram_count(histogram), ==, 2);
    EXPECT_UINT(histogram_percentile(histogram, 50), ==, 7);
    EXPECT_UINT(histogram_percentile(histogram, 99), ==, UINT64_MAX / 2);
    EXPECT_UINT(histogram_max(histogram), ==, UINT64_MAX / 2);
    free(histogram);
}

TEST(merging_equals_recording_everything_in_one)
{
    struct histogram *one = create();
    struct histogram *two = create();
    struct histogram *both = create();
    struct histogram *merged = create();

    for (uint64_t i = 0; i < 5000; i++) {
        histogram_record(i % 3 == 0 ? one : two, i * i);
        histogram_record(both, i * i);
    }
    histogram_merge(merged, one);
    histogram_merge(merged, two);
    EXPECT_UINT(histogram_count(merged), ==, histogram_count(both));
    EXPECT_UINT(histogram_max(merged), ==, histogram_max(both));
    EXPECT(histogram_mean(merged) == histogram_mean(both));
    for (int percent = 0; percent <= 100; percent++)
        EXPECT_UINT(histogram_percentile(merged, percent), ==, histogram_percentile(both, percent));
    free(one);
    free(two);
    free(both);
    free(merged);
}

TEST(subtracting_an_older_state_leaves_what_came_since)
{
    struct histogram *older = create();
    struct histogram *newer = create();

    for (uint64_t i = 0; i < 100; i++) {
        histogram_record(older, 1000);
        histogram_record(newer, 1000);
    }
    for (uint64_t i = 0; i < 10; i++)
        histogram_record(newer, 2000);
    histogram_subtract(newer, older);
    EXPECT_UINT(histogram_count(newer), ==, 10);
    EXPECT_UINT(histogram_percentile(newer, 1), ==, 2000);
    EXPECT(histogram_mean(newer) == 2000);
    free(older);
    free(newer);
}

TEST(clearing_forgets_everything)
{
    struct histogram *histogram = create();

    histogram_record(histogram, 123456);
    histogram_clear(histogram);
    EXPECT_UINT(histogram_count(histogram), ==, 0);
    EXPECT_UINT(histogram_max(histogram), ==, 0);
    EXPECT_UINT(histogram_percentile(histogram, 100), ==, 0);
    free(histogram);
}
