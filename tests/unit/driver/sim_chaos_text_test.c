/* SPDX-License-Identifier: MIT */
/*
 * sim_chaos_text_test.c - chaos as text, there and back.
 */
#include "harness/harness.h"
#include <errno.h>
#include <string.h>
#include <torc/sim_chaos.h>

static void expect_there_and_back(const struct torc_sim_chaos *chaos)
{
    char text[TORC_SIM_CHAOS_TEXT_SIZE];
    struct torc_sim_chaos back;

    memset(&back, 0xff, sizeof(back));
    torc_sim_chaos_format(chaos, text);
    EXPECT_MSG(torc_sim_chaos_parse(text, &back) == 0, "%s", text);
    for (unsigned i = 0; i < torc_sim_chaos_settings(); i++)
        EXPECT_MSG(!torc_sim_chaos_take(&back, i, chaos), "setting %u of %s", i, text);
}

TEST(all_that_a_chaos_consists_of_can_be_taken_from_another_one)
{
    struct torc_sim_chaos chaos;
    struct torc_sim_chaos wild;

    torc_sim_chaos_init(&chaos, TORC_SIM_CALM);
    torc_sim_chaos_init(&wild, TORC_SIM_WILD);
    for (unsigned i = 0; i < torc_sim_chaos_settings(); i++)
        (void)torc_sim_chaos_take(&chaos, i, &wild);
    EXPECT(memcmp(&chaos, &wild, sizeof(chaos)) == 0);
}

TEST(presets_are_their_names)
{
    static const char *const names[] = {"default", "calm", "wild"};
    char text[TORC_SIM_CHAOS_TEXT_SIZE];

    for (int preset = TORC_SIM_DEFAULT; preset <= TORC_SIM_WILD; preset++) {
        struct torc_sim_chaos chaos;

        torc_sim_chaos_init(&chaos, (enum torc_sim_preset)preset);
        torc_sim_chaos_format(&chaos, text);
        EXPECT_STR(text, names[preset]);
        expect_there_and_back(&chaos);
    }
}

TEST(any_mixture_is_the_same_after_it_was_written_and_read)
{
    for (unsigned i = 0; i < 1000; i++) {
        struct torc_sim_chaos from[3];
        struct torc_sim_chaos chaos;

        for (int preset = TORC_SIM_DEFAULT; preset <= TORC_SIM_WILD; preset++)
            torc_sim_chaos_init(&from[preset], (enum torc_sim_preset)preset);
        chaos = from[0];
        for (unsigned j = 0; j < torc_sim_chaos_settings(); j++)
            (void)torc_sim_chaos_take(&chaos, j, &from[harness_random_below(3)]);
        expect_there_and_back(&chaos);
    }
}

TEST(every_setting_can_be_named)
{
    struct torc_sim_chaos chaos;

    EXPECT_INT(
        torc_sim_chaos_parse("calm,reset_rate=20,net_latency=1000-50000,faults_max=7", &chaos), ==,
        0);
    EXPECT_UINT(chaos.reset_rate, ==, 20);
    EXPECT_UINT(chaos.net_latency.min_ns, ==, 1000);
    EXPECT_UINT(chaos.net_latency.max_ns, ==, 50000);
    EXPECT_UINT(chaos.faults_max, ==, 7);
}

TEST(text_that_is_no_chaos_is_refused_and_changes_nothing)
{
    static const char *const texts[] = {
        "",
        "mild",
        "calm,",
        ",calm",
        "calm,reset_rate",
        "calm,reset_rate=",
        "calm,reset_rate=-1",
        "calm,reset_rate=1000001",
        "calm,reset_rate=1x",
        "calm,net_latency=5",
        "calm,net_latency=6-5",
        "calm,net_latency=1-",
        "calm,unheard=1",
        "calm,faults_max=99999999999999999999999",
        "calm reset_rate=1",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct torc_sim_chaos chaos = {.reset_rate = 4711};

        EXPECT_MSG(torc_sim_chaos_parse(texts[i], &chaos) == -EINVAL, "%s", texts[i]);
        EXPECT_UINT(chaos.reset_rate, ==, 4711);
    }
}
