/* disk.c: interrupted calls and short reads and writes are gone on with here, and nowhere else. */
#include "disk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *hint_of(int code)
{
    switch (code) {
    case ENOSPC:
    case EDQUOT:
        return "make room on the disk; nothing is lost, it is tried again";
    case EACCES:
    case EPERM:
    case EROFS:
        return "let the user that runs the gateway write there";
    case EIO:
        return "the disk fails: see the system's log; nothing that was reported as durable depends on this call";
    case EMFILE:
    case ENFILE:
        return "raise the limit of open files (ulimit -n)";
    default:
        return NULL;
    }
}

static enum bailey_error_kind kind_of(int code)
{
    switch (code) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return BAILEY_ERR_CONFIG;
    default:
        return BAILEY_ERR_TRANSIENT;
    }
}

bool disk_fail(struct bailey_error *err, const char *what, const char *path)
{
    int code = errno;
    char reason[80];

    bailey_fail_native(err, kind_of(code), "errno", code, "cannot %s %s: %s", what, path,
                       strerror_r(code, reason, sizeof reason));
    return hint_of(code) == NULL ? false : bailey_hint(err, "%s", hint_of(code));
}

bool disk_no_memory(struct bailey_error *err)
{
    return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
}

bool disk_damaged(struct bailey_error *err, const char *path, uint64_t offset, const char *what)
{
    bailey_fail(err, BAILEY_ERR_CONFIG, "%s is damaged at byte %llu: %s", path, (unsigned long long)offset, what);
    return bailey_hint(err, "restore the folder from a copy, or move it away to begin with an empty store");
}

int disk_open(const char *path, int flags, struct bailey_error *err)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0600);

    if (fd < 0)
        disk_fail(err, "open", path);
    return fd;
}

bool disk_size(int fd, const char *path, uint64_t *size, struct bailey_error *err)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return disk_fail(err, "look at", path);
    if (!S_ISREG(status.st_mode))
        return disk_damaged(err, path, 0, "not a regular file");
    *size = (uint64_t)status.st_size;
    return true;
}

bool disk_write(int fd, const char *path, const void *data, size_t len, uint64_t offset, struct bailey_error *err)
{
    const uint8_t *at = data;

    while (len > 0) {
        ssize_t n = pwrite(fd, at, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ENOSPC;
        if (n <= 0)
            return disk_fail(err, "write", path);
        at += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return true;
}

bool disk_read(int fd, const char *path, void *data, size_t len, uint64_t offset, struct bailey_error *err)
{
    uint8_t *at = data;

    while (len > 0) {
        ssize_t n = pread(fd, at, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return disk_fail(err, "read", path);
        if (n == 0)
            return disk_damaged(err, path, offset, "it ends here");
        at += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return true;
}

bool disk_sync(int fd, const char *path, struct bailey_error *err)
{
    return fdatasync(fd) == 0 || disk_fail(err, "sync", path);
}

bool disk_sync_folder(const char *path, struct bailey_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (!ok)
        disk_fail(err, "sync", path);
    if (fd >= 0)
        close(fd);
    return ok;
}

bool disk_rename(const char *from, const char *to, struct bailey_error *err)
{
    return rename(from, to) == 0 || disk_fail(err, "rename", from);
}

bool disk_unlink(const char *path, struct bailey_error *err)
{
    return unlink(path) == 0 || errno == ENOENT || disk_fail(err, "remove", path);
}

char *disk_path(const char *folder, const char *fmt, ...)
{
    char *name = NULL, *path = NULL;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&name, fmt, args) < 0)
        name = NULL;
    va_end(args);
    if (name == NULL || asprintf(&path, "%s/%s", folder, name) < 0)
        path = NULL;
    free(name);
    return path;
}
