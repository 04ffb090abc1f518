/* disk_state.c: the tree of nodes, its two sets of names, and the images that are drawn from it.
 *
 * The allocator never fails here (fail_alloc_pause): the rig is no part of what is tested.
 */
#include "disk_state.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

struct names {
    struct name {
        char *text;
        struct disk_node *node;
    } * list;
    size_t count;
};

/* Of a file, since its last sync: bytes written at `at`, or, if it resizes, its size is `at` now. */
struct change {
    struct change *next;
    size_t at, len;
    bool resizes;
    uint8_t data[];
};

struct disk_node {
    unsigned refs; /* names, moves and holders */
    bool is_folder;
    struct names now, synced; /* of a folder */
    struct move *moves;       /* of the root */
    uint8_t *bytes;           /* of a file, synced */
    size_t size;
    struct change *changes, **changes_end;
};

/* A node gets a name (`to`), loses one (`from`), or both at once. */
struct move {
    struct move *next;
    struct disk_node *node, *from_folder, *to_folder;
    char *from, *to;
    bool kept; /* in the image that is being drawn */
};

static void *must(void *ptr)
{
    assert(ptr != NULL);
    return ptr;
}

/* ---- Nodes and names ---- */

struct disk_node *disk_hold(struct disk_node *node)
{
    node->refs++;
    return node;
}

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->list[i].text);
        disk_release(names->list[i].node);
    }
    free(names->list);
    *names = (struct names){0};
}

static void changes_free(struct disk_node *file)
{
    for (struct change *change; (change = file->changes) != NULL;) {
        file->changes = change->next;
        free(change);
    }
    file->changes_end = &file->changes;
}

void disk_release(struct disk_node *node)
{
    if (node == NULL || --node->refs > 0)
        return;
    names_free(&node->now);
    names_free(&node->synced);
    changes_free(node);
    free(node->bytes);
    free(node);
}

static struct disk_node *node_new(bool is_folder)
{
    struct disk_node *node = must(calloc(1, sizeof *node));

    node->is_folder = is_folder;
    node->changes_end = &node->changes;
    return node;
}

static struct name *names_find(const struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i].text, text) == 0)
            return &names->list[i];
    return NULL;
}

static void names_set(struct names *names, const char *text, struct disk_node *node)
{
    struct name *name = names_find(names, text);

    disk_hold(node);
    if (name != NULL) {
        disk_release(name->node);
        name->node = node;
        return;
    }
    names->list = must(realloc(names->list, (names->count + 1) * sizeof *names->list));
    names->list[names->count++] = (struct name){must(strdup(text)), node};
}

static void names_drop(struct names *names, const char *text)
{
    struct name *name = names_find(names, text);

    if (name == NULL)
        return;
    free(name->text);
    disk_release(name->node);
    *name = names->list[--names->count];
}

bool disk_is_folder(const struct disk_node *node)
{
    return node->is_folder;
}

/* The folder that `path` lies in, and its last part; NULL if there is none. */
static struct disk_node *parent(struct disk_node *root, const char *path, char last[NAME_MAX + 1])
{
    struct disk_node *folder = root;

    for (;;) {
        size_t len = strcspn(path, "/");
        assert(len <= NAME_MAX);
        memcpy(last, path, len);
        last[len] = '\0';
        if (path[len] == '\0')
            return folder;
        const struct name *name = names_find(&folder->now, last);
        if (name == NULL || !name->node->is_folder)
            return NULL;
        folder = name->node;
        path += len + 1;
    }
}

struct disk_node *disk_find(struct disk_node *root, const char *path)
{
    char last[NAME_MAX + 1];
    struct disk_node *folder = parent(root, path, last);
    const struct name *name = folder == NULL || *last == '\0' ? NULL : names_find(&folder->now, last);

    return *path == '\0' ? root : name == NULL ? NULL : name->node;
}

/* ---- Moves ---- */

static void move_free(struct move *move)
{
    disk_release(move->node);
    disk_release(move->from_folder);
    disk_release(move->to_folder);
    free(move->from);
    free(move->to);
    free(move);
}

static void move_apply(const struct move *move, const struct disk_node *folder, struct names *names)
{
    if (move->from_folder == folder)
        names_drop(names, move->from);
    if (move->to_folder == folder)
        names_set(names, move->to, move->node);
}

static void moved(struct disk_node *root, struct disk_node *node, struct disk_node *from_folder, const char *from,
                  struct disk_node *to_folder, const char *to)
{
    struct move *move = must(calloc(1, sizeof *move)), **end = &root->moves;

