/* SPDX-License-Identifier: MIT */
/*
 * terminal.c - a whole screen that changes in place, and keys that are read one by one.
 *
 * Signals only write a byte into a pipe, which is waited for together with the keys.
 */
#include "terminal.h"
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <torc/torc.h>
#include <unistd.h>

/* A screen of its own, without a cursor; and lines that are too long are cut off, not wrapped. */
#define ENTER "\033[?1049h\033[?25l\033[?7l"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGCONT};

static int signal_pipe[2] = {-1, -1};
static bool on_screen;
static struct termios before;

bool terminal_is_there(void)
{
    const char *kind = getenv("TERM");

    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && kind != NULL &&
           strcmp(kind, "dumb") != 0;
}

static void note_signal(int number)
{
    const int saved = errno;
    const unsigned char byte = (unsigned char)number;

    if (write(signal_pipe[1], &byte, 1) < 0)
        errno = saved; /* It is full of signals: one more would tell nothing new. */
    errno = saved;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};

    if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return;
    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++) {
        if (!signal_is_ignored(caught[i]))
            sigaction(caught[i], &action, NULL);
    }
}

/* Keys come one by one, unseen; Ctrl-C still is a signal. */
static void enter(void)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &before) == 0) {
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs(ENTER, stdout);
    fflush(stdout);
}

static void leave(void)
{
    fputs(LEAVE, stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

void terminal_open(bool screen)
{
    catch_signals();
    on_screen = screen;
    if (on_screen)
        enter();
}

void terminal_close(void)
{
    if (on_screen)
        leave();
    on_screen = false;
}

struct terminal_size terminal_size(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
        return (struct terminal_size){.rows = 24, .columns = 80};
    return (struct terminal_size){.rows = size.ws_row, .columns = size.ws_col};
}

void terminal_begin(void)
{
    if (on_screen)
        fputs("\033[H", stdout);
}

void terminal_end_line(void)
{
    fputs(on_screen ? "\033[K\n" : "\n", stdout);
}

void terminal_end(void)
{
    if (on_screen)
        fputs("\033[J", stdout);
    fflush(stdout);
}

/* Ctrl-Z: as if we were not there, until we go on. */
static void stop(void)
{
    if (on_screen)
        leave();
    raise(SIGSTOP);
    if (on_screen)
        enter();
}

/* What a signal means. TERMINAL_TIME: nothing. */
static enum terminal_event take_signal(void)
{
    unsigned char number;

    if (read(signal_pipe[0], &number, 1) != 1)
        return TERMINAL_TIME;
    if (number == SIGTSTP)
        stop();
    if (number == SIGTSTP || number == SIGCONT || number == SIGWINCH)
        return TERMINAL_RESIZED;
    return TERMINAL_QUIT;
}

/* Whether a key that quits was pressed; and whether there will be none any more. */
static enum terminal_event take_key(short *events)
{
    char key;
    const ssize_t count = read(STDIN_FILENO, &key, 1);

    if (count < 0 && errno != EINTR && errno != EAGAIN)
        return TERMINAL_QUIT; /* It is not ours. */
    if (count == 0)
        *events = 0; /* Its other end is gone, or nobody pressed anything. */
    return count == 1 && (key == 'q' || key == 'Q' || key == 3) ? TERMINAL_QUIT : TERMINAL_TIME;
}

enum terminal_event terminal_wait(uint64_t until_ns)
{
    struct pollfd sources[2] = {
        {.fd = signal_pipe[0], .events = POLLIN},
        {.fd = on_screen ? STDIN_FILENO : -1, .events = POLLIN},
    };

    for (;;) {
        const uint64_t now_ns = torc_now();
        const uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
        const struct timespec timeout = {.tv_sec = (time_t)(left_ns / TORC_SECOND),
                                         .tv_nsec = (long)(left_ns % TORC_SECOND)};
        enum terminal_event event = TERMINAL_TIME;

        if (left_ns == 0)
            return TERMINAL_TIME;
        if (ppoll(sources, 2, &timeout, NULL) <= 0)
            continue;
        if (sources[0].revents != 0)
            event = take_signal();
        else if (sources[1].revents & (POLLHUP | POLLERR))
            event = TERMINAL_QUIT; /* There is no terminal any more. */
        else if (sources[1].revents != 0)
            event = take_key(&sources[1].events);
        if (sources[1].events == 0)
            sources[1].fd = -1;
        if (event != TERMINAL_TIME)
            return event;
    }
}
