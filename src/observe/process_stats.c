#include "observe/process_stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "rt/sys.h"

/* proc_pid_stat(5): fields are counted from the state, which follows the name in brackets. */
enum { FIELD_THREADS = 17, FIELD_VSIZE = 20, FIELD_RSS = 21 };

static struct str read_text(const char *path, char *bytes, size_t cap)
{
    int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return STR_EMPTY;
    ssize_t n = sys_read(fd, bytes, cap);
    sys_close(fd);
    return str_n(bytes, n > 0 ? (size_t)n : 0);
}

static void read_stat(struct process_stats *stats)
{
    char bytes[1024];
    struct str rest = read_text("/proc/self/stat", bytes, sizeof(bytes));
    /* The name may hold anything, also brackets and spaces. */
    ptrdiff_t end = str_rindex(rest, ')');
    if (end < 0)
        return;
    rest = str_skip(rest, (size_t)end + 2);
    struct str field;
    for (unsigned i = 0; i <= FIELD_RSS && str_next(&rest, ' ', &field); i++) {
        uint64_t value;
        if (!str_to_u64(field, &value))
            continue;
        if (i == FIELD_THREADS)
            stats->threads = (int64_t)value;
        else if (i == FIELD_VSIZE)
            stats->virtual_bytes = (int64_t)value;
        else if (i == FIELD_RSS)
            stats->resident_bytes = (int64_t)value * sysconf(_SC_PAGESIZE);
    }
}

static int64_t count_fds(void)
{
    /* Since Linux 6.2 the size of the folder is their number; before it is 0. */
    struct stat status;
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
        return status.st_size;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return -1;
    int64_t count = -1; /* the folder's own descriptor */
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

void process_stats_read(struct process_stats *stats)
{
    *stats = (struct process_stats){-1, -1, -1, -1, -1, -1};
    read_stat(stats);
    struct timespec cpu;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
        stats->cpu_ns = (int64_t)cpu.tv_sec * NS_PER_SEC + cpu.tv_nsec;
    stats->open_fds = count_fds();
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        stats->max_fds = (int64_t)limit.rlim_cur;
}
