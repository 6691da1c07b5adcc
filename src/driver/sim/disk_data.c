/* SPDX-License-Identifier: MIT */
/*
 * disk_data.c - the data of regular files, as programs see them.
 *
 * What stands beyond the size is zero in every live page. Whatever changes a page makes a copy of
 * its durable half first.
 */
#include "driver/sim/disk_data.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PAGES_MAX (((uint64_t)SIM_FILE_MAX + 1) / SIM_PAGE)
/* How often a page that is about to change once more has been written in between, of a million. */
#define WRITTEN_BETWEEN_RATE 100000u

static uint64_t pages_below(uint64_t offset)
{
    return offset / SIM_PAGE + (offset % SIM_PAGE != 0);
}

/* ---- Room ---- */

static bool has_room(const struct sim_page *page)
{
    return page->live != NULL || page->is_reserved;
}

/*
 * How many pages are free. What was removed takes its room until the journal says so on the medium,
 * too; which is written when there is need.
 */
static uint64_t room_left(struct sim_disk *disk, uint64_t wanted)
{
    if (disk->pages_max - disk->pages_used < wanted)
        torc__sim_journal_write_all(disk);
    return disk->pages_max - disk->pages_used;
}

static bool take_room(struct sim_inode *inode)
{
    struct sim_disk *disk = inode->disk;

    if (room_left(disk, 1) == 0)
        return false;
    disk->pages_used++;
    inode->pages_used++;
    return true;
}

static void give_room(struct sim_inode *inode)
{
    inode->disk->pages_used--;
    inode->pages_used--;
}

/* ---- Pages ---- */

static void set_dirty(struct sim_inode *inode, uint64_t number, struct sim_page *page)
{
    page->is_dirty = true;
    if (inode->dirty_first >= inode->dirty_end)
        inode->dirty_first = inode->dirty_end = number;
    if (number < inode->dirty_first)
        inode->dirty_first = number;
    if (number >= inode->dirty_end)
        inode->dirty_end = number + 1;
    torc__sim_disk_dirtied(inode->disk);
}

/* A page whose live half may be changed; NULL: there is no room. */
static struct sim_page *page_to_change(struct sim_inode *inode, uint64_t number)
{
    struct sim_page *page = torc__sim_pages_find(&inode->pages, number);

    if ((page == NULL || !has_room(page)) && !take_room(inode))
        return NULL;
    if (page == NULL)
        page = torc__sim_pages_add(&inode->pages, number);
    if (page->is_dirty && torc__sim_chance(inode->disk->world, WRITTEN_BETWEEN_RATE))
        torc__sim_data_write_early(inode, number * SIM_PAGE, (number + 1) * SIM_PAGE);
    if (page->live == page->durable) {
        page->live = torc__sim_allocate(SIM_PAGE);
        if (page->durable != NULL)
            memcpy(page->live, page->durable, SIM_PAGE);
    } else if (page->live == NULL) {
        page->live = torc__sim_allocate(SIM_PAGE);
    }
    page->is_reserved = true;
    set_dirty(inode, number, page);
    return page;
}

/* The page has no live data from now on, nor room. */
static void empty_page(struct sim_inode *inode, uint64_t number, struct sim_page *page)
{
    if (has_room(page))
        give_room(inode);
    if (page->live != page->durable)
        torc__sim_free(page->live);
    page->live = NULL;
    page->is_reserved = false;
    if (page->durable == NULL) {
        torc__sim_pages_remove(&inode->pages, number);
    } else {
        set_dirty(inode, number, page);
    }
}

/* Zeros in part of a page. It takes no room that is not there. */
static void clear_part(struct sim_inode *inode, uint64_t offset, uint64_t end)
{
    const struct sim_page *page = torc__sim_pages_find(&inode->pages, offset / SIM_PAGE);

    if (page != NULL && page->live != NULL)
        memset(page_to_change(inode, offset / SIM_PAGE)->live + offset % SIM_PAGE, 0, end - offset);
}

void torc__sim_data_read(const struct sim_inode *inode, uint64_t offset, uint8_t *to, size_t size)
{
    while (size > 0) {
        const struct sim_page *page = torc__sim_pages_find(&inode->pages, offset / SIM_PAGE);
        const size_t at = offset % SIM_PAGE;
        const size_t part = size < SIM_PAGE - at ? size : SIM_PAGE - at;

        if (page != NULL && page->live != NULL) {
            memcpy(to, page->live + at, part);
        } else {
            memset(to, 0, part);
        }
        offset += part;
        to += part;
        size -= part;
    }
}

size_t torc__sim_data_write(struct sim_inode *inode, uint64_t offset, const uint8_t *from,
                            size_t size)
{
    size_t done = 0;

    while (done < size) {
        const size_t at = (offset + done) % SIM_PAGE;
        const size_t part = size - done < SIM_PAGE - at ? size - done : SIM_PAGE - at;
        struct sim_page *page = page_to_change(inode, (offset + done) / SIM_PAGE);

        if (page == NULL)
            break;
        memcpy(page->live + at, from + done, part);
        done += part;
    }
    if (done > 0 && offset + done > inode->size)
        inode->size = offset + done;
    return done;
}

