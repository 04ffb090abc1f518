/* loop/thread.h: threads of the gateway. None gets signals: those are the main thread's. */
#ifndef BAILEY_THREAD_H
#define BAILEY_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Run `main(ctx)` on a detached thread, which helps a loop and ends by itself. False: there can be no more now. */
bool thread_start(void *(*main)(void *ctx), void *ctx);

/* Run `main(ctx)` on a thread that the caller joins. Returns 0, or why there can be none (errno.h). */
int thread_start_joinable(pthread_t *thread, void *(*main)(void *ctx), void *ctx);

#endif
