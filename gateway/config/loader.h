/* config/loader.h: what the files of config/ share while one configuration is loaded. Private to config/. */
#ifndef BAILEY_LOADER_H
#define BAILEY_LOADER_H

#include "config/option.h"

enum { NAME_LEN_MAX = 100, INSTANCE_LEN_MAX = 200 };

struct loader {
    struct option_reader reader;
    struct findings *findings;
    struct config *config; /* being filled */
    config_find *find;
    const struct yaml_node *root;

    /* By config_broker.index. */
    struct config_broker *brokers;
    const struct yaml_node **broker_nodes;
    bool *broker_ok, *broker_used;

    struct config_scope *scopes; /* as many as routes, at most */
};

/* From the arena, zeroed; NULL is reported. */
void *loader_alloc(struct loader *ld, size_t len);

/* Names become consumer names, metric labels and parts of group.instance.id. False: reported. */
bool loader_check_name(struct loader *ld, struct place at, const char *what, const char *name, size_t max);
bool loader_name_char(char c);

/* top.c: instance, workers, admin, log. */
void loader_read_top(struct loader *ld);

/* model.c: brokers and routes. */
void loader_read_model(struct loader *ld);

/* dedup.c: `dedup:` of a route whose own options are read. */
struct route_settings;
void loader_read_dedup(struct loader *ld, const struct yaml_node *node, const struct route_settings *settings,
                       struct config_route *route);

/* delivery.c: order, retry, delay and so on, of a route whose ends are read, too. */
void loader_read_delivery(struct loader *ld, const struct yaml_node *node, const struct route_settings *settings,
                          struct config_route *route);

/* report.c: what a connector's check() reports to. `end` is NULL when the broker alone is checked. */
struct bailey_report {
    struct findings *findings;
    const struct yaml_node *end, *broker;
    bool failed;
};

#endif
