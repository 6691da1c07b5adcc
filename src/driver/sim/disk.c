/* SPDX-License-Identifier: MIT */
/*
 * disk.c - the life of a simulated disk, from its making through crashes to its end.
 */
#include "driver/sim/disk.h"
#include "base/compiler.h"
#include "base/log.h"
#include "driver/sim/disk_data.h"
#include "driver/sim/disk_device.h"
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define UMASK       022
#define INODE_FIRST 2u /* the root's number, as on ext4 */
/* Without a bound of the chaos: more than there is memory. */
#define PAGES_MAX (UINT64_C(1) << 40)

/* ---- Writing back ---- */

static void write_all(struct sim_disk *disk)
{
    torc__sim_journal_write_all(disk);
    for (struct sim_inode *inode = disk->inodes; inode != NULL; inode = inode->next)
        torc__sim_inode_write_back(inode);
    disk->write_back_ns = 0;
}

void torc__sim_disk_sync(struct sim_host *host)
{
    write_all(host->disk);
}

void torc__sim_disk_dirtied(struct sim_disk *disk)
{
    const uint64_t age_ns = disk->world->chaos.disk_write_back_ns;

    if (disk->write_back_ns == 0 && age_ns != 0)
        disk->write_back_ns =
            disk->world->now_ns + torc__sim_between(disk->world, age_ns / 2, age_ns);
}

void torc__sim_disk_age(struct sim_disk *disk)
{
    if (unlikely(disk->write_back_ns != 0 && disk->world->now_ns >= disk->write_back_ns))
        write_all(disk);
}

bool torc__sim_disk_fault(struct sim_disk *disk, const char *name, uint32_t per_million)
{
    return !disk->is_quiet && torc__sim_fault(disk->world, disk->host, name, per_million);
}

/* ---- Making ---- */

static struct sim_inode *make_root(struct sim_disk *disk)
{
    struct sim_inode *root = torc__sim_inode_create(disk, S_IFDIR | 0755);

    root->links = 2;
    root->directory->parent = root;
    return root;
}

static void make_tmp(struct sim_disk *disk)
{
    struct sim_entry *entry = torc__sim_entry_add(disk->root, "tmp", 3);
    struct sim_inode *tmp = torc__sim_inode_create(disk, S_IFDIR | 01777);
    const struct sim_change change = {disk->root, entry, tmp};

    torc__sim_entry_set(disk->root, entry, tmp);
    torc__sim_journal_add(disk, &change, 1);
    torc__sim_inode_release(tmp);
}

int torc__sim_disk_create(struct sim_host *host)
{
    struct sim_world *world = host->world;
    struct sim_disk *disk = torc__sim_allocate(sizeof(*disk));

    disk->host = host;
    disk->world = world;
    disk->inodes_last = &disk->inodes;
    disk->next_number = INODE_FIRST;
    disk->name_key = torc__sim_random(world);
    disk->pages_max = world->chaos.disk_bytes != 0 ? world->chaos.disk_bytes / SIM_PAGE : PAGES_MAX;
    disk->umask = UMASK;
    disk->file_size_max = UINT64_MAX;
    disk->is_quiet = true;
    host->disk = disk;
    disk->root = make_root(disk);
    disk->working = disk->root;
    disk->root->users++;
    make_tmp(disk);
    torc__sim_devices_make(disk);
    write_all(disk);
    disk->is_quiet = false;
    disk->user = geteuid();
    disk->group = getegid();
    return 0;
}

static void free_entries(struct sim_directory *directory)
{
    for (size_t i = 0; i < directory->count; i++)
        torc__sim_free(directory->entries[i]);
    directory->count = 0;
}

void torc__sim_disk_destroy(struct sim_host *host)
{
    struct sim_disk *disk = host->disk;

    if (disk == NULL)
        return;
    host->disk = NULL;
    while (disk->inodes != NULL) {
        struct sim_inode *inode = disk->inodes;

        TORC_ASSERT(inode->files == NULL);
        if (inode->directory != NULL)
            free_entries(inode->directory);
        torc__sim_inode_destroy(inode);
    }
    torc__sim_free(disk);
}

