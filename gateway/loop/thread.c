/* Signals are blocked around the creation, because a thread inherits the mask of the one that makes it. */
#include "loop/thread.h"

#include <signal.h>
#include <stddef.h>

static int start(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *ctx), void *ctx)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(thread, attr, main, ctx);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
}

bool thread_start(void *(*main)(void *ctx), void *ctx)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    bool started = start(&thread, &attr, main, ctx) == 0;
    pthread_attr_destroy(&attr);
    return started;
}

int thread_start_joinable(pthread_t *thread, void *(*main)(void *ctx), void *ctx)
{
    return start(thread, NULL, main, ctx);
}
