#include "control/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "rt/sys.h"

/* Longer paths are told as such: nobody keeps a program or a pid file there. */
enum { PATH_BYTES = 1024 };

static char program[PATH_BYTES] = "/proc/self/exe";

/* --- program -----------------------------------------------------------------------------------
 */

static bool is_this_program(const char *path)
{
    struct stat there, self;
    return stat(path, &there) == 0 && stat("/proc/self/exe", &self) == 0 &&
           there.st_dev == self.st_dev && there.st_ino == self.st_ino;
}

/* Looks argv[0] up as execvp did. */
static bool find_in_path(const char *name, char out[PATH_BYTES])
{
    struct str path = str_c(getenv("PATH")), folder;
    while (str_next(&path, ':', &folder)) {
        int n =
            snprintf(out, PATH_BYTES, "%.*s/%s", STR_ARG(folder.len > 0 ? folder : STR(".")), name);
        if (n > 0 && n < PATH_BYTES && is_this_program(out))
            return true;
    }
    return false;
}

void process_remember_program(const char *argv0)
{
    char found[PATH_BYTES], here[PATH_BYTES / 2];
    if (strchr(argv0, '/') == NULL) {
        if (!find_in_path(argv0, found))
            return;
    } else if (snprintf(found, sizeof(found), "%s", argv0) >= (int)sizeof(found)) {
        return;
    }
    char absolute[PATH_BYTES];
    bool is_absolute = found[0] == '/';
    if (!is_absolute && getcwd(here, sizeof(here)) == NULL)
        return;
    int n = is_absolute ? snprintf(absolute, sizeof(absolute), "%s", found)
                        : snprintf(absolute, sizeof(absolute), "%s/%s", here, found);
    if (n > 0 && n < (int)sizeof(absolute) && is_this_program(absolute))
        memcpy(program, absolute, (size_t)n + 1);
}

const char *process_program(void)
{
    return program;
}

/* --- limits ------------------------------------------------------------------------------------
 */

void process_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_event(LOG_WARN, "process", "cannot raise the limit of open files: %s", strerror(errno));
}

/* LeakSanitizer looks into this process with ptrace. */
#if defined(__SANITIZE_ADDRESS__)
#define IS_INSPECTED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_INSPECTED true
#endif
#endif
#ifndef IS_INSPECTED
#define IS_INSPECTED false
#endif

void process_forbid_dumps(void)
{
    const char *allowed = getenv("WEIR_ALLOW_CORE");
    if (IS_INSPECTED || (allowed != NULL && strcmp(allowed, "1") == 0))
        return;
    const struct rlimit none = {0, 0};
    bool is_limited = setrlimit(RLIMIT_CORE, &none) == 0;
    /* The one that counts: it also keeps others from reading this process's memory. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || !is_limited)
        log_event(LOG_WARN, "process", "cannot switch core dumps off: %s", strerror(errno));
}

/* --- processors --------------------------------------------------------------------------------
 */

/* Reads a small file; false when it cannot be. */
static bool read_text(const char *path, char *out, size_t cap)
{
    int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return false;
    ssize_t n = sys_read(fd, out, cap - 1);
    sys_close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static struct str first_line(const char *text)
{
    struct str rest = str_c(text), line;
    str_cut(&rest, '\n', &line);
    return line;
}

unsigned process_quota(struct str quota, struct str period)
{
    uint64_t q, p;
    if (!str_to_u64(str_trim(quota), &q) || !str_to_u64(str_trim(period), &p) || p == 0)
        return 0;
    return (unsigned)MIN((q + p - 1) / p, UINT_MAX);
}

static unsigned lower_of(unsigned a, unsigned b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The quota of one group of the unified hierarchy (cgroup v2); 0 = none. */
static unsigned quota_of_group(struct str group)
{
    char path[PATH_BYTES], line[128];
    snprintf(path, sizeof(path), "/sys/fs/cgroup%.*s/cpu.max", STR_ARG(group));
    if (!read_text(path, line, sizeof(line)))
        return 0;
    struct str period = first_line(line), quota;
    str_cut(&period, ' ', &quota);
    return process_quota(quota, period);
}

/* Each group above may hold its own quota: the lowest counts. */
static unsigned quota_v2(void)
{
    char text[PATH_BYTES];
    if (!read_text("/proc/self/cgroup", text, sizeof(text)))
        return 0;
    struct str rest = str_c(text), line;
    unsigned quota = 0;
    while (str_next(&rest, '\n', &line)) {
        if (!str_starts(line, STR("0::/")))
            continue;
        struct str group = str_skip(line, 3);
        for (ptrdiff_t slash; (slash = str_rindex(group, '/')) > 0;
             group = str_head(group, (size_t)slash))
            quota = lower_of(quota, quota_of_group(group));
    }
    return lower_of(quota, quota_of_group(STR_EMPTY));
}

static unsigned quota_v1(void)
{
    char quota[64], period[64];
    if (!read_text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !read_text("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof(period)))
        return 0;
    return process_quota(first_line(quota), first_line(period));
}

unsigned process_processors(void)
{
    cpu_set_t mask;
    int count = sched_getaffinity(0, sizeof(mask), &mask) == 0 ? CPU_COUNT(&mask) : 1;
    unsigned quota = lower_of(quota_v2(), quota_v1());
    return lower_of((unsigned)MAX(count, 1), quota);
}

/* --- pid file ----------------------------------------------------------------------------------
 */

int process_pid_file_write(const char *path)
{
    char temporary[PATH_BYTES], text[32];
    int n = snprintf(temporary, sizeof(temporary), "%s.%d", path, (int)getpid());
    if (n < 0 || n >= (int)sizeof(temporary))
        return err_set(ERR_INVALID, FAULT_GATEWAY, "the path of the pid file is too long");
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    int fd = sys_open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
    bool is_written = fd >= 0 && sys_write(fd, text, (size_t)len) == len;
    if (fd >= 0)
        sys_close(fd);
    if (is_written && rename(temporary, path) == 0)
        return 0;
    int saved = errno;
    unlink(temporary);
    return err_set(ERR_IO, FAULT_GATEWAY, "cannot write the pid file %s: %s", path,
                   strerror(saved));
}

pid_t process_pid_file_read(const char *path)
{
    char text[32];
    uint64_t pid;
    if (!read_text(path, text, sizeof(text)))
        return 0;
    return str_to_u64(first_line(text), &pid) && pid <= INT_MAX ? (pid_t)pid : 0;
}

void process_pid_file_remove(const char *path)
{
    if (process_pid_file_read(path) == getpid())
        unlink(path);
}
