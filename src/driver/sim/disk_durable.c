/* SPDX-License-Identifier: MIT */
/*
 * disk_durable.c - how the data of files get onto the medium, and what is there after a crash.
 */
#include "driver/sim/disk_data.h"
#include <errno.h>
#include <string.h>

#define HALF 500000u /* of a million */

/* Set how much room the file has by what its pages have; they may have changed. */
static void count_room(struct sim_inode *inode)
{
    uint64_t number = 0;
    uint64_t used = 0;
    const struct sim_page *page;

    while ((page = torc__sim_pages_next(&inode->pages, &number)) != NULL) {
        used += page->live != NULL || page->is_reserved;
        number++;
    }
    inode->disk->pages_used += used - inode->pages_used;
    inode->pages_used = used;
}

/* What is live becomes durable. The page goes if there is nothing in it. */
static void write_page(struct sim_inode *inode, uint64_t number, struct sim_page *page)
{
    if (page->durable != page->live)
        torc__sim_free(page->durable);
    page->durable = page->live;
    page->is_dirty = false;
    if (page->live == NULL && !page->is_reserved)
        torc__sim_pages_remove(&inode->pages, number);
}

/* What is durable becomes live again. */
static void revert_page(struct sim_inode *inode, uint64_t number, struct sim_page *page)
{
    if (page->durable != page->live)
        torc__sim_free(page->live);
    page->live = page->durable;
    page->is_dirty = false;
    page->is_reserved = page->durable != NULL;
    if (page->live == NULL)
        torc__sim_pages_remove(&inode->pages, number);
}

/* Each sector that is still the old one is written by that chance. */
static void write_sectors(struct sim_world *world, struct sim_page *page, uint32_t per_million)
{
    uint8_t *mix = torc__sim_allocate(SIM_PAGE);

    for (size_t at = 0; at < SIM_PAGE; at += SIM_SECTOR) {
        const uint8_t *from = torc__sim_chance(world, per_million) ? page->live : page->durable;

        if (from != NULL)
            memcpy(mix + at, from + at, SIM_SECTOR);
    }
    if (page->durable != page->live)
        torc__sim_free(page->durable);
    page->durable = mix;
}

/* ---- Writing back ---- */

/* The next dirty page from `*number` on. */
static struct sim_page *next_dirty(const struct sim_inode *inode, uint64_t *number)
{
    struct sim_page *page;

    if (*number < inode->dirty_first)
        *number = inode->dirty_first;
    while (*number < inode->dirty_end &&
           (page = torc__sim_pages_next(&inode->pages, number)) != NULL) {
        if (page->is_dirty)
            return page;
        ++*number;
    }
    return NULL;
}

void torc__sim_data_write_back(struct sim_inode *inode)
{
    uint64_t number = 0;
    struct sim_page *page;

    while ((page = next_dirty(inode, &number)) != NULL)
        write_page(inode, number++, page);
    inode->dirty_end = 0;
    inode->durable_size = inode->size;
}

/* Some pages are written and some are not; none is dirty any more. */
static void fail_to_write(struct sim_inode *inode)
{
    struct sim_world *world = inode->disk->world;
    const bool forgets = torc__sim_chance(world, HALF);
    uint64_t number = 0;
    struct sim_page *page;

    while ((page = next_dirty(inode, &number)) != NULL) {
        if (torc__sim_chance(world, HALF)) {
            write_page(inode, number, page);
        } else if (forgets) {
            revert_page(inode, number, page);
        } else {
            page->is_dirty = false;
        }
        number++;
    }
    inode->dirty_end = 0;
    count_room(inode);
    inode->errors++;
    inode->error_is_seen = false;
}

int torc__sim_data_sync(struct sim_inode *inode)
{
    const uint32_t rate = inode->disk->world->chaos.disk_error_rate;
    uint64_t number = 0;

    if (next_dirty(inode, &number) != NULL &&
        torc__sim_disk_fault(inode->disk, "disk: fsync fails", rate)) {
        fail_to_write(inode);
        return -EIO;
    }
    torc__sim_data_write_back(inode);
    return 0;
}