    move->node = disk_hold(node);
    if (from_folder != NULL) {
        move->from_folder = disk_hold(from_folder);
        move->from = must(strdup(from));
    }
    if (to_folder != NULL) {
        move->to_folder = disk_hold(to_folder);
        move->to = must(strdup(to));
    }
    if (from_folder != NULL)
        move_apply(move, from_folder, &from_folder->now);
    if (to_folder != NULL && to_folder != from_folder)
        move_apply(move, to_folder, &to_folder->now);
    while (*end != NULL)
        end = &(*end)->next;
    *end = move;
}

struct disk_node *disk_made(struct disk_node *root, const char *path, bool folder)
{
    char last[NAME_MAX + 1];
    struct disk_node *in = parent(root, path, last), *node;

    if (in == NULL)
        return NULL;
    node = node_new(folder);
    moved(root, node, NULL, NULL, in, last);
    return node;
}

void disk_removed(struct disk_node *root, const char *path)
{
    char last[NAME_MAX + 1];
    struct disk_node *node = disk_find(root, path);

    if (node != NULL && node != root)
        moved(root, node, parent(root, path, last), last, NULL, NULL);
}

void disk_renamed(struct disk_node *root, const char *from, const char *to)
{
    char last_from[NAME_MAX + 1], last_to[NAME_MAX + 1];
    struct disk_node *node = disk_find(root, from), *to_folder = parent(root, to, last_to);

    if (node != NULL && to_folder != NULL && node != disk_find(root, to))
        moved(root, node, parent(root, from, last_from), last_from, to_folder, last_to);
}

void disk_linked(struct disk_node *root, const char *from, const char *to)
{
    char last[NAME_MAX + 1];
    struct disk_node *node = disk_find(root, from), *to_folder = parent(root, to, last);

    if (node != NULL && to_folder != NULL)
        moved(root, node, NULL, NULL, to_folder, last);
}

/* ---- Bytes ---- */

static void add_change(struct disk_node *file, size_t at, const void *data, size_t len, bool resizes)
{
    struct change *change = must(malloc(sizeof *change + len));

    assert(!file->is_folder);
    *change = (struct change){.at = at, .len = len, .resizes = resizes};
    if (len > 0)
        memcpy(change->data, data, len);
    *file->changes_end = change;
    file->changes_end = &change->next;
}

void disk_wrote(struct disk_node *file, off_t at, const void *data, size_t len)
{
    add_change(file, (size_t)at, data, len, false);
}

void disk_resized(struct disk_node *file, off_t size)
{
    add_change(file, (size_t)size, NULL, 0, true);
}

static void resize(uint8_t **bytes, size_t *size, size_t to)
{
    *bytes = must(realloc(*bytes, to + 1));
    if (to > *size)
        memset(*bytes + *size, 0, to - *size);
    *size = to;
}

/* The bytes `from` to `to` of what a change wrote. */
static void change_apply(const struct change *change, size_t from, size_t to, uint8_t **bytes, size_t *size)
{
    if (change->resizes) {
        resize(bytes, size, change->at);
        return;
    }
    if (change->at + to > *size)
        resize(bytes, size, change->at + to);
    memcpy(*bytes + change->at + from, change->data + from, to - from);
}

static void sync_folder(struct disk_node *root, const struct disk_node *folder)
{
    for (struct move **at = &root->moves, *move; (move = *at) != NULL;) {
        if (move->from_folder != folder && move->to_folder != folder) {
            at = &move->next;
            continue;
        }
        *at = move->next;
        if (move->from_folder != NULL)
            names_drop(&move->from_folder->synced, move->from);
        if (move->to_folder != NULL)
            names_set(&move->to_folder->synced, move->to, move->node);
        move_free(move);
    }
}

void disk_synced(struct disk_node *root, struct disk_node *node)
{
    if (node->is_folder)
        sync_folder(root, node);
    for (const struct change *change = node->changes; change != NULL; change = change->next)
        change_apply(change, 0, change->len, &node->bytes, &node->size);
    changes_free(node);
}

void disk_sync_failed(struct disk_node *node)
{
    changes_free(node);
}

/* ---- From and to real folders ---- */

static void read_file(const char *path, struct disk_node *file)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    assert(fd >= 0 && fstat(fd, &st) == 0);
    resize(&file->bytes, &file->size, (size_t)st.st_size);
    for (size_t done = 0; done < file->size;) {
        ssize_t n = read(fd, file->bytes + done, file->size - done);
        assert(n > 0);
        done += (size_t)n;
    }
    close(fd);
}

/* NULL if there is nothing of that name (any more: a store may be at work). */
static struct disk_node *load(const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0 && errno == ENOENT)
        return NULL;
    assert(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode));
    struct disk_node *node = node_new(S_ISDIR(st.st_mode));
    if (!node->is_folder) {
        read_file(path, node);
        return node;
    }
    DIR *dir = must(opendir(path));
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char below[PATH_MAX];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        assert(snprintf(below, sizeof below, "%s/%s", path, entry->d_name) < (int)sizeof below);
        struct disk_node *child = load(below);
        if (child == NULL)
            continue;
        names_set(&node->now, entry->d_name, child);
        names_set(&node->synced, entry->d_name, child);
    }
    closedir(dir);
    return node;
}

