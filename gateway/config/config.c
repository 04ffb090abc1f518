/* config/config.c: a file is read, becomes a tree, and the tree the model; nothing stops at the first mistake. */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/loader.h"

void *loader_alloc(struct loader *ld, size_t len)
{
    void *data = arena_alloc(ld->config->arena, len);

    if (data == NULL)
        findings_no_memory(ld->findings);
    return data;
}

/* The folder of `path`, absolute: what a symbolic link points to does not count, the link's own neighbours do. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    char *full = folder == NULL ? NULL : realpath(folder, NULL);

    if (folder == NULL || full != NULL || errno == ENOMEM) {
        free(folder);
        return full;
    }
    return folder; /* it does not exist: opening what is in it will say so */
}

static bool load(struct loader *ld, const char *yaml, size_t len, const char *path)
{
    char *folder = folder_of(path);

    if (folder == NULL)
        return findings_no_memory(ld->findings);
    ld->reader = (struct option_reader){.arena = ld->config->arena, .findings = ld->findings};
    ld->reader.folder = arena_strdup(ld->config->arena, folder);
    ld->config->file = arena_strdup(ld->config->arena, path);
    free(folder);
    if (ld->reader.folder == NULL || ld->config->file == NULL)
        return findings_no_memory(ld->findings);
    ld->root = yaml_read(ld->config->arena, yaml, len, ld->reader.folder, ld->findings);
    if (ld->root == NULL)
        return false;
    loader_read_top(ld);
    loader_read_model(ld);
    option_reader_fini(&ld->reader);
    return true;
}

struct config *config_read_text(const char *yaml, size_t len, const char *path, config_find *find,
                                struct findings *findings)
{
    struct arena *arena = arena_new();
    struct config *config = arena == NULL ? NULL : arena_alloc(arena, sizeof *config);

    if (config == NULL) {
        arena_free(arena);
        findings_no_memory(findings);
        return NULL;
    }
    config->arena = arena;
    struct loader ld = {.findings = findings, .config = config, .find = find};
    load(&ld, yaml, len, path);
    findings_sort(findings);
    if (findings->counts.errors == 0)
        return config;
    config_free(config);
    return NULL;
}

/* The whole file, or NULL (reported). Reads one byte more than is allowed, so that what is too large is seen. */
static char *slurp(const char *path, size_t *len, struct findings *findings)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t cap = 1 << 16;
    char *data = NULL;
    ssize_t n = -1;

    *len = 0;
    if (fd >= 0) {
        data = malloc(cap);
        while (data != NULL && (n = read(fd, data + *len, cap - *len)) != 0) {
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 || (*len += (size_t)n) > CONFIG_FILE_MAX)
                break;
            if (*len < cap)
                continue;
            char *grown = realloc(data, cap *= 2);
            if (grown == NULL)
                free(data);
            data = grown;
        }
    }
    if (fd < 0 || (data != NULL && n < 0)) {
        findings_error(findings, (struct place){0, 0}, "cannot read the file: %s", strerror(errno));
        free(data);
        data = NULL;
    } else if (data == NULL) {
        findings_no_memory(findings);
    }
    if (fd >= 0)
        close(fd);
    return data;
}

struct config *config_read(const char *path, config_find *find, struct findings *findings)
{
    struct config *config = NULL;
    size_t len;
    char *data = slurp(path, &len, findings);

    if (data != NULL)
        config = config_read_text(data, len, path, find, findings);
    if (data != NULL)
        explicit_bzero(data, len);
    free(data);
    return config;
}

static struct config *finish(struct config *config, struct findings *findings, struct text *report,
                             struct config_counts *counts)
{
    *counts = findings->counts;
    if (text_reserve(report, 1024)) /* without memory there is nothing to say it with */
        findings_print(findings, report);
    findings_fini(findings);
    return config;
}

struct config *config_load(const char *path, config_find *find, struct text *report, struct config_counts *counts)
{
    struct findings findings;

    findings_init(&findings, path);
    return finish(config_read(path, find, &findings), &findings, report, counts);
}

struct config *config_load_text(const char *yaml, size_t len, const char *path, config_find *find, struct text *report,
                                struct config_counts *counts)
{
    struct findings findings;

    findings_init(&findings, path);
    return finish(config_read_text(yaml, len, path, find, &findings), &findings, report, counts);
}

void config_free(struct config *config)
{
    if (config != NULL)
        arena_free(config->arena);
}
