/* folder.c: a store's folder holds RocksDB's files and the file BAILEY, which says whose they are and is locked while the store is open.
 *
 * BAILEY is written first, and whole, so a folder without it is somebody else's or empty; and it can be read without RocksDB, which
 * could not tell a newer version of us, and renames its log before it finds the folder locked.
 */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK_FORMAT "bailey rocksdb store, version %d\n"

enum { VERSION = 1 };

bool folder_fail(struct bailey_error *err, const char *doing, const char *path)
{
    int code = errno;
    bool full = code == ENOSPC || code == EDQUOT;
    bool config = code == EACCES || code == EPERM || code == EROFS || code == ENOENT || code == ENOTDIR ||
                  code == ELOOP || code == ENAMETOOLONG;

    bailey_fail_native(err, config ? BAILEY_ERR_CONFIG : BAILEY_ERR_TRANSIENT, "errno", code, "cannot %s %.150s: %s",
                       doing, path, strerror(code));
    if (full)
        return bailey_hint(err, "free space on its disk");
    if (code == ENOENT)
        return bailey_hint(err, "create the folder above it");
    return bailey_hint(err, config ? "give bailey's user a folder it may write to"
                                   : "look at the disk, and at the system's log");
}

static bool join(char out[PATH_MAX], const char *path, const char *name)
{
    if (snprintf(out, PATH_MAX, "%s/%s", path, name) < PATH_MAX)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

static bool sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    int code = errno;

    if (fd >= 0)
        close(fd);
    errno = code;
    return synced;
}

static bool sync_above(const char *path)
{
    char above[PATH_MAX];

    return join(above, path, "..") && sync_folder(above);
}

static bool write_whole(int fd, const char *text)
{
    for (size_t len = strlen(text); len > 0;) {
        ssize_t n = write(fd, text, len);
        if (n < 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

bool folder_mark(const char *path, struct bailey_error *err)
{
    char text[64], fresh[PATH_MAX], final[PATH_MAX];

    snprintf(text, sizeof text, MARK_FORMAT, VERSION);
    if (!join(fresh, path, "BAILEY.new") || !join(final, path, "BAILEY"))
        return folder_fail(err, "use", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write_whole(fd, text);
    int code = errno;
    if (fd >= 0)
        close(fd);
    errno = code;
    if (written && rename(fresh, final) == 0 && sync_folder(path) && sync_above(path))
        return true;
    return folder_fail(err, "write", final);
}

/* ---- Taking ---- */

struct content {
    bool marked, has_current, has_data, has_others;
};

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);

    return len > end_len && strcmp(name + len - end_len, end) == 0;
}

static bool look_into(const char *path, struct content *content)
{
    DIR *dir = opendir(path);

    *content = (struct content){0};
    if (dir == NULL)
        return false;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        if (strcmp(name, "BAILEY") == 0)
            content->marked = true;
        else if (strcmp(name, "CURRENT") == 0)
            content->has_current = true;
        else if (ends_with(name, ".sst") || ends_with(name, ".log"))
            content->has_data = true;
        else if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "BAILEY.new") != 0)
            content->has_others = true;
    }
    closedir(dir);
    return true;
}

static bool make_folder(const char *path, struct bailey_error *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return folder_fail(err, "create", path);
    return sync_above(path) || folder_fail(err, "sync the folder above", path);
}

static bool lock(int fd, const char *path, struct bailey_error *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_SETLK, &whole) == 0)
        return true;
    if (errno != EACCES && errno != EAGAIN)
        return folder_fail(err, "lock", path);
    if (fcntl(fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK)
        bailey_fail(err, BAILEY_ERR_CONFIG, "%.150s is in use by process %ld", path, (long)whole.l_pid);
    else
        bailey_fail(err, BAILEY_ERR_CONFIG, "%.150s is in use by another process", path);
    return bailey_hint(err, "stop that process, or give each its own folder");
}

static bool check_version(int fd, const char *path, struct bailey_error *err)
{
    char text[64] = "", known[64];
    int version = 0;
    ssize_t len = pread(fd, text, sizeof text - 1, 0);

    if (len < 0)
        return folder_fail(err, "read", path);
    if (sscanf(text, MARK_FORMAT, &version) != 1 || version < 1 ||
        (snprintf(known, sizeof known, MARK_FORMAT, version), strcmp(text, known) != 0)) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%.150s is damaged: it does not say what it is", path);
        return bailey_hint(err, "restore a snapshot, or give another folder");
    }
    if (version > VERSION) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%.150s is of version %d, this bailey knows version %d", path, version,
                    VERSION);
        return bailey_hint(err, "use the version of bailey that wrote it");
    }
    return true;
}

static int take_marked(const char *path, struct bailey_error *err)
{
    char mark[PATH_MAX];
    int fd = join(mark, path, "BAILEY") ? open(mark, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0) {
        folder_fail(err, "open", mark);
        return -1;
    }
    if (lock(fd, path, err) && check_version(fd, mark, err))
        return fd;
    close(fd);
    return -1;
}

int folder_take(const char *path, bool *fresh, struct bailey_error *err)
{
    struct content content;
    struct stat st;

    if (lstat(path, &st) != 0 && errno == ENOENT && !make_folder(path, err))
        return -1;
    if (!look_into(path, &content) || access(path, W_OK) != 0) {
        folder_fail(err, "use", path);
        return -1;
    }
    if (!content.marked && (content.has_current || content.has_data || content.has_others)) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%.150s is no store: it holds other files", path);
        bailey_hint(err, "give an empty folder, or one that does not exist");
        return -1;
    }
    if (content.has_data && !content.has_current) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%.150s is damaged: the file CURRENT is missing", path);
        bailey_hint(err, "restore a snapshot, or give another folder");
        return -1;
    }
    if (!content.marked && !folder_mark(path, err))
        return -1;
    *fresh = !content.has_current;
    return take_marked(path, err);
}

/* ---- The rest ---- */

bool folder_try(const char *path, int64_t bytes, struct bailey_error *err)
{
    char name[PATH_MAX];
    int fd = join(name, path, "BAILEY.new") ? open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    int code = fd < 0 ? errno : posix_fallocate(fd, 0, bytes);

    if (code == 0 && (pwrite(fd, "", 1, 0) != 1 || fsync(fd) != 0))
        code = errno;
    if (fd >= 0) {
        close(fd);
        unlink(name);
    }
    errno = code;
    return code == 0 || folder_fail(err, "write", name);
}

int64_t folder_bytes(const char *path)
{
    DIR *dir = opendir(path);
    int64_t bytes = 0;
    struct stat st;

    if (dir == NULL)
        return 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            bytes += (int64_t)st.st_blocks * 512;
    closedir(dir);
    return bytes;
}
