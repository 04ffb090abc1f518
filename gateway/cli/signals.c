/* cli/signals.c: SIGTERM and SIGINT: the first is an event, the second ends the process.
 *
 * All threads are made with both blocked. After the first, the main thread lets them through to a handler: then a
 * second one works whatever the main thread is waiting for.
 */
#include "cli/cli.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "host/gateway.h"

static void set_of_ends(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

int cli_signals_open(void)
{
    sigset_t set;

    set_of_ends(&set);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void cli_signals_close(int fd)
{
    sigset_t set;

    set_of_ends(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    close(fd);
}

static void end_at_once(int number)
{
    _exit(128 + number);
}

int cli_signals_first(int fd)
{
    struct sigaction action = {.sa_handler = end_at_once};
    struct signalfd_siginfo info;
    sigset_t set;

    if (read(fd, &info, sizeof info) != (ssize_t)sizeof info)
        return 0;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    set_of_ends(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return (int)info.ssi_signo;
}

int64_t cli_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool cli_start_is_hopeless(const struct route_status *status, int64_t began_ms)
{
    enum { PATIENCE_MS = 30000, ATTEMPTS = 4, LEAST_MS = 3000 };

    return status->state >= LANE_STARTING &&
           cli_now_ms() - began_ms >= (status->restarts >= ATTEMPTS ? LEAST_MS : PATIENCE_MS);
}

void cli_drain(struct gateway *gateway, int64_t timeout_ms)
{
    struct pollfd done = {.fd = gateway_done_fd(gateway), .events = POLLIN};
    int64_t deadline = cli_now_ms() + timeout_ms, left;

    gateway_drain(gateway);
    while ((left = deadline - cli_now_ms()) > 0 && poll(&done, 1, (int)(left < 60000 ? left : 60000)) <= 0)
        continue;
}
