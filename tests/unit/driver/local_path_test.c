/* SPDX-License-Identifier: MIT */
/*
 * local_path_test.c - binding to paths, and what becomes of those that are left behind.
 */
#include "driver/local_path.h"
#include "harness/harness.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory of our own, into which all paths of a test go. */
struct place {
    char folder[32];
    struct sockaddr_un address;
};

static void open_place(struct place *place)
{
    *place = (struct place){.folder = "/tmp/torc-path-XXXXXX"};
    EXPECT(mkdtemp(place->folder) != NULL);
    place->address.sun_family = AF_UNIX;
    (void)snprintf(place->address.sun_path, sizeof(place->address.sun_path), "%s/socket",
                   place->folder);
}

/* Nothing else may have been left in it. */
static void close_place(struct place *place)
{
    (void)unlink(place->address.sun_path);
    EXPECT_MSG(rmdir(place->folder) == 0, "errno %d", errno);
}

static int new_socket(int type)
{
    const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    EXPECT_INT(fd, >=, 0);
    return fd;
}

static int bind_to(int fd, const struct place *place, unsigned mode)
{
    return torc__local_bind(fd, &place->address, sizeof(place->address), mode);
}

static int free_path(const struct place *place)
{
    return torc__local_free(&place->address, sizeof(place->address));
}

static bool exists(const struct place *place)
{
    struct stat status;

    return lstat(place->address.sun_path, &status) == 0;
}

TEST(a_path_is_taken_over_when_its_socket_has_gone)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    struct place place;

    open_place(&place);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            int fd = new_socket(types[i]);

            EXPECT_INT(bind_to(fd, &place, 0), ==, 0);
            close(fd);
            EXPECT(exists(&place));
            fd = new_socket(types[j]);
            EXPECT_INT(bind_to(fd, &place, 0), ==, 0);
            close(fd);
        }
    }
    close_place(&place);
}

TEST(a_path_whose_socket_lives_is_left_alone_whether_it_listens_or_not)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    struct place place;

    open_place(&place);
    for (int i = 0; i < 3; i++) {
        const int owner = new_socket(types[i]);
        struct stat before;
        struct stat after;

        EXPECT_INT(bind_to(owner, &place, 0), ==, 0);
        EXPECT_INT(lstat(place.address.sun_path, &before), ==, 0);
        for (int j = 0; j < 3; j++) {
            const int fd = new_socket(types[j]);

            EXPECT_INT(bind_to(fd, &place, 0), ==, -EADDRINUSE);
            EXPECT_INT(free_path(&place), ==, -EADDRINUSE);
            close(fd);
            if (types[i] != SOCK_DGRAM)
                EXPECT_INT(listen(owner, 1), ==, 0); /* From the second round on. */
        }
        EXPECT_INT(lstat(place.address.sun_path, &after), ==, 0);
        EXPECT_UINT(before.st_ino, ==, after.st_ino);
        close(owner);
        EXPECT_INT(free_path(&place), ==, 0);
        EXPECT(!exists(&place));
    }
    close_place(&place);
}

TEST(a_listener_notices_nothing_when_it_is_asked_whether_it_lives)
{
    const int owner = new_socket(SOCK_STREAM);
    struct place place;

    open_place(&place);
    EXPECT_INT(bind_to(owner, &place, 0), ==, 0);
    EXPECT_INT(listen(owner, 1), ==, 0);
    EXPECT_INT(free_path(&place), ==, -EADDRINUSE);
    EXPECT_INT(fcntl(owner, F_SETFL, O_NONBLOCK), ==, 0);
    EXPECT(accept(owner, NULL, NULL) < 0 && errno == EAGAIN);
    close(owner);
    close_place(&place);
}

