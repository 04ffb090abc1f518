/* disk_rig.c: the calls of the disk, in front of the C library's.
 *
 * Each takes the lock, asks whether it is to fail, makes the real call, and tells disk_state.c what happened: so what is remembered is
 * what the disk has, whichever threads call. A sync of the watched folder is not made: the disk under the tests has no say.
 */
#include "disk_rig.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk_state.h"
#include "fail_alloc.h"

enum { FILES_MAX = 65536 };

static struct {
    int (*open)(const char *path, int flags, ...);
    int (*openat)(int at, const char *path, int flags, ...);
    int (*close)(int fd);
    int (*fclose)(FILE *file);
    ssize_t (*read)(int fd, void *data, size_t len);
    ssize_t (*pread)(int fd, void *data, size_t len, off_t at);
    ssize_t (*write)(int fd, const void *data, size_t len);
    ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t at);
    ssize_t (*writev)(int fd, const struct iovec *list, int count);
    ssize_t (*pwritev)(int fd, const struct iovec *list, int count, off_t at);
    int (*fsync)(int fd);
    int (*fdatasync)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*truncate)(const char *path, off_t size);
    int (*fallocate)(int fd, int mode, off_t at, off_t len);
    int (*posix_fallocate)(int fd, off_t at, off_t len);
    int (*renameat)(int from_at, const char *from, int to_at, const char *to);
    int (*unlinkat)(int at, const char *path, int flags);
    int (*linkat)(int from_at, const char *from, int to_at, const char *to, int flags);
    int (*mkdirat)(int at, const char *path, mode_t mode);
} real;

__attribute__((constructor)) static void find_real(void)
{
    static const struct {
        const char *name;
        void *slot;
    } calls[] = {
        {"open", &real.open},           {"openat", &real.openat},
        {"close", &real.close},         {"read", &real.read},
        {"pread", &real.pread},         {"write", &real.write},
        {"pwrite", &real.pwrite},       {"writev", &real.writev},
        {"pwritev", &real.pwritev},     {"fsync", &real.fsync},
        {"fdatasync", &real.fdatasync}, {"ftruncate", &real.ftruncate},
        {"truncate", &real.truncate},   {"fallocate", &real.fallocate},
        {"renameat", &real.renameat},   {"posix_fallocate", &real.posix_fallocate},
        {"unlinkat", &real.unlinkat},   {"linkat", &real.linkat},
        {"fclose", &real.fclose},       {"mkdirat", &real.mkdirat},
    };

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        void *found = dlsym(RTLD_NEXT, calls[i].name);
        memcpy(calls[i].slot, &found, sizeof found);
    }
}

/* Also before the constructors, whose order is not ours. */
#define REAL(call) (real.call == NULL ? find_real() : (void)0, real.call)

/* ---- What is watched ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool watching;
static _Thread_local bool within; /* the rig itself is at work */
static char folder[PATH_MAX];
static struct disk_node *root;
static struct disk_node *_Atomic files[FILES_MAX];
static struct disk_fault fault;
static size_t calls_seen;

struct entered {
    bool was_armed;
};

static void enter(struct entered *entered)
{
    within = true;
    entered->was_armed = fail_alloc_pause();
    pthread_mutex_lock(&lock);
}

static void leave(const struct entered *entered)
{
    int kept = errno;

    pthread_mutex_unlock(&lock);
    fail_alloc_resume(entered->was_armed);
    within = false;
    errno = kept;
}

static bool is_watching(void)
{
    return atomic_load_explicit(&watching, memory_order_acquire) && !within;
}

static struct disk_node *node_of(int fd)
{
    return fd >= 0 && fd < FILES_MAX ? atomic_load_explicit(&files[fd], memory_order_acquire) : NULL;
}

/* False where the call has nothing to do with the rig (and may wait, so that the lock is none of its business). */
static bool enter_file(int fd, struct entered *entered)
{
    if (!is_watching() || node_of(fd) == NULL)
        return false;
    enter(entered);
    return true;
}

