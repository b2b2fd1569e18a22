/* A disk that fails: preloaded, it makes chosen writes of a process fail, or write half.

   FAULT_PATH   a part of the path of the files that are meant
   FAULT_CALL   write, sync, truncate
   FAULT_HOW    EIO, ENOSPC; half: a write that really writes half of its bytes;
                stop: the process stops (SIGSTOP) before the call, and does it when it goes on
   FAULT_FROM   the first call of such a file that is hit, from 1
   FAULT_TIMES  how many are hit
   FAULT_WHILE  they are hit only while this file exists
   FAULT_LOG    a line is added here at every hit */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long seen;

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static int hit(const char *call, int fd) {
    char link[64], path[4096];
    if (strcmp(setting("FAULT_CALL"), call)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, setting("FAULT_PATH"))) return 0;
    if (*setting("FAULT_WHILE") && access(setting("FAULT_WHILE"), F_OK)) return 0;
    long number = atomic_fetch_add(&seen, 1) + 1, from = atol(setting("FAULT_FROM"));
    if (number < from || number >= from + atol(setting("FAULT_TIMES"))) return 0;
    FILE *log = fopen(setting("FAULT_LOG"), "a");
    if (log) {
        fprintf(log, "%s %s\n", call, path);
        fclose(log);
    }
    if (!strcmp(setting("FAULT_HOW"), "stop")) {
        raise(SIGSTOP); /* this thread goes no further */
        return 0;
    }
    return 1;
}

static int refuse(void) {
    errno = strcmp(setting("FAULT_HOW"), "ENOSPC") ? EIO : ENOSPC;
    return -1;
}

static int half(void) { return !strcmp(setting("FAULT_HOW"), "half"); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t count) {
    if (count && hit("write", fd)) {
        if (!half()) return refuse();
        count = (count + 1) / 2;
    }
    return REAL(write)(fd, data, count);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
    if (count && hit("write", fd)) {
        if (!half()) return refuse();
        count = (count + 1) / 2;
    }
    return REAL(pwrite)(fd, data, count, at);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
    if (count && hit("write", fd)) {
        if (!half()) return refuse();
        count = (count + 1) / 2;
    }
    return REAL(pwrite64)(fd, data, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (count && hit("write", fd)) {
        if (!half()) return refuse();
        return write(fd, parts[0].iov_base, parts[0].iov_len);
    }
    return REAL(writev)(fd, parts, count);
}

int fsync(int fd) { return hit("sync", fd) ? refuse() : REAL(fsync)(fd); }

int fdatasync(int fd) { return hit("sync", fd) ? refuse() : REAL(fdatasync)(fd); }

int ftruncate(int fd, off_t size) { return hit("truncate", fd) ? refuse() : REAL(ftruncate)(fd, size); }

int ftruncate64(int fd, off64_t size) {
    return hit("truncate", fd) ? refuse() : REAL(ftruncate64)(fd, size);
}