void torc__sim_data_write_early(struct sim_inode *inode, uint64_t offset, uint64_t end)
{
    struct sim_world *world = inode->disk->world;
    uint64_t number = offset / SIM_PAGE;
    struct sim_page *page;

    while ((page = next_dirty(inode, &number)) != NULL && number * SIM_PAGE < end) {
        if (torc__sim_chance(world, HALF))
            write_sectors(world, page, HALF);
        number++;
    }
    if (torc__sim_chance(world, HALF))
        inode->durable_size = inode->size;
}

void torc__sim_data_drop_clean(struct sim_inode *inode, uint64_t offset, uint64_t end)
{
    uint64_t number = offset / SIM_PAGE + (offset % SIM_PAGE != 0);
    struct sim_page *page;

    while ((page = torc__sim_pages_next(&inode->pages, &number)) != NULL &&
           (number + 1) * SIM_PAGE <= end) {
        if (!page->is_dirty && page->live != page->durable)
            revert_page(inode, number, page);
        number++;
    }
    count_room(inode);
}

void torc__sim_data_forget(struct sim_inode *inode)
{
    uint64_t number = 0;
    struct sim_page *page;

    while ((page = torc__sim_pages_next(&inode->pages, &number)) != NULL) {
        if (page->live != page->durable)
            revert_page(inode, number, page);
        number++;
    }
    inode->size = inode->durable_size;
    count_room(inode);
}

void torc__sim_data_rot(struct sim_inode *inode, uint64_t offset, uint64_t end)
{
    struct sim_world *world = inode->disk->world;
    const uint64_t at = offset + torc__sim_below(world, end - offset);
    const uint8_t bit = (uint8_t)(1u << torc__sim_below(world, 8));
    const struct sim_page *page = torc__sim_pages_find(&inode->pages, at / SIM_PAGE);

    /* If the page is clean, the medium has it so, too; for that is where it comes from. */
    if (page != NULL && page->live != NULL)
        page->live[at % SIM_PAGE] ^= bit;
}

/* ---- Losing the power ---- */

/* Whether files lose as a whole what they lose, and not page by page; as often as not. */
struct fate {
    bool is_one;
    bool loses;
};

static bool loses(struct sim_world *world, const struct fate *fate)
{
    return fate->is_one ? fate->loses : torc__sim_chance(world, world->chaos.crash_lose_rate);
}

static void crash_page(struct sim_world *world, const struct fate *fate, struct sim_page *page)
{
    if (page->live == page->durable)
        return;
    if (torc__sim_chance(world, world->chaos.crash_tear_rate)) {
        write_sectors(world, page, HALF);
    } else if (page->is_dirty && !loses(world, fate)) {
        torc__sim_free(page->durable);
        page->durable = page->live;
    }
}

void torc__sim_data_crash(struct sim_inode *inode)
{
    struct sim_world *world = inode->disk->world;
    const struct fate fate = {.is_one = torc__sim_chance(world, HALF),
                              .loses = torc__sim_chance(world, world->chaos.crash_lose_rate)};
    uint64_t number = 0;
    struct sim_page *page;

    while ((page = torc__sim_pages_next(&inode->pages, &number)) != NULL) {
        crash_page(world, &fate, page);
        number++;
    }
    if (inode->size != inode->durable_size && !loses(world, &fate))
        inode->durable_size = inode->size;
    torc__sim_data_forget(inode);
    torc__sim_data_resize(inode, inode->size);
    /* What the medium has beyond the end is zero when the file grows again. */
    torc__sim_data_punch(inode, inode->size, (uint64_t)SIM_FILE_MAX + 1);
    torc__sim_data_write_back(inode);
}
