/* config/model.c: brokers first, then routes, which point at them.
 *
 * A broker that is wrong stays in the list, without a connector: routes that use it are still checked, and are not
 * reported for the broker's mistake.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "config/loader.h"
#include "config/tables.h"

static struct config_position position(const struct loader *ld, struct place at)
{
    return (struct config_position){ld->config->file, at.line, at.column};
}

/* A section that must be there and be of `kind`. */
static const struct yaml_node *section(struct loader *ld, const char *name, enum yaml_kind kind, const char *example)
{
    const struct yaml_node *node = yaml_child(ld->root, name);

    if (node == NULL) {
        findings_hint(ld->findings, findings_error(ld->findings, ld->root->at, "the file needs '%s'", name), "as in %s",
                      example);
        return NULL;
    }
    if (node->kind != kind || node->count == 0) {
        if (!node->bad)
            findings_hint(ld->findings,
                          findings_error(ld->findings, node->at, "%s must be %s, not %s", name, yaml_kind_name(kind),
                                         node->null || node->kind == kind ? "empty" : yaml_kind_name(node->kind)),
                          "as in %s", example);
        return NULL;
    }
    return node;
}

static const struct yaml_node *routes_section(struct loader *ld)
{
    return section(ld, "routes", YAML_LIST, "routes: [ { name: orders, from: { broker: k, ... }, to: { ... } } ]");
}

/* ---- Brokers ---- */

/* The text of a required name such as `connector:` or `broker:`; NULL if there is none, reported. */
static const char *required_name(struct loader *ld, const struct yaml_node *map, const char *name, const char *what)
{
    const struct yaml_node *node = yaml_child(map, name);

    if (node == NULL) {
        findings_error(ld->findings, map->at, "%s needs the option '%s'", what, name);
        return NULL;
    }
    if (node->bad)
        return NULL;
    if (node->kind != YAML_TEXT || node->null) {
        findings_error(ld->findings, node->at, "%s must be a name", name);
        return NULL;
    }
    return node->text;
}

static const struct bailey_connector *find_connector(struct loader *ld, const struct yaml_node *node, const char *what)
{
    struct bailey_error err = {0};
    const char *name = required_name(ld, node, "connector", what);

    if (name == NULL)
        return NULL;
    const struct bailey_connector *connector = ld->find(name, &err);
    if (connector == NULL && err.kind == BAILEY_ERR_TRANSIENT) {
        findings_no_memory(ld->findings);
    } else if (connector == NULL) {
        const struct yaml_node *given = yaml_child(node, "connector");
        bool plain = given->text == given->shown;
        struct finding *finding =
            findings_error(ld->findings, given->at, plain ? "%s" : "there is no such connector", err.text);
        if (plain && err.hint[0] != '\0')
            findings_hint(ld->findings, finding, "%s", err.hint);
    }
    return connector;
}

static bool load_broker(struct loader *ld, const struct yaml_node *node, struct config_broker *broker)
{
    const struct bailey_connector *connector;
    char what[NAME_LEN_MAX + 16];

    if (!loader_check_name(ld, node->key_at, "the broker's name", node->key, NAME_LEN_MAX))
        return false;
    snprintf(what, sizeof what, "broker '%s'", node->key);
    if (node->kind != YAML_MAP) {
        if (!node->bad)
            findings_hint(ld->findings, findings_error(ld->findings, node->at, "%s must be a mapping of options", what),
                          "as in %s: { connector: NAME, ... }", node->key);
        return false;
    }
    if ((connector = find_connector(ld, node, what)) == NULL)
        return false;
    broker->connector = connector;
    void *settings = loader_alloc(ld, connector->broker_settings_size);
    if (settings == NULL)
        return false;
    broker->settings = settings;
    static const struct bailey_option none[] = {{0}};
    const struct bailey_option *table = connector->broker_options == NULL ? none : connector->broker_options;
    option_templates_begin(&ld->reader, NULL);
    if (!option_read(&ld->reader, table, broker_others, node, what, settings))
        return false;
    struct bailey_report report = {.findings = ld->findings, .broker = node};
    if (connector->check != NULL)
        connector->check(settings, NULL, BAILEY_SOURCE, 1, &report);
    return !report.failed;
}

