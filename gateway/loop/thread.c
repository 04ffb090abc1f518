/* Signals are blocked around the creation, because a thread inherits the mask of the one that makes it. */
#include "loop/thread.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

bool thread_start(void *(*main)(void *ctx), void *ctx)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    bool started;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    started = pthread_create(&thread, &attr, main, ctx) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return started;
}
