/* SPDX-License-Identifier: MIT */
/*
 * symbol.c - names of addresses in this process's code.
 */
#include "base/symbol.h"
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A loaded file, mapped to be looked at. */
struct image {
    const char *bytes;
    size_t size;
};

/* What is found out about an address. */
struct place {
    uintptr_t address;
    uintptr_t base; /* what was added to the file's addresses when it was loaded */
    bool is_code;
    char path[192];
    char function[128];
    uintptr_t offset; /* into the function */
};

static bool is_within(const struct image *image, uint64_t offset, uint64_t size)
{
    return offset <= image->size && size <= image->size - offset;
}

static bool open_image(const char *path, struct image *image)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *bytes = MAP_FAILED;
    struct stat status;

    if (fd < 0)
        return false;
    if (fstat(fd, &status) == 0 && status.st_size > (off_t)sizeof(ElfW(Ehdr)))
        bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return false;
    *image = (struct image){.bytes = bytes, .size = (size_t)status.st_size};
    return true;
}

/* The section of that type; NULL if there is none that is whole. */
static const ElfW(Shdr) * find_section(const struct image *image, uint32_t type)
{
    const ElfW(Ehdr) *header = (const void *)image->bytes;
    const ElfW(Shdr) * sections;

    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_shentsize != sizeof(*sections) ||
        !is_within(image, header->e_shoff, (uint64_t)header->e_shnum * sizeof(*sections)))
        return NULL;
    sections = (const void *)(image->bytes + header->e_shoff);
    for (unsigned i = 0; i < header->e_shnum; i++) {
        const ElfW(Shdr) *section = &sections[i];

        if (section->sh_type == type && section->sh_link < header->e_shnum &&
            is_within(image, section->sh_offset, section->sh_size) &&
            is_within(image, sections[section->sh_link].sh_offset,
                      sections[section->sh_link].sh_size))
            return section;
    }
    return NULL;
}

/* Look the function up whose symbol in the file covers the address. */
static void find_function(const struct image *image, uintptr_t address, struct place *place)
{
    const ElfW(Shdr) *table = find_section(image, SHT_SYMTAB);
    const ElfW(Shdr) * names;
    const ElfW(Sym) * symbols;

    if (table == NULL || table->sh_entsize != sizeof(*symbols))
        return;
    names = (const ElfW(
                Shdr) *)(const void *)(image->bytes +
                                       ((const ElfW(Ehdr) *)(const void *)image->bytes)->e_shoff) +
            table->sh_link;
    symbols = (const void *)(image->bytes + table->sh_offset);
    for (size_t i = 0; i < table->sh_size / sizeof(*symbols); i++) {
        const uintptr_t start = place->base + symbols[i].st_value;

        if (ELF64_ST_TYPE(symbols[i].st_info) != STT_FUNC || address < start ||
            address - start >= symbols[i].st_size || symbols[i].st_name >= names->sh_size)
            continue;
        (void)snprintf(place->function, sizeof(place->function), "%.*s",
                       (int)(names->sh_size - symbols[i].st_name),
                       image->bytes + names->sh_offset + symbols[i].st_name);
        place->offset = place->address - start;
        return;
    }
}

/* dl_iterate_phdr() calls this for each file that is loaded; 1 ends that. */
static int look_at(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct place *place = arg;

    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) ||
            place->address - info->dlpi_addr - part->p_vaddr >= part->p_memsz)
            continue;
        place->is_code = true;
        place->base = info->dlpi_addr;
        (void)snprintf(place->path, sizeof(place->path), "%s", info->dlpi_name);
        return 1;
    }
    return 0;
}

bool torc__symbol_is_code(const void *address)
{
    struct place place = {.address = (uintptr_t)address};

    (void)dl_iterate_phdr(look_at, &place);
    return place.is_code;
}

/* What the loader knows itself: exported functions, of the kernel's own page as well. */
static void ask_loader(uintptr_t address, struct place *place)
{
    Dl_info info;

    if (place->function[0] != '\0' || dladdr((void *)address, &info) == 0 || info.dli_sname == NULL)
        return;
    (void)snprintf(place->function, sizeof(place->function), "%s", info.dli_sname);
    place->offset = place->address - (uintptr_t)info.dli_saddr;
}

void torc__symbol_describe(const void *address, bool is_return, char *text, size_t size)
{
    struct place place = {.address = (uintptr_t)address};
    const uintptr_t inside = place.address - is_return;
    struct image image;

    (void)dl_iterate_phdr(look_at, &place);
    if (!place.is_code) {
        (void)snprintf(text, size, "(no code)");
        return;
    }
    if (open_image(place.path[0] != '\0' ? place.path : "/proc/self/exe", &image)) {
        find_function(&image, inside, &place);
        munmap((void *)(uintptr_t)image.bytes, image.size);
    }
    ask_loader(inside, &place);
    if (place.path[0] == '\0') {
        const ssize_t length = readlink("/proc/self/exe", place.path, sizeof(place.path) - 1);

        place.path[length > 0 ? length : 0] = '\0';
    }
    if (place.function[0] != '\0')
        (void)snprintf(text, size, "%s+0x%" PRIxPTR " (%s+0x%" PRIxPTR ")", place.function,
                       place.offset, place.path, place.address - place.base);
    else
        (void)snprintf(text, size, "(%s+0x%" PRIxPTR ")", place.path, place.address - place.base);
}
