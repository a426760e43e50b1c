// Syncs fail with EIO while the file that SYNC_FAULT names is there: a disk that is about to go.
// Loaded before libc (LD_PRELOAD), so the broker under test is the one that people run.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
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

int sync_file_range(int fd, off_t offset, off_t bytes, unsigned int flags) {
    int (*real)(int, off_t, off_t, unsigned int) =
        (int (*)(int, off_t, off_t, unsigned int))dlsym(RTLD_NEXT, "sync_file_range");
    return fails() ? -1 : real(fd, offset, bytes, flags);
}
