/* cli/explain_facts.h: what a route guarantees, as sentences, each with the settings that decide it.
 *
 * Nothing here is a promise of its own: each sentence says what core/ does today. Whoever changes the core changes
 * these words.
 */
#ifndef BAILEY_EXPLAIN_FACTS_H
#define BAILEY_EXPLAIN_FACTS_H

#include "base/text.h"
#include "config/config.h"

struct fact {
    const char *topic;
    struct text says;
    const char *settings; /* what decides it, or "" */
};

enum { FACTS = 24 };

struct explanation {
    const struct config *config;
    const struct config_route *route;
    const struct config_scope *scope;      /* NULL: no deduplication */
    int64_t credit_messages, credit_bytes; /* of all lanes */
    int64_t commit_ms;                     /* how seldom the source's broker is told; -1: at once */
    int64_t unconfirmed; /* most that are sent and not confirmed, of all lanes; -1: no limit but credit */
    struct fact facts[FACTS];
    size_t count;
};

/* All about `route`. The texts of its facts are the caller's to free: explain_free(). */
void explain_route(struct explanation *ex, const struct config *config, const struct config_route *route);
void explain_free(struct explanation *ex);

/* Are ids, or messages, on a disk of this machine? */
bool explain_has_disk(const struct explanation *ex);
bool explain_is_durable(const struct explanation *ex);

/* Memory for what may be remembered of ids. */
int64_t explain_filter_bytes(const struct explanation *ex);

#endif