struct disk_node *disk_state_load(const char *path)
{
    struct disk_node *root = load(path);

    assert(root != NULL);
    return disk_hold(root);
}

void disk_state_free(struct disk_node *root)
{
    if (root == NULL)
        return;
    for (struct move *move; (move = root->moves) != NULL;) {
        root->moves = move->next;
        move_free(move);
    }
    disk_release(root);
}

static uint64_t draw(uint64_t *seed, uint64_t below)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15u; /* splitmix64 */

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

/* How many of `total` are kept: none, all, or some. */
static size_t draw_cut(uint64_t *seed, size_t total)
{
    switch (draw(seed, 4)) {
    case 0:
        return 0;
    case 1:
        return total;
    default:
        return draw(seed, total + 1);
    }
}

static const struct disk_node *owner(const struct move *move)
{
    return move->to_folder != NULL ? move->to_folder : move->from_folder;
}

/* Of each folder the first moves are kept. */
static void draw_moves(const struct disk_node *root, uint64_t *seed)
{
    for (struct move *move = root->moves; move != NULL; move = move->next) {
        size_t total = 0, earlier = 0;
        for (const struct move *other = root->moves; other != NULL; other = other->next)
            total += owner(other) == owner(move);
        for (const struct move *other = root->moves; other != move; other = other->next)
            earlier += owner(other) == owner(move);
        if (earlier > 0)
            continue;
        size_t cut = seed == NULL ? total : draw_cut(seed, total);
        for (struct move *other = move; other != NULL; other = other->next)
            if (owner(other) == owner(move)) {
                other->kept = cut > 0;
                cut -= cut > 0;
            }
    }
}

static void apply_pages(const struct change *change, uint64_t *seed, uint8_t **bytes, size_t *size)
{
    for (size_t from = 0, to; from < change->len; from = to) {
        to = from + PAGE - (change->at + from) % PAGE;
        if (to > change->len)
            to = change->len;
        if (draw(seed, 2) == 0)
            change_apply(change, from, to, bytes, size);
    }
}

/* The first changes, the last of them in part; or, out of order, some of their pages. */
static void draw_changes(const struct disk_node *file, uint64_t *seed, uint8_t **bytes, size_t *size)
{
    bool in_order = draw(seed, 3) > 0;
    size_t total = 0, cut = 0;

    for (const struct change *change = file->changes; change != NULL; change = change->next)
        total += change->len + change->resizes;
    if (in_order)
        cut = draw_cut(seed, total);
    for (const struct change *change = file->changes; change != NULL; change = change->next) {
        size_t weight = change->len + change->resizes, take = weight < cut ? weight : cut;
        if (!in_order && change->resizes ? draw(seed, 2) == 0 : take > 0)
            change_apply(change, 0, take, bytes, size);
        if (!in_order && !change->resizes)
            apply_pages(change, seed, bytes, size);
        cut -= take;
    }
}

static void write_file(const struct disk_node *file, const char *path, uint64_t *seed)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    size_t size = 0;
    uint8_t *bytes = NULL;

    assert(fd >= 0);
    resize(&bytes, &size, file->size);
    if (file->size > 0)
        memcpy(bytes, file->bytes, file->size);
    if (seed != NULL)
        draw_changes(file, seed, &bytes, &size);
    for (const struct change *change = seed == NULL ? file->changes : NULL; change != NULL; change = change->next)
        change_apply(change, 0, change->len, &bytes, &size);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, bytes + done, size - done);
        assert(n > 0);
        done += (size_t)n;
    }
    free(bytes);
    close(fd);
}

static void write_node(const struct disk_node *root, const struct disk_node *node, const char *path, uint64_t *seed)
{
    struct names names = {0};

    if (!node->is_folder) {
        write_file(node, path, seed);
        return;
    }
    assert(mkdir(path, 0700) == 0);
    for (size_t i = 0; i < node->synced.count; i++)
        names_set(&names, node->synced.list[i].text, node->synced.list[i].node);
    for (const struct move *move = root->moves; move != NULL; move = move->next)
        if (move->kept)
            move_apply(move, node, &names);
    for (size_t i = 0; i < names.count; i++) {
        char below[PATH_MAX];
        assert(snprintf(below, sizeof below, "%s/%s", path, names.list[i].text) < (int)sizeof below);
        write_node(root, names.list[i].node, below, seed);
    }
    names_free(&names);
}

void disk_state_write(const struct disk_node *root, const char *image, uint64_t *seed)
{
    draw_moves(root, seed);
    write_node(root, root, image, seed);
}
