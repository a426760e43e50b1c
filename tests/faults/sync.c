// Syncs fail with EIO while the file that SYNC_FAULT names is there: a disk that is about to go. So do
// writes that return when they are on disk.
// Loaded before libc (LD_PRELOAD), so the broker under test is the one that people run.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void) {
    const char *marker = getenv("SYNC_FAULT");
    if (marker == NULL || access(marker, F_OK) != 0) {
        return 0;
    }
    errno = EIO;
    return 1;
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails() ? -1 : real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails() ? -1 : real(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    int flags = fcntl(fd, F_GETFL);
    return flags != -1 && (flags & O_DSYNC) && fails() ? -1 : real(fd, bytes, length, offset);
}

int sync_file_range(int fd, off_t offset, off_t bytes, unsigned int flags) {
    int (*real)(int, off_t, off_t, unsigned int) =
        (int (*)(int, off_t, off_t, unsigned int))dlsym(RTLD_NEXT, "sync_file_range");
    return fails() ? -1 : real(fd, offset, bytes, flags);
}
