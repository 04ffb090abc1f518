/* host/registry.c: NAME → NAME.so in the first folder that has it.
 *
 * A module is admitted once: its descriptor is copied into one of our size, so that older and newer minors can be read alike,
 * and checked: a connector's tables, because settings are written where they point; that a store lacks nothing.
 */
#include "host/registry.h"

#include <assert.h>
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

/* How each descriptor begins. */
struct head {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    const char *name;
};

#define HAS_HEAD(type)                                                                        \
    static_assert(offsetof(struct type, size) == offsetof(struct head, size) &&               \
                      offsetof(struct type, abi_major) == offsetof(struct head, abi_major) && \
                      offsetof(struct type, name) == offsetof(struct head, name),             \
                  "a descriptor begins as all do")
HAS_HEAD(bailey_connector);
HAS_HEAD(bailey_store);

struct loaded {
    struct loaded *next;
    union {
        struct head head;
        struct bailey_connector connector;
        struct bailey_store store;
    };
};

struct kind {
    const char *word, *folder, *variable, *entry;
    uint16_t abi_major;
    size_t size; /* of the descriptor that this gateway knows */
    bool (*check)(const struct loaded *module, struct bailey_error *err);

    const char **names; /* of all that can be found, sorted; NULL: not looked for yet */
    size_t name_count;
    struct loaded *loaded;
};

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

static void folder_join(struct folders *folders, const char *base, const char *between, const char *rest)
{
    char *path = NULL;

    folder_add(folders, asprintf(&path, "%s%s%s", base, between, rest) < 0 ? NULL : path);
}

static void folders_init(struct folders *folders, const struct kind *kind)
{
    const char *list = getenv(kind->variable);
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
        folder_join(folders, program, "/", kind->folder);
        folder_join(folders, program, "/../lib/bailey/", kind->folder);
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

static void find_names(struct kind *kind)
{
    struct folders folders;
    size_t count = 0, unique = 0;

    folders_init(&folders, kind);
    for (size_t i = 0; i < folders.count; i++)
        scan(folders.paths[i], &kind->names, &count);
    folders_fini(&folders);
    if (count > 0)
        qsort(kind->names, count, sizeof *kind->names, compare);
    for (size_t i = 0; i < count; i++) {
        if (unique > 0 && strcmp(kind->names[unique - 1], kind->names[i]) == 0)
            free((char *)kind->names[i]);
        else
            kind->names[unique++] = kind->names[i];
    }
    kind->name_count = unique;
}

static void hint_names(struct kind *kind, const char *name, struct bailey_error *err)
{
    char list[sizeof err->hint] = "";
    size_t len = 0;

    if (kind->names == NULL)
        find_names(kind);
    const char *near = nearest_name(name, kind->names, kind->name_count);
    if (near != NULL) {
        bailey_hint(err, "did you mean '%s'?", near);
        return;
    }
    for (size_t i = 0; i < kind->name_count && len < sizeof list; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i == 0 ? "" : ", ", kind->names[i]);
    if (kind->name_count == 0)
        bailey_hint(err, "no %s is installed: see %s", kind->word, kind->variable);
    else
        bailey_hint(err, "there are %s", list);
}

/* ---- Loading ---- */

static bool admit_head(const struct kind *kind, struct head *out, const struct head *in, struct bailey_error *err)
{
    if (in->abi_major != kind->abi_major) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the %s speaks ABI %u, this gateway speaks %u", kind->word, in->abi_major,
                    kind->abi_major);
        return bailey_hint(err, "install the %s that belongs to this version of bailey", kind->word);
    }
    memset(out, 0, kind->size); /* callbacks it does not know stay NULL */
    memcpy(out, in, in->size < kind->size ? in->size : kind->size);
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

static bool check_connector(const struct loaded *module, struct bailey_error *err)
{
    struct bailey_error table;

    return check_tables(&module->connector, &table) ||
           bailey_fail(err, BAILEY_ERR_CONFIG, "the option tables of connector '%s' are wrong: %.120s",
                       module->head.name, table.text);
}

