/* loop/thread.h: threads that help a loop, and end by themselves. */
#ifndef BAILEY_THREAD_H
#define BAILEY_THREAD_H

#include <stdbool.h>

/* Run `main(ctx)` on a detached thread that gets no signals: those are the main thread's. False: there can be no more now. */
bool thread_start(void *(*main)(void *ctx), void *ctx);

#endif
