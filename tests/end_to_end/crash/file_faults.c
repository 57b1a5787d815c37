/* A layer between a program and its files that fails, or kills the program, at a chosen write.
 *
 *     cc -O1 -shared -fPIC -o file_faults.so file_faults.c
 *     LD_PRELOAD=./file_faults.so python ...
 *
 * Every call that changes a file below one folder is a boundary: write, sync, truncate, create,
 * make a folder, rename, remove. Either the program arms the layer (file_faults_arm, by ctypes), or
 * the environment does: FILE_FAULTS_FOLDER, FILE_FAULTS_KIND, and FILE_FAULTS_SWITCH, a file; while
 * it exists, every call is struck. The layer does not see memory-mapped writes. SQLite uses them
 * only for the index of its log, which it rebuilds after a crash.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind {
    COUNT,     /* only count */
    KILL,      /* end before the N-th call */
    TORN,      /* do half of the N-th call, if it writes, then end */
    POWER,     /* end before the N-th call, and take back every write that was not synced */
    SHORT,     /* do half of the N-th call, if it writes, and say so */
    IO_ERROR,  /* fail the N-th call */
    NO_SPACE,  /* fail whatever needs room, from the N-th call on */
    READ_ONLY, /* fail whatever changes something, from the N-th call on */
};

enum call { WRITE, CREATE, SYNC, CHANGE };

/* What an unsynced write overwrote. */
struct undo {
    struct undo *older;
    int fd; /* a separate descriptor: the program's may be write-only, or closed by then */
    ino_t file;
    off_t offset, size;
    size_t length;
    char *bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX], control[PATH_MAX];
static enum kind kind;
static long target, seen;
static struct undo *undos;

/* Start to count boundaries below a folder; strike the given one, counted from 1. */
void file_faults_arm(const char *below, int what, long boundary)
{
    snprintf(folder, sizeof folder, "%s/", below);
    kind = what;
    target = boundary;
    seen = 0;
}

/* Stop striking; returns the number of boundaries. */
long file_faults_disarm(void)
{
    folder[0] = 0;
    return seen;
}

__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *below = getenv("FILE_FAULTS_FOLDER"), *what = getenv("FILE_FAULTS_KIND");
    const char *file = getenv("FILE_FAULTS_SWITCH");
    if (below && what && file) {
        snprintf(control, sizeof control, "%s", file);
        file_faults_arm(below, atoi(what), 1);
    }
}

static int is_below(const char *path)
{
    char real[PATH_MAX], parent[PATH_MAX];
    if (!folder[0])
        return 0;
    if (path[0] != '/') {
        if (!realpath(".", parent))
            return 0;
        snprintf(real, sizeof real, "%.2000s/%.2000s", parent, path);
        path = real;
    }
    return !strncmp(path, folder, strlen(folder));
}

