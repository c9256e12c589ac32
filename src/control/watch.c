#include "control/watch.h"

#include <errno.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "rt/sys.h"

/* What tells that a file is not the one that was read, or has been written since. */
struct identity {
    bool is_there;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec written;
};

struct watched {
    char *path;
    struct identity identity;
};

/* A file's own folder, and the one that it is in once links are followed. */
enum { FOLDERS_MAX = 2 * CONFIG_FILES_MAX, PATH_BYTES = 1024 };

struct watch {
    int fd;
    struct watched files[CONFIG_FILES_MAX];
    unsigned count;
    struct folder {
        int wd;
        char *path;
    } folders[FOLDERS_MAX];
    unsigned folder_count;
};

struct watch *watch_new(void)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    struct watch *watch = fd >= 0 ? MEM_NEW(struct watch) : NULL;
    if (watch == NULL) {
        err_set_errno(ERR_IO, FAULT_GATEWAY, "inotify");
        if (fd >= 0)
            sys_close(fd);
        return NULL;
    }
    watch->fd = fd;
    return watch;
}

static void forget_files(struct watched *files, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        mem_free(files[i].path);
}

static void forget_folders(struct watch *watch)
{
    for (unsigned i = 0; i < watch->folder_count; i++) {
        inotify_rm_watch(watch->fd, watch->folders[i].wd);
        mem_free(watch->folders[i].path);
    }
    watch->folder_count = 0;
}

void watch_free(struct watch *watch)
{
    if (watch == NULL)
        return;
    forget_files(watch->files, watch->count);
    forget_folders(watch);
    sys_close(watch->fd);
    mem_free(watch);
}

int watch_fd(const struct watch *watch)
{
    return watch->fd;
}

static struct identity identify(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return (struct identity){.is_there = false};
    return (struct identity){true, st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

static bool same_identity(const struct identity *a, const struct identity *b)
{
    return a->is_there == b->is_there && a->dev == b->dev && a->ino == b->ino &&
           a->size == b->size && a->written.tv_sec == b->written.tv_sec &&
           a->written.tv_nsec == b->written.tv_nsec;
}

/* A file that is being written is not looked at before it is closed: half of one may be valid. */
static int watch_folder(struct watch *watch, const char *file)
{
    char folder[PATH_BYTES];
    const char *slash = strrchr(file, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - file);
    if (len >= sizeof(folder))
        return err_set(ERR_INVALID, FAULT_GATEWAY, "a path is too long to watch");
    memcpy(folder, file, len);
    folder[len] = '\0';
    const char *path = slash == NULL ? "." : slash == file ? "/" : folder;
    int wd =
        inotify_add_watch(watch->fd, path, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
    if (wd < 0)
        return err_set(ERR_IO, FAULT_GATEWAY, "cannot watch %s: %s", path, strerror(errno));
    for (unsigned i = 0; i < watch->folder_count; i++) {
        if (watch->folders[i].wd == wd)
            return 0;
    }
    if (watch->folder_count < FOLDERS_MAX)
        watch->folders[watch->folder_count++] =
            (struct folder){.wd = wd, .path = mem_strdup_or_die(path)};
    return 0;
}

static int watch_folders_of(struct watch *watch, const char *path)
{
    int r = watch_folder(watch, path);
    char *real = realpath(path, NULL);
    if (r == 0 && real != NULL)
        r = watch_folder(watch, real);
    free(real);
    return r;
}

static struct identity remembered(const struct watched *files, unsigned count, const char *path)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(files[i].path, path) == 0)
            return files[i].identity;
    }
    return identify(path);
}

int watch_set(struct watch *watch, const struct config_files *files)
{
    struct watched before[CONFIG_FILES_MAX];
    unsigned before_count = watch->count;
    int result = 0;
    memcpy(before, watch->files, sizeof(before));
    forget_folders(watch);
    watch->count = 0;
    for (unsigned i = 0; i < files->count; i++) {
        struct watched *file = &watch->files[watch->count++];
        file->path = mem_strdup_or_die(files->paths[i]);
        result = MIN(result, watch_folders_of(watch, file->path));
        file->identity = remembered(before, before_count, file->path);
    }
    forget_files(before, before_count);
    return result;
}

void watch_remember(struct watch *watch)
{
    for (unsigned i = 0; i < watch->count; i++)
        watch->files[i].identity = identify(watch->files[i].path);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* A file of ours, or a link that may stand on the way to one. */
static bool concerns_us(const struct watch *watch, const struct inotify_event *event)
{
    if (event->len == 0)
        return false;
    for (unsigned i = 0; i < watch->count; i++) {
        bool is_file = strcmp(base_name(watch->files[i].path), event->name) == 0;
        if (is_file && (event->mask & IN_CREATE) == 0)
            return true;
    }
    for (unsigned i = 0; i < watch->folder_count; i++) {
        char path[PATH_BYTES];
        struct stat st;
        if (watch->folders[i].wd != event->wd)
            continue;
        int n = snprintf(path, sizeof(path), "%s/%s", watch->folders[i].path, event->name);
        return n > 0 && n < (int)sizeof(path) && lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
    }
    return false;
}

bool watch_take_events(struct watch *watch)
{
    _Alignas(struct inotify_event) char events[2048];
    bool is_ours = false;
    for (ssize_t n; (n = sys_read(watch->fd, events, sizeof(events))) > 0;) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(events + at);
            is_ours |= (event->mask & IN_Q_OVERFLOW) != 0 || concerns_us(watch, event);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    return is_ours;
}

enum watch_state watch_compare(const struct watch *watch)
{
    enum watch_state state = WATCH_SAME;
    for (unsigned i = 0; i < watch->count; i++) {
        struct identity now = identify(watch->files[i].path);
        if (i == 0 && !now.is_there)
            return WATCH_GONE;
        if (!same_identity(&now, &watch->files[i].identity))
            state = WATCH_CHANGED;
    }
    return state;
}
