/* fail_alloc.h: an allocator that fails when a test wants it to.
 *
 * malloc, calloc and realloc of the whole test program go through fail_alloc.c (and with them strdup, asprintf and libraries).
 * Nothing fails until fail_alloc_arm(), and then only on the thread that called it. With a sanitizer the program keeps the
 * sanitizer's allocator: fail_alloc_works() is false, and the test is skipped.
 */
#ifndef BAILEY_TEST_FAIL_ALLOC_H
#define BAILEY_TEST_FAIL_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

bool fail_alloc_works(void);

/* From now on count allocations; the nth (from 1) fails, and, if `all_after`, every later one. 0: none fails. */
void fail_alloc_arm(size_t nth, bool all_after);

/* Stop. Returns the number of allocations since arm. */
size_t fail_alloc_disarm(void);

/* For a test's rig: until resume, with what pause returned, allocations of this thread neither count nor fail. */
bool fail_alloc_pause(void);
void fail_alloc_resume(bool was_armed);

/* Since arm: blocks that were allocated and not freed (what was allocated before and freed since counts as -1). */
long fail_alloc_balance(void);

#endif