static int is_file_below(int fd)
{
    char link[64], path[PATH_MAX];
    if (!folder[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return is_below(path);
}

static int is_entry_below(int directory, const char *path)
{
    return path[0] == '/' || directory == AT_FDCWD ? is_below(path) : is_file_below(directory);
}

/* End the process at once, as the kind of fault demands. */
void file_faults_end(void)
{
    for (struct undo *entry = kind == POWER ? undos : NULL; entry; entry = entry->older) {
        if (entry->length)
            syscall(SYS_pwrite64, entry->fd, entry->bytes, entry->length, entry->offset);
        syscall(SYS_ftruncate, entry->fd, entry->size);
    }
    kill(getpid(), SIGKILL);
    pause();
}

/* Save the bytes in [offset, offset + length), so that a power cut can restore them. */
static void remember(int fd, off_t offset, size_t length)
{
    char link[64];
    struct stat state;
    struct undo *entry = calloc(1, sizeof *entry);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    entry->fd = syscall(SYS_openat, AT_FDCWD, link, O_RDWR | O_CLOEXEC);
    fstat(entry->fd, &state);
    entry->file = state.st_ino;
    entry->size = state.st_size;
    entry->offset = offset;
    if (offset < state.st_size) {
        entry->length = (off_t)length < state.st_size - offset ? length : (size_t)(state.st_size - offset);
        entry->bytes = malloc(entry->length);
        if (pread(entry->fd, entry->bytes, entry->length, offset) < 0)
            entry->length = 0;
    }
    entry->older = undos;
    undos = entry;
}

/* A synced file keeps what was written. The descriptors stay open, because closing one would
 * release the locks that SQLite holds on the same file. */
static void forget(int fd)
{
    struct stat state;
    fstat(fd, &state);
    for (struct undo **at = &undos; *at;) {
        if ((*at)->file == state.st_ino)
            *at = (*at)->older;
        else
            at = &(*at)->older;
    }
}

/* Count a boundary. Returns 0 if the call proceeds, 1 if it does half, -1 if it fails. */
static int boundary(enum call call)
{
    if (control[0] && syscall(SYS_faccessat, AT_FDCWD, control, F_OK, 0))
        return 0;
    pthread_mutex_lock(&lock);
    int at = ++seen == target, from = seen >= target;
    pthread_mutex_unlock(&lock);
    switch (kind) {
    case KILL:
    case POWER:
        if (at)
            file_faults_end();
        return 0;
    case TORN:
        if (at && call != WRITE)
            file_faults_end();
        return at;
    case SHORT:
        return at && call == WRITE;
    case IO_ERROR:
        errno = EIO;
        return at || (from && control[0]) ? -1 : 0;
    case NO_SPACE:
        errno = ENOSPC;
        return from && (call == WRITE || call == CREATE) ? -1 : 0;
    case READ_ONLY:
        errno = EROFS;
        return from && call != SYNC ? -1 : 0;
    default:
        return 0;
    }
}

static ssize_t half_done(ssize_t done)
{
    if (kind == TORN)
        file_faults_end();
    return done;
}

/* A call that writes `count` bytes at `offset`; `call` uses `amount` for how many. */
#define WRITING(fd, count, offset, result)                                               \
    size_t amount = count;                                                               \
    if (is_file_below(fd)) {                                                             \
        int verdict = boundary(WRITE);                                                   \
        if (verdict < 0)                                                                 \
            return -1;                                                                   \
        if (verdict && count > 1) {                                                      \
            amount = count / 2;                                                          \
            return half_done(result);                                                    \
        }                                                                                \
        if (kind == POWER)                                                               \
            remember(fd, offset, count);                                                 \
    }                                                                                    \
    return result

ssize_t write(int fd, const void *bytes, size_t count)
{
    WRITING(fd, count, lseek(fd, 0, SEEK_CUR), syscall(SYS_write, fd, bytes, amount));
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset)
{
    WRITING(fd, count, offset, syscall(SYS_pwrite64, fd, bytes, amount, offset));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    return pwrite64(fd, bytes, count, offset);
}

ssize_t sendfile64(int out, int in, off_t *offset, size_t count)
{
    WRITING(out, count, lseek(out, 0, SEEK_CUR), syscall(SYS_sendfile, out, in, offset, amount));
}

ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
    return sendfile64(out, in, offset, count);
}

#define SYNCING(fd, number)                                                              \
    if (is_file_below(fd)) {                                                             \
        if (boundary(SYNC) < 0)                                                          \
            return -1;                                                                   \
        forget(fd);                                                                      \
    }                                                                                    \
    return syscall(number, fd)

int fsync(int fd) { SYNCING(fd, SYS_fsync); }

int fdatasync(int fd) { SYNCING(fd, SYS_fdatasync); }

int ftruncate64(int fd, off_t size)
{
    if (is_file_below(fd)) {
        if (boundary(CHANGE) < 0)
            return -1;
        if (kind == POWER)
            remember(fd, size, LONG_MAX);
    }
    return syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

#define CHANGING(inside, call, ...)                                                      \
    if ((inside) && boundary(call) < 0)                                                  \
        return -1;                                                                       \
    return syscall(__VA_ARGS__)

int mkdirat(int at, const char *path, mode_t mode)
{
    CHANGING(is_entry_below(at, path), CREATE, SYS_mkdirat, at, path, mode);
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int at, const char *path, int flags)
{
    CHANGING(is_entry_below(at, path), CHANGE, SYS_unlinkat, at, path, flags);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int renameat(int from, const char *old, int to, const char *new)
{
    CHANGING(is_entry_below(to, new), CHANGE, SYS_renameat2, from, old, to, new, 0);
}

int rename(const char *old, const char *new) { return renameat(AT_FDCWD, old, AT_FDCWD, new); }

/* Opening is a boundary if it creates or truncates a file. */
static int open_at(int at, const char *path, int flags, mode_t mode)
{
    struct stat state;
    int makes = flags & O_CREAT && fstatat(at, path, &state, 0);
    CHANGING((makes || flags & O_TRUNC) && is_entry_below(at, path), CREATE, SYS_openat, at, path,
             flags, mode);
}

#define OPENING(name, at, ...)                                                           \
    int name(__VA_ARGS__, int flags, ...)                                                \
    {                                                                                    \
        va_list more;                                                                    \
        va_start(more, flags);                                                           \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;          \
        va_end(more);                                                                    \
        return open_at(at, path, flags, mode);                                           \
    }

OPENING(open, AT_FDCWD, const char *path)
OPENING(open64, AT_FDCWD, const char *path)
OPENING(openat, at, int at, const char *path)
OPENING(openat64, at, int at, const char *path)
