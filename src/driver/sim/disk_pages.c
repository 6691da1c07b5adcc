/* SPDX-License-Identifier: MIT */
/*
 * disk_pages.c - the pages of a file by their numbers: a radix tree, as high as the highest number
 * needs.
 */
#include "driver/sim/disk_inner.h"

#define BITS  6u
#define WIDTH (1u << BITS)
/* 2^63 bytes are 2^51 pages. */
#define HEIGHT_MAX 9u

struct node {
    unsigned count;
    void *slots[WIDTH]; /* nodes, or pages at level 0 */
};

static unsigned slot_of(uint64_t number, unsigned level)
{
    return (unsigned)(number >> BITS * level) % WIDTH;
}

static bool is_covered(const struct sim_pages *pages, uint64_t number)
{
    return pages->height > 0 && number >> BITS * pages->height == 0;
}

struct sim_page *torc__sim_pages_find(const struct sim_pages *pages, uint64_t number)
{
    const struct node *node = pages->root;

    if (!is_covered(pages, number))
        return NULL;
    for (unsigned level = pages->height - 1; level > 0 && node != NULL; level--)
        node = node->slots[slot_of(number, level)];
    return node != NULL ? node->slots[slot_of(number, 0)] : NULL;
}

static void grow(struct sim_pages *pages)
{
    struct node *root = torc__sim_allocate(sizeof(*root));

    if (pages->root != NULL) {
        root->slots[0] = pages->root;
        root->count = 1;
    }
    pages->root = root;
    pages->height++;
}

struct sim_page *torc__sim_pages_add(struct sim_pages *pages, uint64_t number)
{
    struct node *node;
    void **slot;

    while (!is_covered(pages, number))
        grow(pages);
    node = pages->root;
    for (unsigned level = pages->height - 1;; level--) {
        slot = &node->slots[slot_of(number, level)];
        if (*slot == NULL) {
            *slot = torc__sim_allocate(level > 0 ? sizeof(*node) : sizeof(struct sim_page));
            node->count++;
        }
        if (level == 0)
            return *slot;
        node = *slot;
    }
}

void torc__sim_pages_remove(struct sim_pages *pages, uint64_t number)
{
    struct node *way[HEIGHT_MAX + 1];
    struct node *node = pages->root;
    unsigned level;

    for (level = pages->height - 1; level > 0; level--) {
        way[level] = node;
        node = node->slots[slot_of(number, level)];
    }
    way[0] = node;
    torc__sim_free(node->slots[slot_of(number, 0)]);
    for (level = 0; level < pages->height; level++) {
        way[level]->slots[slot_of(number, level)] = NULL;
        if (--way[level]->count > 0)
            return;
        torc__sim_free(way[level]);
    }
    *pages = (struct sim_pages){.root = NULL};
}

static struct sim_page *next_below(const struct node *node, unsigned level, uint64_t *number)
{
    for (unsigned i = slot_of(*number, level); i < WIDTH; i++) {
        void *slot = node->slots[i];

        if (slot == NULL) { /* Go to where the next slot begins; else those below go there. */
            *number = ((*number >> BITS * level) + 1) << BITS * level;
        } else if (level == 0) {
            return slot;
        } else {
            struct sim_page *page = next_below(slot, level - 1, number);

            if (page != NULL)
                return page;
        }
    }
    return NULL;
}

struct sim_page *torc__sim_pages_next(const struct sim_pages *pages, uint64_t *number)
{
    return is_covered(pages, *number) ? next_below(pages->root, pages->height - 1, number) : NULL;
}