/* Is this call to fail? Then with errno. `writes_half`: it has to write so much, and succeeds. */
static bool fails(enum disk_call call, bool *writes_half)
{
    if ((fault.calls & call) == 0)
        return false;
    calls_seen++;
    if (fault.nth == 0 || (fault.lasts ? calls_seen < fault.nth : calls_seen != fault.nth))
        return false;
    if (writes_half != NULL && fault.writes_a_part && calls_seen == fault.nth) {
        *writes_half = true;
        return false;
    }
    errno = fault.error;
    return true;
}

/* Without "//", "/./" and "/../". */
static void normalize(char path[PATH_MAX])
{
    char *out = path;

    for (const char *in = path; *in != '\0';) {
        size_t len = strcspn(in + 1, "/") + 1; /* "/part" */
        if (len == 1 || (len == 2 && in[1] == '.')) {
        } else if (len == 3 && in[1] == '.' && in[2] == '.') {
            while (out > path && *--out != '/')
                ;
        } else {
            memmove(out, in, len);
            out += len;
        }
        in += len;
    }
    *out = '\0';
}

/* The part of `path` below the watched folder, or NULL. "" is the folder itself. */
static const char *below(int at, const char *path, char absolute[PATH_MAX])
{
    char base[PATH_MAX] = "", link[64];
    size_t len = strlen(folder);

    if (*path != '/' && at == AT_FDCWD && getcwd(base, sizeof base) == NULL)
        return NULL;
    if (*path != '/' && at != AT_FDCWD) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t n = readlink(link, base, sizeof base - 1);
        if (n <= 0)
            return NULL;
        base[n] = '\0';
    }
    if (snprintf(absolute, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
        return NULL;
    normalize(absolute);
    if (strncmp(absolute, folder, len) != 0 || (absolute[len] != '/' && absolute[len] != '\0'))
        return NULL;
    return absolute + len + (absolute[len] == '/');
}

/* The same, entered; or NULL. */
static const char *enter_path(int at, const char *path, char absolute[PATH_MAX], struct entered *entered)
{
    const char *name = is_watching() ? below(at, path, absolute) : NULL;

    if (name != NULL)
        enter(entered);
    return name;
}

void disk_rig_unwatch(void)
{
    atomic_store(&watching, false);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < FILES_MAX; i++)
        disk_release(atomic_exchange(&files[i], NULL));
    disk_state_free(root);
    root = NULL;
    fault = (struct disk_fault){0};
    pthread_mutex_unlock(&lock);
}

void disk_rig_watch(const char *path)
{
    disk_rig_unwatch();
    pthread_mutex_lock(&lock);
    assert(*path == '/' && snprintf(folder, sizeof folder, "%s", path) < (int)sizeof folder);
    normalize(folder);
    root = disk_state_load(folder);
    pthread_mutex_unlock(&lock);
    atomic_store_explicit(&watching, true, memory_order_release);
}

void disk_rig_fail(struct disk_fault wanted)
{
    pthread_mutex_lock(&lock);
    fault = wanted;
    calls_seen = 0;
    pthread_mutex_unlock(&lock);
}

size_t disk_rig_heal(void)
{
    pthread_mutex_lock(&lock);
    size_t seen = calls_seen;
    fault = (struct disk_fault){0};
    pthread_mutex_unlock(&lock);
    return seen;
}

static void write_image(const char *image, uint64_t *seed)
{
    struct entered entered;

    assert(is_watching());
    enter(&entered);
    disk_state_write(root, image, seed);
    leave(&entered);
}

void disk_rig_power_cut(const char *image, uint64_t seed)
{
    write_image(image, &seed);
}