TEST(what_is_no_socket_is_never_removed)
{
    const int fd = new_socket(SOCK_STREAM);
    struct place place;
    struct stat status;
    int file;

    open_place(&place);
    file = open(place.address.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    EXPECT_INT(file, >=, 0);
    close(file);
    EXPECT_INT(bind_to(fd, &place, 0), ==, -EADDRINUSE);
    EXPECT_INT(free_path(&place), ==, -ENOTSOCK);
    EXPECT(exists(&place));
    EXPECT_INT(unlink(place.address.sun_path), ==, 0);
    EXPECT_INT(symlink("socket.gone", place.address.sun_path), ==, 0);
    EXPECT_INT(bind_to(fd, &place, 0), ==, -EADDRINUSE);
    EXPECT_INT(free_path(&place), ==, -ENOTSOCK);
    EXPECT_INT(unlink(place.address.sun_path), ==, 0);
    EXPECT_INT(mkdir(place.address.sun_path, 0700), ==, 0);
    EXPECT_INT(bind_to(fd, &place, 0), ==, -EADDRINUSE);
    EXPECT_INT(lstat(place.address.sun_path, &status), ==, 0);
    EXPECT_INT(rmdir(place.address.sun_path), ==, 0);
    close(fd);
    close_place(&place);
}

TEST(freeing_what_is_not_there_or_has_no_path_is_no_error)
{
    const struct sockaddr_un abstract = {.sun_family = AF_UNIX, .sun_path = "\0name"};
    const struct sockaddr_un other = {.sun_family = AF_INET, .sun_path = "/nowhere"};
    struct place place;

    open_place(&place);
    EXPECT_INT(free_path(&place), ==, 0);
    EXPECT_INT(torc__local_free(&abstract, sizeof(abstract)), ==, 0);
    EXPECT_INT(torc__local_free(&abstract, sizeof(sa_family_t)), ==, 0);
    EXPECT_INT(torc__local_free(&other, sizeof(other)), ==, 0);
    close_place(&place);
}

static unsigned mode_of(const struct place *place)
{
    struct stat status;

    EXPECT_INT(lstat(place->address.sun_path, &status), ==, 0);
    return status.st_mode & 0777;
}

TEST(the_mode_of_a_path_is_what_was_asked_for_whatever_the_umask)
{
    const mode_t before = umask(027);
    struct place place;
    int fd;

    open_place(&place);
    fd = new_socket(SOCK_STREAM);
    EXPECT_INT(bind_to(fd, &place, 0), ==, 0);
    EXPECT_UINT(mode_of(&place), ==, 0750);
    close(fd);
    fd = new_socket(SOCK_STREAM);
    EXPECT_INT(bind_to(fd, &place, 0666), ==, 0);
    EXPECT_UINT(mode_of(&place), ==, 0666);
    close(fd);
    fd = new_socket(SOCK_STREAM);
    EXPECT_INT(bind_to(fd, &place, 0600), ==, 0);
    EXPECT_UINT(mode_of(&place), ==, 0600);
    close(fd);
    umask(before);
    close_place(&place);
}

/* One of full length has no room for a NUL, which then is not needed; valgrind thinks it is. */
TEST(a_path_of_full_length_can_be_taken_over_and_freed)
{
    struct place place;
    size_t length;
    int fd;

    open_place(&place);
    length = strlen(place.address.sun_path);
    memset(place.address.sun_path + length, 'x',
           sizeof(place.address.sun_path) - length - harness_is_valgrind());
    for (int i = 0; i < 2; i++) {
        fd = new_socket(SOCK_STREAM);
        EXPECT_INT(bind_to(fd, &place, 0600), ==, 0);
        EXPECT_INT(free_path(&place), ==, -EADDRINUSE);
        close(fd);
    }
    EXPECT_INT(free_path(&place), ==, 0);
    EXPECT_MSG(rmdir(place.folder) == 0, "errno %d", errno);
}

/* There is room for the name of the socket, but not for a longer one beside it. */
TEST(a_path_in_a_directory_with_a_long_path_can_be_taken_over_too)
{
    struct place place;
    char folder[sizeof(place.address.sun_path)];
    size_t length;
    int fd;

    open_place(&place);
    length = sizeof(place.address.sun_path) - 2 - harness_is_valgrind();
    memset(folder, 'd', sizeof(folder));
    memcpy(folder, place.folder, strlen(place.folder));
    folder[strlen(place.folder)] = '/';
    folder[length] = '\0';
    EXPECT_INT(mkdir(folder, 0700), ==, 0);
    memset(place.address.sun_path, 0, sizeof(place.address.sun_path));
    memcpy(place.address.sun_path, folder, length);
    memcpy(place.address.sun_path + length, "/s", 2);
    for (int i = 0; i < 2; i++) {
        fd = new_socket(SOCK_STREAM);
        EXPECT_INT(bind_to(fd, &place, 0600), ==, 0);
        EXPECT_INT(free_path(&place), ==, -EADDRINUSE);
        close(fd);
    }
    EXPECT_INT(free_path(&place), ==, 0);
    EXPECT_MSG(rmdir(folder) == 0, "errno %d", errno);
    EXPECT_MSG(rmdir(place.folder) == 0, "errno %d", errno);
}
