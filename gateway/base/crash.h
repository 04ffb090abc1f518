/* base/crash.h: named points of the code at which a test build dies by SIGKILL, as if somebody had pulled the plug there.
 *
 *     CRASH_POINT(after_send, lane->options.route);
 *
 * A usual build has nothing of it: no code, no variable, no look at the environment; only a wrong name is an error. With
 * -DBAILEY_CRASH_POINTS the environment variable BAILEY_CRASH=POINT:N[@ROUTE] kills the process at the Nth passage of POINT,
 * of this route if one is given. What the process then says of itself is one line on standard error.
 *
 * Points may be passed on any thread. CRASH_ARM belongs at the beginning of main().
 */
#ifndef BAILEY_CRASH_H
#define BAILEY_CRASH_H

enum crash_point {
#define POINT(name, with_dedup, what) CRASH_##name,
#include "base/crash.def"
#undef POINT
    CRASH_POINTS
};

#ifdef BAILEY_CRASH_POINTS

/* Read BAILEY_CRASH. What it does not understand ends the process with exit code 2: a test that kills nothing must not pass. */
void crash_arm(void);

/* `route` is borrowed for the call; NULL: the work is of several routes, or of none, and BAILEY_CRASH with a route
 * does not mean it. */
void crash_pass(enum crash_point point, const char *route);

#define CRASH_ARM() crash_arm()
#define CRASH_POINT(name, route) crash_pass(CRASH_##name, route)

#else

#define CRASH_ARM() ((void)0)
#define CRASH_POINT(name, route) ((void)CRASH_##name, (void)(route))

#endif
#endif