void disk_rig_kill(const char *image)
{
    write_image(image, NULL);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

void disk_rig_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- Opening and closing ---- */

static void opened(const char *path, int flags, int fd)
{
    struct disk_node *node = disk_find(root, path);

    if (fd < 0 || fd >= FILES_MAX)
        return;
    if (node == NULL)
        node = disk_made(root, path, false);
    else if ((flags & O_TRUNC) != 0)
        disk_resized(node, 0);
    assert(node_of(fd) == NULL);
    if (node != NULL)
        atomic_store(&files[fd], disk_hold(node));
}

/* Before the descriptor can be another's. */
static void forget(int fd)
{
    struct entered entered;

    if (!enter_file(fd, &entered))
        return;
    disk_release(atomic_exchange(&files[fd], NULL));
    leave(&entered);
}

static int open_below(int at, const char *path, int flags, mode_t mode)
{
    char absolute[PATH_MAX];
    struct entered entered;
    const char *name = enter_path(at, path, absolute, &entered);

    if (name == NULL)
        return REAL(openat)(at, path, flags, mode);
    int fd = fails(DISK_OPEN, NULL) ? -1 : REAL(openat)(at, path, flags, mode);
    opened(name, flags, fd);
    leave(&entered);
    return fd;
}

static mode_t mode_arg(int flags, va_list args)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

#pragma GCC visibility push(default)
int open(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = mode_arg(flags, args);
    va_end(args);
    return open_below(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int openat(int at, const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = mode_arg(flags, args);
    va_end(args);
    return open_below(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) __attribute__((alias("openat")));

int creat(const char *path, mode_t mode)
{
    return open_below(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int close(int fd)
{
    forget(fd);
    return REAL(close)(fd);
}

int fclose(FILE *file) /* of a descriptor that open() gave to fdopen() */
{
    forget(fileno(file));
    return REAL(fclose)(file);
}
#pragma GCC visibility pop

/* ---- Reading and writing ---- */

static off_t position(int fd)
{
    return lseek(fd, 0, SEEK_CUR);
}

#ifdef __SANITIZE_THREAD__
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);

/* ThreadSanitizer leaves out what RocksDB has the C library write, as it sees none of RocksDB's locks (tsan.supp). It does not know that
 * we ask for RocksDB. */
static ssize_t read_really(int fd, void *data, size_t len, off_t at, const void *caller)
{
    Dl_info info;
    bool unseen = dladdr(caller, &info) != 0 && strstr(info.dli_fname, "librocksdb.so") != NULL;

    if (unseen)
        AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    ssize_t n = at < 0 ? REAL(read)(fd, data, len) : REAL(pread)(fd, data, len, at);
    if (unseen)
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    return n;
}
#else
static ssize_t read_really(int fd, void *data, size_t len, off_t at, const void *caller)
{
    (void)caller;
    return at < 0 ? REAL(read)(fd, data, len) : REAL(pread)(fd, data, len, at);
}
#endif

/* `at` < 0: at the file's own position. */
static ssize_t read_file(int fd, void *data, size_t len, off_t at, const void *caller)
{
    struct entered entered;

    if (!enter_file(fd, &entered))
        return read_really(fd, data, len, at, caller);
    ssize_t n = fails(DISK_READ, NULL) ? -1 : read_really(fd, data, len, at, caller);
    leave(&entered);
    return n;
}

static ssize_t write_file(int fd, const void *data, size_t len, off_t at)
{
    struct entered entered;
    bool half = false;
    ssize_t n = -1;

    if (!enter_file(fd, &entered))
        return at < 0 ? REAL(write)(fd, data, len) : REAL(pwrite)(fd, data, len, at);
    if (!fails(DISK_WRITE, &half)) {
        len = half && len > 1 ? len / 2 : len;
        n = at < 0 ? REAL(write)(fd, data, len) : REAL(pwrite)(fd, data, len, at);
    }
    if (n > 0)
        disk_wrote(node_of(fd), at < 0 ? position(fd) - n : at, data, (size_t)n);
    leave(&entered);
    return n;
}

/* One write of all, so that it is counted, cut short and remembered as one. */
static ssize_t write_list(int fd, const struct iovec *list, int count, off_t at)
{
    bool was_armed = fail_alloc_pause();
    size_t len = 0, filled = 0;

    for (int i = 0; i < count; i++)
        len += list[i].iov_len;
    uint8_t *all = malloc(len + 1);
    assert(all != NULL);
    for (int i = 0; i < count; filled += list[i++].iov_len)
        if (list[i].iov_len > 0)
            memcpy(all + filled, list[i].iov_base, list[i].iov_len);
    fail_alloc_resume(was_armed);
    ssize_t n = write_file(fd, all, len, at);
    int kept = errno;
    was_armed = fail_alloc_pause();
    free(all);
    fail_alloc_resume(was_armed);
    errno = kept;
    return n;
}

#pragma GCC visibility push(default)
ssize_t read(int fd, void *data, size_t len)
{
    return read_file(fd, data, len, -1, __builtin_return_address(0));
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
    return read_file(fd, data, len, at, __builtin_return_address(0));
}

ssize_t pread64(int fd, void *data, size_t len, off_t at) __attribute__((alias("pread")));

ssize_t write(int fd, const void *data, size_t len)
{
    return write_file(fd, data, len, -1);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return write_file(fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at) __attribute__((alias("pwrite")));

ssize_t writev(int fd, const struct iovec *list, int count)
{
    return is_watching() && node_of(fd) != NULL ? write_list(fd, list, count, -1) : REAL(writev)(fd, list, count);
}

ssize_t pwritev(int fd, const struct iovec *list, int count, off_t at)
{
    return is_watching() && node_of(fd) != NULL ? write_list(fd, list, count, at) : REAL(pwritev)(fd, list, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *list, int count, off_t at) __attribute__((alias("pwritev")));
#pragma GCC visibility pop

/* ---- Syncs ---- */

static int sync_file(int fd, int (*sync)(int fd))
{
    struct entered entered;
    int result = 0;

    if (!enter_file(fd, &entered))
        return sync(fd);
    if (fails(DISK_SYNC, NULL)) {
        result = -1;
        disk_sync_failed(node_of(fd));
    } else {
        disk_synced(root, node_of(fd));
    }
    leave(&entered);
    return result;
}

#pragma GCC visibility push(default)
int fsync(int fd)
{
    return sync_file(fd, REAL(fsync));
}

int fdatasync(int fd)
{
    return sync_file(fd, REAL(fdatasync));
}
#pragma GCC visibility pop

/* ---- Sizes ---- */

static off_t size_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_size : -1;
}

/* Room is not really taken, which would cost time in memory: only the size changes, without KEEP_SIZE. Holes are known only behind the end. */
static int allocate(int fd, int mode, off_t at, off_t len)
{
    struct entered entered;
    int result = 0;

    if (!enter_file(fd, &entered))
        return REAL(fallocate)(fd, mode, at, len);
    assert(mode == 0 || (mode & FALLOC_FL_KEEP_SIZE) != 0);
    assert((mode & ~FALLOC_FL_KEEP_SIZE) == 0 || at >= size_of(fd));
    if (fails(DISK_ALLOCATE, NULL))
        result = -1;
    else if (mode == 0 && at + len > size_of(fd) && (result = REAL(ftruncate)(fd, at + len)) == 0)
        disk_resized(node_of(fd), at + len);
    leave(&entered);
    return result;
}

#pragma GCC visibility push(default)
int fallocate(int fd, int mode, off_t at, off_t len)
{
    return allocate(fd, mode, at, len);
}

int fallocate64(int fd, int mode, off_t at, off_t len) __attribute__((alias("fallocate")));

int posix_fallocate(int fd, off_t at, off_t len)
{
    if (!is_watching() || node_of(fd) == NULL)
        return REAL(posix_fallocate)(fd, at, len);
    int kept = errno, result = allocate(fd, 0, at, len) == 0 ? 0 : errno;
    errno = kept;
    return result;
}

int posix_fallocate64(int fd, off_t at, off_t len) __attribute__((alias("posix_fallocate")));

int ftruncate(int fd, off_t size)
{
    struct entered entered;

    if (!enter_file(fd, &entered))
        return REAL(ftruncate)(fd, size);
    int result = fails(DISK_TRUNCATE, NULL) ? -1 : REAL(ftruncate)(fd, size);
    if (result == 0)
        disk_resized(node_of(fd), size);
    leave(&entered);
    return result;
}

int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));

int truncate(const char *path, off_t size)
{
    char absolute[PATH_MAX];
    struct entered entered;
    const char *name = enter_path(AT_FDCWD, path, absolute, &entered);

    if (name == NULL)
        return REAL(truncate)(path, size);
    int result = fails(DISK_TRUNCATE, NULL) ? -1 : REAL(truncate)(path, size);
    if (result == 0 && disk_find(root, name) != NULL)
        disk_resized(disk_find(root, name), size);
    leave(&entered);
    return result;
}

int truncate64(const char *path, off_t size) __attribute__((alias("truncate")));
#pragma GCC visibility pop

/* ---- Names ---- */

/* Both ends of a rename or a link lie in the watched folder, or none does. */
static int rename_below(int from_at, const char *from, int to_at, const char *to)
{
    char absolute[PATH_MAX], absolute_to[PATH_MAX];
    struct entered entered;
    const char *name = enter_path(from_at, from, absolute, &entered), *name_to;

    if (name == NULL)
        return REAL(renameat)(from_at, from, to_at, to);
    assert((name_to = below(to_at, to, absolute_to)) != NULL);
    int result = fails(DISK_RENAME, NULL) ? -1 : REAL(renameat)(from_at, from, to_at, to);
    if (result == 0)
        disk_renamed(root, name, name_to);
    leave(&entered);
    return result;
}

static int link_below(int from_at, const char *from, int to_at, const char *to, int flags)
{
    char absolute[PATH_MAX], absolute_to[PATH_MAX];
    struct entered entered;
    const char *name = enter_path(from_at, from, absolute, &entered), *name_to;

    if (name == NULL)
        return REAL(linkat)(from_at, from, to_at, to, flags);
    assert((name_to = below(to_at, to, absolute_to)) != NULL);
    int result = fails(DISK_LINK, NULL) ? -1 : REAL(linkat)(from_at, from, to_at, to, flags);
    if (result == 0)
        disk_linked(root, name, name_to);
    leave(&entered);
    return result;
}

static int unlink_below(int at, const char *path, int flags)
{
    char absolute[PATH_MAX];
    struct entered entered;
    const char *name = enter_path(at, path, absolute, &entered);

    if (name == NULL)
        return REAL(unlinkat)(at, path, flags);
    int result = fails(DISK_UNLINK, NULL) ? -1 : REAL(unlinkat)(at, path, flags);
    if (result == 0)
        disk_removed(root, name);
    leave(&entered);
    return result;
}

static int mkdir_below(int at, const char *path, mode_t mode)
{
    char absolute[PATH_MAX];
    struct entered entered;
    const char *name = enter_path(at, path, absolute, &entered);

    if (name == NULL)
        return REAL(mkdirat)(at, path, mode);
    int result = fails(DISK_MKDIR, NULL) ? -1 : REAL(mkdirat)(at, path, mode);
    if (result == 0)
        disk_made(root, name, true);
    leave(&entered);
    return result;
}

#pragma GCC visibility push(default)
int rename(const char *from, const char *to)
{
    return rename_below(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return rename_below(from_at, from, to_at, to);
}

int unlink(const char *path)
{
    return unlink_below(AT_FDCWD, path, 0);
}

int unlinkat(int at, const char *path, int flags)
{
    return unlink_below(at, path, flags);
}

int rmdir(const char *path)
{
    return unlink_below(AT_FDCWD, path, AT_REMOVEDIR);
}

int link(const char *from, const char *to)
{
    return link_below(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    return link_below(from_at, from, to_at, to, flags);
}

int mkdir(const char *path, mode_t mode)
{
    return mkdir_below(AT_FDCWD, path, mode);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    return mkdir_below(at, path, mode);
}
#pragma GCC visibility pop