static bool load_brokers(struct loader *ld)
{
    const struct yaml_node *list =
        section(ld, "brokers", YAML_MAP, "brokers: { k: { connector: kafka, bootstrap_servers: \"localhost:9092\" } }");

    if (list == NULL)
        return false;
    ld->brokers = loader_alloc(ld, list->count * sizeof *ld->brokers);
    ld->broker_nodes = loader_alloc(ld, list->count * sizeof *ld->broker_nodes);
    ld->broker_ok = loader_alloc(ld, list->count * sizeof *ld->broker_ok);
    ld->broker_used = loader_alloc(ld, list->count * sizeof *ld->broker_used);
    if (ld->brokers == NULL || ld->broker_nodes == NULL || ld->broker_ok == NULL || ld->broker_used == NULL)
        return false;
    ld->config->brokers = ld->brokers;
    for (const struct yaml_node *node = list->first; node != NULL; node = node->next) {
        size_t i = ld->config->broker_count++;
        ld->brokers[i] = (struct config_broker){.name = node->key, .index = i, .at = position(ld, node->key_at)};
        ld->broker_nodes[i] = node;
        ld->broker_ok[i] = load_broker(ld, node, &ld->brokers[i]);
    }
    return true;
}

/* ---- Routes ---- */

static void report_unknown_broker(struct loader *ld, const struct yaml_node *node, const char *name)
{
    const char *names[256], *shown = yaml_child(node, "broker")->shown;
    size_t count = 0;

    for (size_t i = 0; i < ld->config->broker_count && count < 256; i++)
        names[count++] = ld->brokers[i].name;
    struct finding *finding =
        findings_error(ld->findings, option_place(node, "broker"), "there is no broker '%.100s'", shown);
    const char *near = nearest_name(name, names, count);
    if (near != NULL)
        findings_hint(ld->findings, finding, "did you mean '%s'?", near);
    else
        findings_hint(ld->findings, finding, "it must be one of those under brokers:");
}

/* The broker that `broker:` of an end names. NULL: reported. */
static const struct config_broker *find_broker(struct loader *ld, const struct yaml_node *node, const char *what)
{
    const char *name = required_name(ld, node, "broker", what);

    if (name == NULL)
        return NULL;
    for (size_t i = 0; i < ld->config->broker_count; i++) {
        if (strcmp(ld->brokers[i].name, name) == 0) {
            ld->broker_used[i] = true;
            return &ld->brokers[i];
        }
    }
    report_unknown_broker(ld, node, name);
    return NULL;
}

static bool keep_templates(struct loader *ld, struct config_end *end)
{
    size_t count = ld->reader.template_count;
    struct template **kept = loader_alloc(ld, count * sizeof *kept);

    if (kept == NULL)
        return false;
    if (count > 0)
        memcpy(kept, ld->reader.templates, count * sizeof *kept);
    end->templates = kept;
    end->template_count = count;
    return true;
}

/* The texts of the warnings that came after `before` (NULL: of all). */
static const char *keep_warnings(struct loader *ld, const struct finding *before)
{
    struct text text = {0};
    char *kept;

    for (const struct finding *f = before != NULL ? before->next : ld->findings->first; f != NULL; f = f->next)
        if (f->warning)
            text_printf(&text, "%s%s", text.len > 0 ? "; " : "", f->text);
    kept = text.len > 0 ? loader_alloc(ld, text.len + 1) : NULL;
    if (kept != NULL)
        memcpy(kept, text.data, text.len + 1);
    text_free(&text);
    return kept;
}

