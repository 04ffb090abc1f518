/* base/file.c: what names a file may be changed at any time by who rotates secrets: a symbolic link that is moved, a file that
 * is renamed into place. So each read opens it anew, and a stamp holds all by which stat(2) tells one version from another. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes read, at most `size`; -1: errno says why. */
static ssize_t read_all(int fd, char *data, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, data + len, size - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static enum file_result failed(const char *why, const char **reason)
{
    *reason = why;
    return FILE_FAILED;
}

static enum file_result read_text(int fd, char *text, size_t size, size_t *len, const char **reason)
{
    struct stat status;
    ssize_t got;

    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return failed("not a regular file", reason);
    got = read_all(fd, text, size);
    if (got < 0)
        return failed(strerror(errno), reason);
    if ((size_t)got == size)
        return FILE_TOO_LARGE;
    if (memchr(text, '\0', (size_t)got) != NULL)
        return failed("a zero byte in it", reason);
    *len = (size_t)got;
    if (*len > 0 && text[*len - 1] == '\n')
        *len -= *len > 1 && text[*len - 2] == '\r' ? 2 : 1;
    text[*len] = '\0';
    return FILE_OK;
}

enum file_result file_read_text(const char *path, char *text, size_t size, size_t *len, const char **reason)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    enum file_result result;

    if (fd < 0)
        return failed(strerror(errno), reason);
    result = read_text(fd, text, size, len, reason);
    if (result != FILE_OK)
        explicit_bzero(text, size);
    close(fd);
    return result;
}

bool file_changed(const char *path, struct bailey_stamp *stamp)
{
    struct bailey_stamp now = {0};
    struct stat status;
    bool same;

    if (stat(path, &status) == 0)
        now =
            (struct bailey_stamp){.device = status.st_dev,
                                  .inode = status.st_ino,
                                  .size = status.st_size,
                                  .changed_ns = status.st_ctim.tv_sec * INT64_C(1000000000) + status.st_ctim.tv_nsec,
                                  .modified_ns = status.st_mtim.tv_sec * INT64_C(1000000000) + status.st_mtim.tv_nsec};
    same = now.device == stamp->device && now.inode == stamp->inode && now.size == stamp->size &&
           now.changed_ns == stamp->changed_ns && now.modified_ns == stamp->modified_ns;
    *stamp = now;
    return !same;
}