void torc__sim_disk_set_read_only(struct sim_host *host, bool is_read_only)
{
    host->disk->is_read_only = is_read_only;
}

/* ---- Processes and crashes ---- */

void torc__sim_disk_new_process(struct sim_host *host)
{
    struct sim_disk *disk = host->disk;
    struct sim_inode *before = disk->working;

    disk->root->users++;
    disk->working = disk->root;
    torc__sim_inode_release(before);
    disk->umask = UMASK;
    disk->file_size_max = UINT64_MAX;
}

/* What programs see of names becomes what the medium has. Links are counted later. */
static void revert_names(struct sim_inode *directory)
{
    struct sim_directory *here = directory->directory;

    here->live_count = 0;
    for (size_t i = here->count; i-- > 0;) {
        struct sim_entry *entry = here->entries[i];

        entry->live = NULL;
        torc__sim_entry_settle(directory, entry);
    }
}

/* The names in a directory that is there; returns those of its directories, before `later`. */
static struct sim_inode *reach_names(struct sim_inode *directory, struct sim_inode *later)
{
    struct sim_directory *here = directory->directory;

    for (size_t i = 0; i < here->count; i++) {
        struct sim_inode *inode = here->entries[i]->durable;

        torc__sim_entry_set(directory, here->entries[i], inode);
        if (inode->directory != NULL && !inode->is_reached) {
            inode->reached_next = later;
            later = inode;
        }
        inode->is_reached = true;
    }
    return later;
}

/* Find all that has a name, from the root on, and count its links. */
static void reach_all(struct sim_disk *disk)
{
    struct sim_inode *next = disk->root;

    for (struct sim_inode *inode = disk->inodes; inode != NULL; inode = inode->next) {
        inode->users++; /* None goes before all is known: see let_go_all(). */
        if (inode->directory != NULL)
            revert_names(inode);
        inode->links = 0;
        inode->is_reached = false;
    }
    disk->root->links = 2;
    disk->root->is_reached = true;
    disk->root->reached_next = NULL;
    while (next != NULL)
        next = reach_names(next, next->reached_next);
}

/* What has no name any more has none in it either. */
static void forget_names(struct sim_inode *directory)
{
    struct sim_directory *here = directory->directory;

    for (size_t i = here->count; i-- > 0;) {
        struct sim_entry *entry = here->entries[i];
        struct sim_inode *inode = entry->durable;

        entry->durable = NULL;
        inode->pins--; /* It is not reached: its turn will come. */
        torc__sim_entry_settle(directory, entry);
    }
}

static void crash_attributes(struct sim_inode *inode)
{
    const struct sim_world *world = inode->disk->world;

    if (!torc__sim_chance(inode->disk->world, world->chaos.crash_lose_rate)) {
        torc__sim_inode_sync_attributes(inode);
        return;
    }
    if (inode->live.xattrs != inode->durable.xattrs)
        torc__sim_xattrs_free(inode->live.xattrs);
    inode->live = inode->durable;
}

/* Free what nobody can reach. What goes together with another is one that was let go before. */
static void let_go_all(struct sim_disk *disk)
{
    struct sim_inode *next;

    for (struct sim_inode *inode = disk->inodes; inode != NULL; inode = inode->next) {
        if (!inode->is_reached && inode->directory != NULL)
            forget_names(inode);
    }
    for (struct sim_inode *inode = disk->inodes; inode != NULL; inode = next) {
        next = inode->next;
        torc__sim_inode_release(inode);
    }
}

void torc__sim_disk_crash(struct sim_host *host)
{
    struct sim_disk *disk = host->disk;

    torc__sim_disk_age(disk);
    torc__sim_disk_new_process(host);
    torc__sim_trace(disk->world, host, "disk: crash", disk->journal_count,
                    (int64_t)disk->pages_used);
    torc__sim_journal_crash(disk);
    reach_all(disk);
    for (struct sim_inode *inode = disk->inodes; inode != NULL; inode = inode->next) {
        if (!inode->is_reached)
            continue;
        if (S_ISREG(inode->live.mode))
            torc__sim_data_crash(inode);
        crash_attributes(inode);
    }
    let_go_all(disk);
    disk->write_back_ns = 0;
}
