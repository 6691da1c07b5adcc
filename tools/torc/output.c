/* SPDX-License-Identifier: MIT */
/*
 * output.c - numbers as people read them, a line that changes in place, and colour.
 */
#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How many bytes the character has with which `text` begins; 0 if it is not to be shown. */
static unsigned printable_length(const unsigned char *text)
{
    static const uint32_t least[] = {0, ' ', 0xa0, 0x800, 0x10000};
    const unsigned length = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    uint32_t code = length == 1 ? text[0] : text[0] & (0x7fU >> length);

    if ((text[0] >= 0x80 && text[0] < 0xc0) || text[0] >= 0xf8)
        return 0;
    for (unsigned i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3fU);
    }
    if (code < least[length] || code == 0x7f || (code >= 0xd800 && code < 0xe000) ||
        code > 0x10ffff)
        return 0;
    return length;
}

void output_make_printable(char *text)
{
    while (*text != '\0') {
        const unsigned length = printable_length((const unsigned char *)text);

        if (length == 0)
            *text = '?';
        text += length > 0 ? length : 1;
    }
}

void output_drop_part(char *text)
{
    const size_t length = strlen(text);

    for (size_t back = 1; back < 4 && back <= length; back++) {
        unsigned char *last = (unsigned char *)&text[length - back];

        if ((*last & 0xc0) == 0x80)
            continue;
        if ((*last >= 0xc0 && back < 2) || (*last >= 0xe0 && back < 3) || *last >= 0xf0)
            *last = '\0';
        return;
    }
}

void output_cell(const char *text, unsigned width)
{
    size_t length = 0;

    while (width > 0 && text[length] != '\0') {
        const unsigned step = printable_length((const unsigned char *)&text[length]);

        length += step > 0 ? step : 1;
        width--;
    }
    printf("%.*s%*s", (int)length, text, (int)width, "");
}

struct output_text output_count(uint64_t number)
{
    struct output_text result;
    char digits[24];
    const int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    char *to = result.text;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return result;
}

/* Three significant digits and a unit. */
static struct output_text scaled(double value, const char *unit)
{
    struct output_text result;
    const int decimals = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;

    snprintf(result.text, sizeof(result.text), "%.*f %s", decimals, value, unit);
    return result;
}

struct output_text output_time(double time_ns)
{
    if (time_ns < 999.5)
        return scaled(time_ns, "ns");
    if (time_ns < 999.5e3)
        return scaled(time_ns / 1e3, "us");
    if (time_ns < 999.5e6)
        return scaled(time_ns / 1e6, "ms");
    return scaled(time_ns / 1e9, "s");
}

struct output_text output_bytes(double bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    struct output_text result;
    unsigned unit = 0;

    if (bytes < 1024) {
        snprintf(result.text, sizeof(result.text), "%.0f B", bytes);
        return result;
    }
    for (bytes /= 1024; bytes >= 999.5 && unit < 3; unit++)
        bytes /= 1024;
    return scaled(bytes, units[unit]);
}

const char *output_style(FILE *stream, enum output_style style)
{
    static const char *const escapes[] = {
        [OUTPUT_PLAIN] = "\033[0m", [OUTPUT_BOLD] = "\033[1m", [OUTPUT_DIM] = "\033[2m",
        [OUTPUT_GOOD] = "\033[32m", [OUTPUT_BAD] = "\033[31m", [OUTPUT_WARN] = "\033[33m",
    };
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    if (no_color != NULL && no_color[0] != '\0')
        return "";
    if (terminal == NULL || strcmp(terminal, "dumb") == 0 || !isatty(fileno(stream)))
        return "";
    return escapes[style];
}

bool output_live_wanted(void)
{
    const char *terminal = getenv("TERM");

    return isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
}

void output_live(const char *format, ...)
{
    va_list arguments;

    if (!output_live_wanted())
        return;
    va_start(arguments, format);
    fputc('\r', stderr);
    vfprintf(stderr, format, arguments);
    fputs("\033[K", stderr);
    fflush(stderr);
    va_end(arguments);
}

void output_live_end(void)
{
    if (!output_live_wanted())
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}

int output_json(json_t *object)
{
    const int result = object == NULL ? -1 : json_dumpf(object, stdout, JSON_REAL_PRECISION(9));

    json_decref(object);
    if (result != 0 || fputc('\n', stdout) == EOF || fflush(stdout) != 0)
        return -EIO;
    return 0;
}
