/* fail_alloc.c: our malloc in front of glibc's. */
#include "fail_alloc.h"

#include <errno.h>
#include <stdlib.h>

static _Thread_local bool armed, all;
static _Thread_local size_t fail_at, seen;
static _Thread_local long balance;

void fail_alloc_arm(size_t nth, bool all_after)
{
    fail_at = nth;
    all = all_after;
    seen = 0;
    balance = 0;
    armed = true;
}

size_t fail_alloc_disarm(void)
{
    armed = false;
    return seen;
}

bool fail_alloc_pause(void)
{
    bool was_armed = armed;

    armed = false;
    return was_armed;
}

void fail_alloc_resume(bool was_armed)
{
    armed = was_armed;
}

long fail_alloc_balance(void)
{
    return balance;
}

#ifndef __has_feature
#define __has_feature(x) 0 /* GCC has macros of its own */
#endif

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || defined(__SANITIZE_ADDRESS__) || \
    defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)

bool fail_alloc_works(void)
{
    return false;
}

#else

bool fail_alloc_works(void)
{
    return true;
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *ptr);

static bool fails(void)
{
    if (!armed)
        return false;
    seen++;
    if (fail_at == 0 || (all ? seen < fail_at : seen != fail_at))
        return false;
    errno = ENOMEM;
    return true;
}

static void *made(void *ptr)
{
    if (armed && ptr != NULL)
        balance++;
    return ptr;
}

/* They replace the library's: the program and all libraries call them. */
#pragma GCC visibility push(default)
void *malloc(size_t size)
{
    return fails() ? NULL : made(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : made(__libc_calloc(count, size));
}

void *realloc(void *old, size_t size)
{
    if (fails())
        return NULL;
    return old == NULL ? made(__libc_malloc(size)) : __libc_realloc(old, size);
}

void free(void *ptr)
{
    if (armed && ptr != NULL)
        balance--;
    __libc_free(ptr);
}
#pragma GCC visibility pop

#endif