static bool check_store_calls(const struct bailey_store *store, struct bailey_error *err)
{
    bool durable = (store->traits & BAILEY_STORE_DURABLE) != 0;
    const char *missing = store->open == NULL                  ? "open"
                          : store->close == NULL               ? "close"
                          : store->table_open == NULL          ? "table_open"
                          : store->get_many == NULL            ? "get_many"
                          : store->write == NULL               ? "write"
                          : store->sync == NULL                ? "sync"
                          : store->scan == NULL                ? "scan"
                          : store->expire == NULL              ? "expire"
                          : durable && store->snapshot == NULL ? "snapshot"
                          : store->stats == NULL               ? "stats"
                                                               : NULL;

    if (missing == NULL)
        return true;
    bailey_fail(err, BAILEY_ERR_CONFIG, "the store lacks %s()", missing);
    return bailey_hint(err, "install the store that belongs to this version of bailey");
}

static bool check_store(const struct loaded *module, struct bailey_error *err)
{
    return check_store_calls(&module->store, err);
}

static struct kind connectors = {.word = "connector",
                                 .folder = "connectors",
                                 .variable = "BAILEY_CONNECTOR_PATH",
                                 .entry = "bailey_connector_entry",
                                 .abi_major = BAILEY_ABI_MAJOR,
                                 .size = sizeof(struct bailey_connector),
                                 .check = check_connector};

static struct kind stores = {.word = "store",
                             .folder = "stores",
                             .variable = "BAILEY_STORE_PATH",
                             .entry = "bailey_store_entry",
                             .abi_major = BAILEY_STORE_ABI_MAJOR,
                             .size = sizeof(struct bailey_store),
                             .check = check_store};

static bool admit(const struct kind *kind, void *handle, const char *name, struct loaded *out, struct bailey_error *err)
{
    const struct head *(*entry)(void);

    *(void **)&entry = dlsym(handle, kind->entry);
    if (entry == NULL)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "%s.so is no %s: it has no %s", name, kind->word, kind->entry);
    if (!admit_head(kind, &out->head, entry(), err))
        return false;
    if (out->head.name == NULL || strcmp(out->head.name, name) != 0)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "%s.so says that its name is '%s'", name,
                           out->head.name == NULL ? "" : out->head.name);
    return kind->check(out, err);
}

/* The handle of the first NAME.so, or NULL with `err`. */
static void *open_first(struct kind *kind, const char *name, struct bailey_error *err)
{
    struct folders folders;
    void *handle = NULL;
    char *path = NULL;
    bool found = false;

    folders_init(&folders, kind);
    for (size_t i = 0; i < folders.count && !found; i++) {
        if (asprintf(&path, "%s/%s.so", folders.paths[i], name) < 0)
            break;
        if ((found = access(path, F_OK) == 0) && (handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)) == NULL)
            bailey_fail(err, BAILEY_ERR_CONFIG, "cannot load the %s '%s': %s", kind->word, name, dlerror());
        free(path);
    }
    folders_fini(&folders);
    if (!found) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "there is no %s '%s'", kind->word, name);
        hint_names(kind, name, err);
    }
    return handle;
}

static const struct loaded *find(struct kind *kind, const char *name, struct bailey_error *err)
{
    for (const struct loaded *module = kind->loaded; module != NULL; module = module->next)
        if (strcmp(module->head.name, name) == 0)
            return module;
    if (!valid_name(name)) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "there is no %s '%.*s'", kind->word, NAME_LEN_MAX, name);
        hint_names(kind, name, err);
        return NULL;
    }

    struct loaded *module = malloc(sizeof *module);
    if (module == NULL) {
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
        return NULL;
    }
    void *handle = open_first(kind, name, err);
    if (handle == NULL || !admit(kind, handle, name, module, err)) {
        free(module);
        return NULL;
    }
    module->next = kind->loaded;
    kind->loaded = module;
    return module;
}

/* ---- What the gateway calls ---- */

const struct bailey_connector *registry_find(const char *name, struct bailey_error *err)
{
    const struct loaded *module = find(&connectors, name, err);

    return module == NULL ? NULL : &module->connector;
}

const struct bailey_store *registry_find_store(const char *name, struct bailey_error *err)
{
    const struct loaded *module = find(&stores, name, err);

    return module == NULL ? NULL : &module->store;
}

size_t registry_names(const char *const **names)
{
    if (connectors.names == NULL)
        find_names(&connectors);
    *names = connectors.names;
    return connectors.name_count;
}

bool registry_admit(struct bailey_connector *out, const struct bailey_connector *in, struct bailey_error *err)
{
    return admit_head(&connectors, (struct head *)out, (const struct head *)in, err);
}

bool registry_admit_store(struct bailey_store *out, const struct bailey_store *in, struct bailey_error *err)
{
    return admit_head(&stores, (struct head *)out, (const struct head *)in, err) && check_store_calls(out, err);
}
