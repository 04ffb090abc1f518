/* Opening the socket, and saying clearly why that cannot be done: mostly another process is there already. */
#include "admin/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 128 };

#define BAD_ADDRESS "admin.listen must name an address of this machine, such as 127.0.0.1 or 0.0.0.0"

static void print_address(char *out, size_t size, const char *host, const char *port)
{
    bool brackets = strchr(host, ':') != NULL;

    snprintf(out, size, "%s%s%s:%s", brackets ? "[" : "", host, brackets ? "]" : "", port);
}

static int listen_on(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, failure;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    failure = errno;
    close(fd);
    errno = failure;
    return -1;
}

static int cannot_listen(const char *address, int code, struct bailey_error *err)
{
    bailey_fail_native(err, BAILEY_ERR_CONFIG, "errno", code, "cannot listen on %s: %s", address, strerror(code));
    if (code == EADDRINUSE)
        bailey_hint(err, "another process listens there: choose another port under admin.listen");
    if (code == EADDRNOTAVAIL)
        bailey_hint(err, BAD_ADDRESS);
    if (code == EACCES)
        bailey_hint(err, "ports below 1024 need a privilege: choose a higher one under admin.listen");
    return -1;
}

/* The first address of the family that works. Returns -1 with errno, or with 0 in it if there is no address. */
static int listen_family(int family, const char *host, const char *port, int *unknown)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    int fd = -1, failure = 0, result = getaddrinfo(host, port, &hints, &list);

    if (result == 0) {
        for (struct addrinfo *info = list; info != NULL && fd < 0; info = info->ai_next)
            if ((fd = listen_on(info)) < 0)
                failure = errno;
        freeaddrinfo(list);
    } else {
        *unknown = result;
    }
    errno = failure;
    return fd;
}

int listen_open(const char *host, uint16_t port, struct bailey_error *err)
{
    char service[8], address[300];
    int fd, unknown = 0;

    snprintf(service, sizeof service, "%u", port);
    print_address(address, sizeof address, host, service);
    fd = listen_family(AF_INET, host, service, &unknown); /* first: who writes `localhost` mostly means 127.0.0.1 */
    if (fd < 0 && errno == 0)
        fd = listen_family(AF_INET6, host, service, &unknown);
    if (fd >= 0)
        return fd;
    if (errno != 0)
        return cannot_listen(address, errno, err);
    bailey_fail(err, BAILEY_ERR_CONFIG, "cannot listen on %s: %s", address, gai_strerror(unknown));
    bailey_hint(err, BAD_ADDRESS);
    return -1;
}

uint16_t listen_address(int fd, char out[LISTEN_ADDRESS_MAX])
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char host[LISTEN_ADDRESS_MAX - 16] = "?", port[8] = "0";

    if (getsockname(fd, (struct sockaddr *)&bound, &len) == 0)
        getnameinfo((struct sockaddr *)&bound, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    print_address(out, LISTEN_ADDRESS_MAX, host, port);
    return (uint16_t)strtoul(port, NULL, 10);
}
