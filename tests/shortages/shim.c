/* Makes system calls fail on demand: loaded before the C library (LD_PRELOAD), it reads from a file that it shares with
 * the test which error each call is to give; 0 lets it through. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In the order of the test's `Call`. */
enum { ACCEPT, SOCKET, CONNECT, WATCH, WAIT, CALLS };

static const volatile int *errors;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SHORTAGES");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *shared = file < 0 ? MAP_FAILED : mmap(NULL, CALLS * sizeof *errors, PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    if (shared != MAP_FAILED)
        errors = shared;
}

static int fails(int call)
{
    int error = errors ? errors[call] : 0;
    if (error)
        errno = error;
    return error;
}

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags)
{
    return fails(ACCEPT) ? -1 : (int)syscall(SYS_accept4, listener, address, length, flags);
}

int socket(int family, int type, int protocol)
{
    int internet = family == AF_INET || family == AF_INET6;
    return internet && fails(SOCKET) ? -1 : (int)syscall(SYS_socket, family, type, protocol);
}

int connect(int descriptor, const struct sockaddr *address, socklen_t length)
{
    return fails(CONNECT) ? -1 : (int)syscall(SYS_connect, descriptor, address, length);
}

int epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event *event)
{
    int more = operation == EPOLL_CTL_ADD;
    return more && fails(WATCH) ? -1 : (int)syscall(SYS_epoll_ctl, epoll, operation, descriptor, event);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    return fails(WAIT) ? -1 : (int)syscall(SYS_epoll_pwait, epoll, events, most, timeout, NULL, 8);
}
