/* config/top.c: what stands at the top of the file, beside brokers and routes; and what a name is. */
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/loader.h"
#include "config/tables.h"
#include "config/units.h"

bool loader_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

bool loader_check_name(struct loader *ld, struct place at, const char *what, const char *name, size_t max)
{
    size_t len = strlen(name);
    bool ok = len > 0 && len <= max;

    for (size_t i = 0; i < len; i++)
        ok = ok && loader_name_char(name[i]);
    if (!ok)
        findings_hint(ld->findings, findings_error(ld->findings, at, "%s is no valid name", what),
                      "names have 1 to %zu of the characters a-z A-Z 0-9 . _ -", max);
    return ok;
}

static const char *host_and_file(struct loader *ld)
{
    const char *file = strrchr(ld->config->file, '/');
    char host[HOST_NAME_MAX + 1] = "localhost", name[INSTANCE_LEN_MAX + 1];

    file = file == NULL ? ld->config->file : file + 1;
    const char *dot = strrchr(file, '.');
    int stem = dot == NULL || dot == file ? (int)strlen(file) : (int)(dot - file);
    if (gethostname(host, sizeof host) == 0)
        host[sizeof host - 1] = '\0';
    snprintf(name, sizeof name, "%.100s-%.*s", host, stem < 99 ? stem : 99, file);
    for (char *p = name; *p != '\0'; p++)
        if (!loader_name_char(*p))
            *p = '-';
    const char *kept = arena_strdup(ld->config->arena, name);
    if (kept == NULL)
        findings_no_memory(ld->findings);
    return kept;
}

static int64_t core_count(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

/* "127.0.0.1:8080", "[::1]:8080", "localhost:0". */
static bool split_listen(struct loader *ld, const char *listen)
{
    const char *colon = strrchr(listen, ':');
    bool brackets = listen[0] == '[';
    const char *host = listen + brackets, *host_end = colon == NULL ? NULL : colon - brackets;
    char *end = NULL;
    long port = -1;

    if (colon != NULL && colon[1] >= '0' && colon[1] <= '9')
        port = strtol(colon + 1, &end, 10);
    bool ok = end != NULL && *end == '\0' && port >= 0 && port <= 65535 && host_end > host &&
              (brackets ? *host_end == ']' : memchr(host, ':', (size_t)(host_end - host)) == NULL);
    if (!ok) {
        const struct yaml_node *admin = yaml_child(ld->root, "admin");
        findings_hint(ld->findings,
                      findings_error(ld->findings, option_place(admin, "listen"), "listen must be ADDRESS:PORT"),
                      "such as 127.0.0.1:8080 or [::1]:8080");
        return false;
    }
    ld->config->admin_address = arena_strndup(ld->config->arena, host, (size_t)(host_end - host));
    ld->config->admin_port = (uint16_t)port;
    return ld->config->admin_address != NULL || findings_no_memory(ld->findings);
}

/* "batch", "none", or a duration. */
static bool read_sync(const char *text, int64_t *sync_ms)
{
    enum { SYNC_MAX_MS = 60000 };

    if (strcmp(text, "batch") == 0)
        *sync_ms = CONFIG_SYNC_BATCH;
    else if (strcmp(text, "none") == 0)
        *sync_ms = CONFIG_SYNC_NONE;
    else
        return units_duration(text, sync_ms) == UNITS_OK && *sync_ms > 0 && *sync_ms <= SYNC_MAX_MS;
    return true;
}

static void read_state(struct loader *ld, const struct top_settings *top)
{
    const struct yaml_node *node = yaml_child(ld->root, "state");
    struct config_state *state = &ld->config->state;

    if (node == NULL)
        return;
    state->store = top->state_store == 0 ? CONFIG_STATE_MEMORY : CONFIG_STATE_ROCKSDB;
    state->path = top->state_path;
    state->processes = (enum config_processes)top->state_processes;
    if (state->store == CONFIG_STATE_ROCKSDB && state->path == NULL)
        findings_hint(ld->findings, findings_error(ld->findings, node->at, "state needs the option 'path'"),
                      "as in state: { store: rocksdb, path: ./state }");
    if (state->store == CONFIG_STATE_MEMORY && state->path != NULL)
        findings_error(ld->findings, option_place(node, "path"), "a store in memory has no path");
    if (top->state_sync != NULL && !read_sync(top->state_sync, &state->sync_ms))
        findings_hint(ld->findings,
                      findings_error(ld->findings, option_place(node, "sync"), "sync is none of its values"),
                      "batch, none, or a duration of 1ms to 60s such as 100ms");
}

void loader_read_top(struct loader *ld)
{
    struct config *config = ld->config;
    struct top_settings top = {0};

    option_read(&ld->reader, top_options, top_others, ld->root, "the file", &top);
    config->workers = top.workers > 0 ? top.workers : core_count();
    config->drain_timeout_ms = top.drain_timeout_ms;
    config->log_level = (enum bailey_log_level)top.log_level;
    config->log_format = (enum config_log_format)top.log_format;
    if (top.listen != NULL)
        split_listen(ld, top.listen);
    read_state(ld, &top);
    config->instance = top.instance != NULL ? top.instance : host_and_file(ld);
    if (top.instance != NULL)
        loader_check_name(ld, option_place(ld->root, "instance"), "instance", top.instance, INSTANCE_LEN_MAX);
}