/* The part of an end that source and sink share. */
static void load_settings(struct loader *ld, const struct yaml_node *node, struct config_end *end,
                          const struct bailey_option *table, size_t size, enum bailey_role role, int64_t lanes,
                          const char *what)
{
    static const struct bailey_option none[] = {{0}};
    const struct bailey_connector *connector = end->broker->connector;
    void *settings = loader_alloc(ld, size);

    if (settings == NULL)
        return;
    end->settings = settings;
    bool ok = option_read(&ld->reader, table == NULL ? none : table, end_others, node, what, settings);
    if (!keep_templates(ld, end) || !ok || !ld->broker_ok[end->broker->index] || connector->check == NULL)
        return;
    struct bailey_report report = {
        .findings = ld->findings, .end = node, .broker = ld->broker_nodes[end->broker->index]};
    const struct finding *before = ld->findings->last;

    connector->check(end->broker->settings, settings, role, (unsigned)lanes, &report);
    end->warnings = keep_warnings(ld, before);
}

static void load_end(struct loader *ld, const struct yaml_node *route, const char *name, enum bailey_role role,
                     const char *route_name, int64_t lanes, const char *no_position, struct config_end *end)
{
    const struct yaml_node *node = yaml_child(route, name);
    char what[NAME_LEN_MAX + 32];

    if (node == NULL) {
        findings_hint(ld->findings,
                      findings_error(ld->findings, route->at, "route '%.100s' has no '%s'", route_name, name),
                      "as in %s: { broker: NAME, ... }", name);
        return;
    }
    if (node->kind != YAML_MAP) {
        if (!node->bad)
            findings_hint(ld->findings, findings_error(ld->findings, node->at, "%s must be a mapping of options", name),
                          "as in %s: { broker: NAME, ... }", name);
        return;
    }
    snprintf(what, sizeof what, "'%s' of route '%.100s'", name, route_name);
    end->at = position(ld, node->at);
    end->broker = find_broker(ld, node, what);
    const struct bailey_connector *connector = end->broker == NULL ? NULL : end->broker->connector;
    if (connector == NULL)
        return;
    if (role == BAILEY_SOURCE ? connector->source == NULL : connector->sink == NULL) {
        findings_error(ld->findings, option_place(node, "broker"), "the connector %s cannot %s", connector->name,
                       role == BAILEY_SOURCE ? "receive" : "send");
        return;
    }
    option_templates_begin(&ld->reader, no_position);
    if (role == BAILEY_SOURCE)
        load_settings(ld, node, end, connector->source->options, connector->source->settings_size, role, lanes, what);
    else
        load_settings(ld, node, end, connector->sink->options, connector->sink->settings_size, role, lanes, what);
}

/* The connector of `from:` if its messages have no ${source.position}; NULL if they have, or it is not known. */
static const char *lacks_positions(struct loader *ld, const struct yaml_node *route)
{
    const struct yaml_node *from = yaml_child(route, "from");
    const struct yaml_node *broker = from == NULL ? NULL : yaml_child(from, "broker");

    if (broker == NULL || broker->kind != YAML_TEXT)
        return NULL;
    for (size_t i = 0; i < ld->config->broker_count; i++)
        if (strcmp(ld->brokers[i].name, broker->text) == 0 && ld->brokers[i].connector != NULL &&
            !(ld->brokers[i].connector->traits & BAILEY_HAS_POSITIONS))
            return ld->brokers[i].connector->name;
    return NULL;
}

static void load_dead_letter(struct loader *ld, const struct yaml_node *node, const char *no_position,
                             struct config_route *route)
{
    if (yaml_child(node, "dead_letter") == NULL)
        return;
    struct config_end *end = loader_alloc(ld, sizeof *end);

    if (end == NULL)
        return;
    load_end(ld, node, "dead_letter", BAILEY_SINK, route->name == NULL ? "" : route->name, route->lanes, no_position,
             end);
    route->dead_letter = end;
}

