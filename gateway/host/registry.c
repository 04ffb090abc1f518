/* host/registry.c: NAME → NAME.so in the first folder that has it.
 *
 * A connector is admitted once: its descriptor is copied into one of our size, so that older and newer minors can
 * be read alike, and its tables are checked, because settings are written where they point.
 */
#include "host/registry.h"

#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/nearest.h"
#include "config/option.h"

enum { NAME_LEN_MAX = 64, FOLDERS_MAX = 32 };

struct loaded {
    struct loaded *next;
    struct bailey_connector connector;
};

static struct loaded *loaded;

static bool valid_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

    return len > 0 && len <= NAME_LEN_MAX && name[len] == '\0';
}

/* ---- Where to look ---- */

struct folders {
    char *paths[FOLDERS_MAX];
    size_t count;
};

static void folder_add(struct folders *folders, char *path)
{
    if (path != NULL && folders->count < FOLDERS_MAX)
        folders->paths[folders->count++] = path;
    else
        free(path);
}

static void folder_join(struct folders *folders, const char *base, const char *rest)
{
    char *path = NULL;

    folder_add(folders, asprintf(&path, "%s%s", base, rest) < 0 ? NULL : path);
}

static void folders_init(struct folders *folders)
{
    const char *list = getenv("BAILEY_CONNECTOR_PATH");
    char *program = realpath("/proc/self/exe", NULL);
    char *slash = program == NULL ? NULL : strrchr(program, '/');

    folders->count = 0;
    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, ":");
        if (len > 0)
            folder_add(folders, strndup(list, len));
        list += len + (list[len] == ':');
    }
    if (slash != NULL) {
        *slash = '\0';
        folder_join(folders, program, "/connectors");
        folder_join(folders, program, "/../lib/bailey/connectors");
    }
    free(program);
}

static void folders_fini(struct folders *folders)
{
    while (folders->count > 0)
        free(folders->paths[--folders->count]);
}

/* ---- Names ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void scan(const char *folder, const char ***names, size_t *count)
{
    DIR *dir = opendir(folder);
    char name[NAME_MAX + 1];

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len < 4 || strcmp(entry->d_name + len - 3, ".so") != 0)
            continue;
        memcpy(name, entry->d_name, len - 3);
        name[len - 3] = '\0';
        const char **grown = valid_name(name) ? realloc(*names, (*count + 1) * sizeof **names) : NULL;
        if (grown == NULL)
            continue;
        *names = grown;
        grown[*count] = strdup(name);
        *count += grown[*count] != NULL;
    }
    if (dir != NULL)
        closedir(dir);
}

size_t registry_names(const char *const **names)
{
    static const char **known;
    static size_t count;
    struct folders folders;

    if (known == NULL) {
        folders_init(&folders);
        for (size_t i = 0; i < folders.count; i++)
            scan(folders.paths[i], &known, &count);
        folders_fini(&folders);
        if (count > 0)
            qsort(known, count, sizeof *known, compare);
        size_t unique = 0;
        for (size_t i = 0; i < count; i++) {
            if (unique > 0 && strcmp(known[unique - 1], known[i]) == 0)
                free((char *)known[i]);
            else
                known[unique++] = known[i];
        }
        count = unique;
    }
    *names = known;
    return count;
}

static void hint_names(const char *name, struct bailey_error *err)
{
    const char *const *names;
    size_t count = registry_names(&names);
    const char *near = nearest_name(name, names, count);
    char list[sizeof err->hint] = "";
    size_t len = 0;

    if (near != NULL) {
        bailey_hint(err, "did you mean '%s'?", near);
        return;
    }
    for (size_t i = 0; i < count && len < sizeof list; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i == 0 ? "" : ", ", names[i]);
    if (count == 0)
        bailey_hint(err, "no connector is installed: see BAILEY_CONNECTOR_PATH");
    else
        bailey_hint(err, "there are %s", list);
}

/* ---- Loading ---- */

bool registry_admit(struct bailey_connector *out, const struct bailey_connector *in, struct bailey_error *err)
{
    if (in->abi_major != BAILEY_ABI_MAJOR) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the connector speaks ABI %u, this gateway speaks %u", in->abi_major,
                    BAILEY_ABI_MAJOR);
        return bailey_hint(err, "install the connector that belongs to this version of bailey");
    }
    memset(out, 0, sizeof *out); /* callbacks it does not know stay NULL */
    memcpy(out, in, in->size < sizeof *out ? in->size : sizeof *out);
    return true;
}

static bool check_tables(const struct bailey_connector *connector, struct bailey_error *err)
{
    return option_table_check(connector->broker_options, connector->broker_settings_size, false, err) &&
           (connector->source == NULL ||
            option_table_check(connector->source->options, connector->source->settings_size, false, err)) &&
           (connector->sink == NULL ||
            option_table_check(connector->sink->options, connector->sink->settings_size, true, err));
}

static bool admit(void *handle, const char *name, struct bailey_connector *out, struct bailey_error *err)
{
    const struct bailey_connector *(*entry)(void);
    struct bailey_error table;

    *(void **)&entry = dlsym(handle, "bailey_connector_entry");
    if (entry == NULL)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "%s.so is no connector: it has no bailey_connector_entry", name);
    if (!registry_admit(out, entry(), err))
        return false;
    if (out->name == NULL || strcmp(out->name, name) != 0)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "%s.so says that its name is '%s'", name,
                           out->name == NULL ? "" : out->name);
    if (!check_tables(out, &table))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the option tables of connector '%s' are wrong: %.120s", name,
                           table.text);
    return true;
}

/* The handle of the first NAME.so, or NULL with `err`. */
static void *open_first(const char *name, struct bailey_error *err)
{
    struct folders folders;
    void *handle = NULL;
    char *path = NULL;
    bool found = false;

    folders_init(&folders);
    for (size_t i = 0; i < folders.count && !found; i++) {
        if (asprintf(&path, "%s/%s.so", folders.paths[i], name) < 0)
            break;
        if ((found = access(path, F_OK) == 0) && (handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)) == NULL)
            bailey_fail(err, BAILEY_ERR_CONFIG, "cannot load the connector '%s': %s", name, dlerror());
        free(path);
    }
    folders_fini(&folders);
    if (!found) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "there is no connector '%s'", name);
        hint_names(name, err);
    }
    return handle;
}

const struct bailey_connector *registry_find(const char *name, struct bailey_error *err)
{
    for (struct loaded *entry = loaded; entry != NULL; entry = entry->next)
        if (strcmp(entry->connector.name, name) == 0)
            return &entry->connector;
    if (!valid_name(name)) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "there is no connector '%.*s'", NAME_LEN_MAX, name);
        hint_names(name, err);
        return NULL;
    }

    struct loaded *entry = malloc(sizeof *entry);
    if (entry == NULL) {
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
        return NULL;
    }
    void *handle = open_first(name, err);
    if (handle == NULL || !admit(handle, name, &entry->connector, err)) {
        free(entry);
        return NULL;
    }
    entry->next = loaded;
    loaded = entry;
    return &entry->connector;
}
