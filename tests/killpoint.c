/* Ends a process at the n-th call that changes what will be on the disk, before the call happens.
 *
 * Loaded with LD_PRELOAD. strace could inject the signal, but it counts "per syscall and per
 * tracee": the n-th fsync of one thread. This counts all these calls of all threads together.
 *
 * SQLite's -shm is left out: it is memory that happens to have a name, rebuilt by who opens it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long left;
static int told = -1;

/* From now on tell every call to `fd`, and end the process at call `n`; at none where n is 0. */
void killpoint_arm(long n, int fd)
{
    left = n;
    told = fd;
}

static void point(const char *call, const char *path)
{
    size_t length = strlen(path);
    if (told < 0 || (length >= 4 && strcmp(path + length - 4, "-shm") == 0))
        return;
    dprintf(told, "%s %s\n", call, path);
    if (atomic_fetch_sub(&left, 1) == 1)
        for (;;)
            kill(getpid(), SIGKILL);
}

static void point_of(const char *call, int fd)
{
    char link[32], path[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) < 0)
        *path = 0;
    point(call, path);
}

#define REAL(name, declared) static int(*real) declared; if (!real) real = dlsym(RTLD_NEXT, #name)
#define CALL(name, declared, passed, point) int name declared { REAL(name, declared); point; return real passed; }

CALL(fsync, (int fd), (fd), point_of("fsync", fd))
CALL(fdatasync, (int fd), (fd), point_of("fdatasync", fd))
CALL(ftruncate, (int fd, off_t size), (fd, size), point_of("ftruncate", fd))
CALL(ftruncate64, (int fd, off64_t size), (fd, size), point_of("ftruncate", fd))
CALL(rename, (const char *from, const char *to), (from, to), point("rename", to))
CALL(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), point("rename", to))
CALL(renameat2, (int a, const char *from, int b, const char *to, unsigned int flags), (a, from, b, to, flags), point("rename", to))
CALL(link, (const char *from, const char *to), (from, to), point("link", to))
CALL(linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), point("link", to))
CALL(unlink, (const char *path), (path), point("unlink", path))
CALL(unlinkat, (int at, const char *path, int flags), (at, path, flags), point("unlink", path))
CALL(rmdir, (const char *path), (path), point("rmdir", path))
CALL(mkdir, (const char *path, mode_t mode), (path, mode), point("mkdir", path))
CALL(mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), point("mkdir", path))

/* A file that comes into being is a point behind the call: it is there, and empty. */
#define OPEN(name, declared, passed, at)                                                  \
    int name declared                                                                     \
    {                                                                                     \
        REAL(name, declared);                                                             \
        mode_t mode = 0;                                                                  \
        int fresh = 0;                                                                    \
        if (flags & O_CREAT) {                                                            \
            va_list more;                                                                 \
            va_start(more, flags);                                                        \
            mode = va_arg(more, mode_t);                                                  \
            va_end(more);                                                                 \
            fresh = faccessat(at, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0;                  \
        }                                                                                 \
        int fd = real passed;                                                             \
        if (fresh && fd >= 0)                                                             \
            point("create", path);                                                        \
        return fd;                                                                        \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)
OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)
