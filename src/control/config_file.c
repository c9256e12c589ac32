#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "control/config_reader.h"
#include "rt/sys.h"

static const struct config_options no_options;

struct settings *config_settings_new(struct config_report *report, struct str source)
{
    struct arena *arena = arena_new(4096);
    struct settings *settings = arena != NULL ? ARENA_NEW(arena, struct settings) : NULL;
    if (settings == NULL) {
        arena_free(arena);
        config_error(report, CONFIG_NOWHERE, "out of memory");
        return NULL;
    }
    settings->arena = arena;
    settings->limits = http_limits_default;
    settings->source = arena_dup(arena, source);
    config_set_defaults(&config_root, settings, arena);
    return settings;
}

struct settings *config_read_text(struct str text, const char *path,
                                  const struct config_options *options,
                                  struct config_report *report, struct config_files *files)
{
    struct settings *settings = config_settings_new(report, str_c(path));
    if (settings == NULL)
        return NULL;
    struct str whole = str_c(path);
    struct config_reader reader = {
        .arena = settings->arena,
        .report = report,
        .files = files,
        .folder = str_head(whole, (size_t)(str_rindex(whole, '/') + 1)),
        .expands = true,
        .settings = settings,
    };
    const struct config_node *root = config_node_parse(report->arena, text, report);
    if (root != NULL && config_load_catalogue(&reader)) {
        config_read_section(&reader, &config_root, root, settings);
        if (root->kind == NODE_MAP)
            config_finish(&reader, root, options != NULL ? options : &no_options, settings);
    }
    if (report->errors == 0)
        return settings;
    settings_free(settings);
    return NULL;
}

/* 0, or an errno. */
static int read_whole(int fd, struct buf *out)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return errno;
    if (S_ISDIR(st.st_mode))
        return EISDIR;
    out->limit = CONFIG_BYTES_MAX + 4096;
    while (out->len <= CONFIG_BYTES_MAX) {
        if (!buf_reserve(out, 4096))
            return ENOMEM;
        ssize_t n = sys_read(fd, out->ptr + out->len, out->cap - out->len);
        if (n < 0)
            return errno;
        if (n == 0)
            return 0;
        out->len += (size_t)n;
    }
    return EFBIG;
}

struct settings *config_read_file(const char *path, const struct config_options *options,
                                  struct config_report *report, struct config_files *files)
{
    struct buf text = BUF_INIT;
    config_note_file(files, path);
    int fd = sys_open(path, O_RDONLY, 0);
    int failure = fd < 0 ? errno : read_whole(fd, &text);
    if (fd >= 0)
        sys_close(fd);
    struct settings *settings = NULL;
    if (failure == EFBIG)
        config_error(report, CONFIG_NOWHERE, "larger than %d MiB", CONFIG_BYTES_MAX >> 20);
    else if (failure != 0)
        config_error(report, CONFIG_NOWHERE, "cannot be read: %s", strerror(failure));
    else
        settings = config_read_text(buf_str(&text), path, options, report, files);
    buf_fini(&text);
    return settings;
}