void torc__sim_data_punch(struct sim_inode *inode, uint64_t offset, uint64_t end)
{
    uint64_t number = pages_below(offset);
    struct sim_page *page;

    if (offset >= end)
        return;
    if (offset / SIM_PAGE == end / SIM_PAGE) {
        clear_part(inode, offset, end);
        return;
    }
    if (offset % SIM_PAGE != 0)
        clear_part(inode, offset, number * SIM_PAGE);
    if (end % SIM_PAGE != 0)
        clear_part(inode, end - end % SIM_PAGE, end);
    while ((page = torc__sim_pages_next(&inode->pages, &number)) != NULL && number < end / SIM_PAGE)
        empty_page(inode, number++, page);
}

void torc__sim_data_resize(struct sim_inode *inode, uint64_t size)
{
    if (size < inode->size) {
        /* Also room beyond the end goes, and the last page is zero behind it. */
        torc__sim_data_punch(inode, size, (uint64_t)SIM_FILE_MAX + 1);
    }
    inode->size = size;
    torc__sim_disk_dirtied(inode->disk);
}

/* ---- Room without data ---- */

/* How many pages of [first, end) have no room yet, as far as `limit`. */
static uint64_t count_missing(const struct sim_inode *inode, uint64_t first, uint64_t end)
{
    uint64_t missing = end - first;
    const struct sim_page *page;

    while ((page = torc__sim_pages_next(&inode->pages, &first)) != NULL && first < end) {
        missing -= has_room(page);
        first++;
    }
    return missing;
}

int torc__sim_data_reserve(struct sim_inode *inode, uint64_t offset, uint64_t end)
{
    const uint64_t first = offset / SIM_PAGE;
    const uint64_t last = pages_below(end);
    const uint64_t missing = count_missing(inode, first, last);

    if (missing > room_left(inode->disk, missing))
        return -ENOSPC;
    for (uint64_t number = first; number < last; number++) {
        struct sim_page *page = torc__sim_pages_add(&inode->pages, number);

        if (!has_room(page))
            (void)take_room(inode);
        page->is_reserved = true;
    }
    torc__sim_disk_dirtied(inode->disk);
    return 0;
}

/* Page `to` becomes what page `from` is. */
static bool copy_page(struct sim_inode *inode, uint64_t from, uint64_t to)
{
    const struct sim_page *source = torc__sim_pages_find(&inode->pages, from);
    struct sim_page *target;

    if (source == NULL || source->live == NULL) {
        torc__sim_data_punch(inode, to * SIM_PAGE, (to + 1) * SIM_PAGE);
        return true;
    }
    target = page_to_change(inode, to);
    if (target == NULL)
        return false;
    memcpy(target->live, source->live, SIM_PAGE);
    return true;
}

int torc__sim_data_collapse(struct sim_inode *inode, uint64_t offset, uint64_t end)
{
    const uint64_t away = (end - offset) / SIM_PAGE;
    const uint64_t pages = pages_below(inode->size);

    for (uint64_t number = end / SIM_PAGE; number < pages; number++) {
        if (!copy_page(inode, number, number - away))
            return -ENOSPC; /* Of a page that was shared by nothing: there was room for it. */
    }
    torc__sim_data_resize(inode, inode->size - (end - offset));
    return 0;
}

int torc__sim_data_insert(struct sim_inode *inode, uint64_t offset, uint64_t end)
{
    const uint64_t away = (end - offset) / SIM_PAGE;

    if (away > room_left(inode->disk, away))
        return -ENOSPC;
    for (uint64_t number = pages_below(inode->size); number-- > offset / SIM_PAGE;) {
        if (!copy_page(inode, number, number + away))
            return -ENOSPC;
    }
    torc__sim_data_punch(inode, offset, end);
    inode->size += end - offset;
    return 0;
}

static uint64_t find_data(const struct sim_inode *inode, uint64_t number)
{
    const struct sim_page *page;

    while ((page = torc__sim_pages_next(&inode->pages, &number)) != NULL && page->live == NULL)
        number++;
    return page != NULL ? number : PAGES_MAX;
}

static uint64_t find_hole(const struct sim_inode *inode, uint64_t number)
{
    const struct sim_page *page;

    while ((page = torc__sim_pages_find(&inode->pages, number)) != NULL && page->live != NULL)
        number++;
    return number;
}

int64_t torc__sim_data_seek(const struct sim_inode *inode, uint64_t offset, int whence)
{
    const uint64_t first = offset / SIM_PAGE;
    uint64_t found;

    if (offset >= inode->size)
        return -ENXIO;
    found = whence == SEEK_DATA ? find_data(inode, first) : find_hole(inode, first);
    found *= SIM_PAGE;
    if (found < offset)
        found = offset;
    if (found < inode->size)
        return (int64_t)found;
    return whence == SEEK_DATA ? -ENXIO : (int64_t)inode->size;
}

void torc__sim_data_clear(struct sim_inode *inode)
{
    uint64_t number = 0;
    struct sim_page *page;

    while ((page = torc__sim_pages_next(&inode->pages, &number)) != NULL) {
        if (has_room(page))
            give_room(inode);
        if (page->durable != page->live)
            torc__sim_free(page->durable);
        torc__sim_free(page->live);
        torc__sim_pages_remove(&inode->pages, number);
    }
}