static void load_route(struct loader *ld, const struct yaml_node *node, struct config_route *route)
{
    struct route_settings settings = {0};

    if (node->kind != YAML_MAP) {
        if (!node->bad)
            findings_hint(ld->findings, findings_error(ld->findings, node->at, "a route must be a mapping of options"),
                          "as in - { name: orders, from: { ... }, to: { ... } }");
        return;
    }
    const char *no_position = lacks_positions(ld, node);
    option_templates_begin(&ld->reader, no_position);
    option_read(&ld->reader, route_options, route_others, node, "the route", &settings);
    route->name = settings.name;
    if (route->name != NULL)
        loader_check_name(ld, option_place(node, "name"), "the route's name", route->name, NAME_LEN_MAX);
    route->lanes = settings.lanes;
    route->credit_messages = settings.credit_messages;
    route->credit_bytes = settings.credit_bytes;
    route->key = settings.key == NULL ? NULL : template_of(settings.key);
    loader_read_dedup(ld, node, &settings, route);

    const char *name = route->name == NULL ? "" : route->name;
    load_end(ld, node, "from", BAILEY_SOURCE, name, route->lanes, NULL, &route->from);
    load_end(ld, node, "to", BAILEY_SINK, name, route->lanes, no_position, &route->to);
    load_dead_letter(ld, node, no_position, route);
    loader_read_delivery(ld, node, &settings, route);
}

static int compare_routes(const void *a, const void *b)
{
    const struct config_route *x = *(struct config_route *const *)a, *y = *(struct config_route *const *)b;
    int order = strcmp(x->name, y->name);

    return order != 0 ? order : (x > y) - (x < y); /* they stand in one array, in their order */
}

static bool find_repeated_routes(struct loader *ld, const struct yaml_node *list)
{
    const struct config_route *routes = ld->config->routes;
    const struct config_route **sorted = malloc((ld->config->route_count + 1) * sizeof *sorted);
    const struct yaml_node **nodes = malloc((ld->config->route_count + 1) * sizeof *nodes);
    size_t count = 0, i = 0;

    if (sorted == NULL || nodes == NULL) {
        free(sorted);
        free(nodes);
        return findings_no_memory(ld->findings);
    }
    for (const struct yaml_node *node = list->first; node != NULL; node = node->next)
        nodes[i++] = node;
    for (i = 0; i < ld->config->route_count; i++)
        if (routes[i].name != NULL)
            sorted[count++] = &routes[i];
    qsort(sorted, count, sizeof *sorted, compare_routes);
    for (size_t first = 0, k = 1; k < count; k++) {
        if (strcmp(sorted[k]->name, sorted[first]->name) != 0) {
            first = k;
            continue;
        }
        struct finding *finding = findings_error(ld->findings, option_place(nodes[sorted[k] - routes], "name"),
                                                 "two routes are called '%.100s'", sorted[k]->name);
        findings_hint(ld->findings, finding, "the first is at line %u",
                      option_place(nodes[sorted[first] - routes], "name").line);
    }
    free(sorted);
    free(nodes);
    return true;
}

static void load_routes(struct loader *ld)
{
    const struct yaml_node *list = routes_section(ld);

    if (list == NULL)
        return;
    struct config_route *routes = loader_alloc(ld, list->count * sizeof *routes);
    ld->scopes = loader_alloc(ld, list->count * sizeof *ld->scopes);
    if (routes == NULL || ld->scopes == NULL)
        return;
    ld->config->routes = routes;
    ld->config->scopes = ld->scopes;
    for (const struct yaml_node *node = list->first; node != NULL; node = node->next) {
        struct config_route *route = &routes[ld->config->route_count++];
        route->at = position(ld, node->at);
        load_route(ld, node, route);
    }
    find_repeated_routes(ld, list);
    for (size_t i = 0; i < ld->config->broker_count; i++) {
        if (ld->broker_used[i])
            continue;
        findings_hint(ld->findings,
                      findings_warn(ld->findings, ld->broker_nodes[i]->key_at, "no route uses the broker '%s'",
                                    ld->brokers[i].name),
                      "it is not connected to");
    }
}

void loader_read_model(struct loader *ld)
{
    if (load_brokers(ld))
        load_routes(ld);
    else
        routes_section(ld);
}
