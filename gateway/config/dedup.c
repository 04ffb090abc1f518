/* config/dedup.c: `dedup:` of the routes, and the scopes that they share.
 *
 * A scope that is not named is the route's own. Its name in the store tells it from one that was given, so that a route
 * called like somebody's scope does not share its ids.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/loader.h"
#include "config/tables.h"

enum { SCOPE_LEN_MAX = NAME_LEN_MAX + 8 };

static struct config_scope *find_scope(struct loader *ld, const char *name)
{
    for (size_t i = 0; i < ld->config->scope_count; i++)
        if (strcmp(ld->scopes[i].name, name) == 0)
            return &ld->scopes[i];
    return NULL;
}

static const char *scope_name(struct loader *ld, const struct route_settings *settings)
{
    char name[SCOPE_LEN_MAX + 1];

    if (strcmp(settings->dedup_scope, "route") == 0)
        snprintf(name, sizeof name, "route.%s", settings->name);
    else
        snprintf(name, sizeof name, "scope.%s", settings->dedup_scope);
    const char *kept = arena_strdup(ld->config->arena, name);
    if (kept == NULL)
        findings_no_memory(ld->findings);
    return kept;
}

/* The routes of one scope agree on it. */
static struct config_scope *join_scope(struct loader *ld, const struct yaml_node *node, const char *name,
                                       const struct route_settings *settings)
{
    struct config_scope *scope = find_scope(ld, name);

    if (scope == NULL) {
        scope = &ld->scopes[ld->config->scope_count++];
        *scope =
            (struct config_scope){.name = name, .window_ms = settings->dedup_window_ms, .max = settings->dedup_max};
    } else if (scope->window_ms != settings->dedup_window_ms || scope->max != settings->dedup_max) {
        findings_hint(ld->findings,
                      findings_error(ld->findings, option_place(node, "dedup.scope"),
                                     "another route has this scope with another window or max"),
                      "routes that share their ids need the same window and max");
    }
    scope->lanes += (unsigned)settings->lanes;
    return scope;
}

static bool check_state(struct loader *ld, const struct yaml_node *node)
{
    if (ld->config->state.store != CONFIG_STATE_NONE)
        return true;
    if (yaml_child(ld->root, "state") == NULL)
        findings_hint(ld->findings,
                      findings_error(ld->findings, option_place(node, "dedup"), "dedup needs a store for its ids"),
                      "as in state: { store: rocksdb, path: ./state } at the top of the file");
    return false;
}

static void warn(struct loader *ld, const struct yaml_node *node, const char *route)
{
    const struct config_state *state = &ld->config->state;

    if (state->store == CONFIG_STATE_MEMORY)
        findings_hint(ld->findings,
                      findings_warn(ld->findings, option_place(node, "dedup"),
                                    "the ids of '%.100s' are in memory: they are forgotten when the process ends",
                                    route),
                      "state: { store: rocksdb, path: ./state } keeps them");
    if (state->processes == CONFIG_PROCESSES_UNKNOWN)
        findings_hint(ld->findings,
                      findings_warn(ld->findings, option_place(node, "dedup"),
                                    "the ids of '%.100s' are known to this process only: a second one that shares its "
                                    "source delivers copies of what this one delivered",
                                    route),
                      "say state: { processes: one } if there is one, or several if that is meant");
}

void loader_read_dedup(struct loader *ld, const struct yaml_node *node, const struct route_settings *settings,
                       struct config_route *route)
{
    if (settings->dedup_id == NULL || settings->name == NULL || settings->dedup_scope == NULL || !check_state(ld, node))
        return;
    struct template *id = template_of(settings->dedup_id);
    const char *name = scope_name(ld, settings);
    struct config_dedup *dedup = loader_alloc(ld, sizeof *dedup);
    if (name == NULL || dedup == NULL)
        return;
    if (template_is_constant(id))
        findings_hint(
            ld->findings,
            findings_error(ld->findings, option_place(node, "dedup.id"), "this id is the same for all messages"),
            "all but the first would be duplicates; as in ${header.idempotency-key}");
    if (!loader_check_name(ld, option_place(node, "dedup.scope"), "the scope", settings->dedup_scope, NAME_LEN_MAX))
        return;
    *dedup = (struct config_dedup){
        .id = id,
        .scope = (size_t)(join_scope(ld, node, name, settings) - ld->scopes),
        .pass_on_failure = settings->dedup_on_failure == 1,
    };
    route->dedup = dedup;
    warn(ld, node, settings->name);
}
