/* replayer.h: a process beside the others that sends the dead letters of a route again, as `bailey dlq replay` does: one run after the
 * other, each of which may be killed, until none is left but those that were replayed too often. It remembers in a store of its own
 * what it has sent.
 */
#ifndef BAILEY_SIM_REPLAYER_H
#define BAILEY_SIM_REPLAYER_H

#include "scene.h"

struct replayer;

struct replayer *replayer_new(struct scene *scene, struct route *route);
struct process *replayer_process(struct replayer *replayer);
/* All is replayed, and it rests. */
bool replayer_is_done(const struct replayer *replayer);

#endif
