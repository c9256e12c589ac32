#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "control/config_reader.h"
#include "rt/sys.h"

enum { SECRET_BYTES_MAX = 64 * 1024, VALUE_BYTES_MAX = CONFIG_BYTES_MAX };

/* --- ${VAR} ----------------------------------------------------------------------------------- */

static bool is_variable_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.len > 0 && name.len < 256;
}

/* Adds what stands for "${" `inside` "}". */
static bool add_variable(struct config_reader *reader, struct str inside, struct config_mark mark,
                         struct buf *out)
{
    ptrdiff_t cut = str_find(inside, STR(":-"));
    struct str name = cut < 0 ? inside : str_head(inside, (size_t)cut);
    if (!is_variable_name(name)) {
        config_error(reader->report, mark,
                     "found \"${%.*s}\"; expected ${NAME} or ${NAME:-default}, and $$ for a "
                     "dollar sign",
                     STR_ARG(str_head(name, 40)));
        return false;
    }
    char z[256];
    memcpy(z, name.ptr, name.len);
    z[name.len] = '\0';
    const char *value = getenv(z);
    if (cut >= 0 && (value == NULL || value[0] == '\0')) {
        buf_add_str(out, str_skip(inside, (size_t)cut + 2));
        return true;
    }
    if (value == NULL) {
        config_error(reader->report, mark,
                     "environment variable %s is not set; expected it to be, or a default as in "
                     "${%s:-default}",
                     z, z);
        return false;
    }
    buf_add_str(out, str_c(value));
    return true;
}

static bool expand_into(struct config_reader *reader, struct str text, struct config_mark mark,
                        struct buf *out)
{
    while (text.len > 0) {
        ptrdiff_t dollar = str_index(text, '$');
        size_t plain = dollar < 0 ? text.len : (size_t)dollar;
        buf_add(out, text.ptr, plain);
        text = str_skip(text, plain);
        if (str_starts(text, STR("$$"))) {
            buf_add_char(out, '$');
            text = str_skip(text, 2);
        } else if (str_starts(text, STR("${"))) {
            ptrdiff_t end = str_index(text, '}');
            if (end < 0) {
                config_error(reader->report, mark,
                             "found \"${\" without its \"}\"; expected ${NAME}, and $$ for a "
                             "dollar sign");
                return false;
            }
            if (!add_variable(reader, str_n(text.ptr + 2, (size_t)end - 2), mark, out))
                return false;
            text = str_skip(text, (size_t)end + 1);
        } else if (text.len > 0) {
            buf_add_char(out, '$');
            text = str_skip(text, 1);
        }
    }
    return true;
}

struct str config_expand(struct config_reader *reader, struct str text, struct config_mark mark,
                         bool *is_changed)
{
    *is_changed = reader->expands && str_index(text, '$') >= 0;
    if (!*is_changed)
        return text;
    struct buf out = BUF_INIT;
    out.limit = VALUE_BYTES_MAX;
    struct str result = STR_EMPTY;
    if (expand_into(reader, text, mark, &out)) {
        if (buf_ok(&out))
            result = arena_dup(reader->arena, buf_str(&out));
        if (result.ptr == NULL)
            config_error(reader->report, mark, "out of memory");
    }
    buf_fini(&out);
    return result;
}

/* --- files -------------------------------------------------------------------------------------
 */

struct str config_join_path(struct config_reader *reader, struct str path)
{
    if (str_starts(path, STR("/")) || reader->folder.len == 0)
        return path;
    const struct str parts[] = {reader->folder, path};
    return arena_concat(reader->arena, parts, ARRAY_LEN(parts));
}

void config_note_file(struct config_files *files, const char *path)
{
    if (files == NULL || files->count == CONFIG_FILES_MAX)
        return;
    for (unsigned i = 0; i < files->count; i++) {
        if (strcmp(files->paths[i], path) == 0)
            return;
    }
    files->paths[files->count++] = mem_strdup_or_die(path);
}

void config_files_free(struct config_files *files)
{
    for (unsigned i = 0; i < files->count; i++)
        mem_free(files->paths[i]);
    files->count = 0;
}

/* The whole file into the arena; ptr NULL with errno set. */
static struct str read_secret(int fd, struct arena *arena, bool *is_open_to_all)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return STR_EMPTY;
    if (!S_ISREG(st.st_mode) || st.st_size > SECRET_BYTES_MAX) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : S_ISREG(st.st_mode) ? EFBIG : EINVAL;
        return STR_EMPTY;
    }
    *is_open_to_all = (st.st_mode & S_IROTH) != 0;
    size_t len = 0, size = (size_t)st.st_size;
    char *content = arena_alloc(arena, size);
    errno = ENOMEM;
    while (content != NULL && len < size) {
        ssize_t n = sys_read(fd, content + len, size - len);
        if (n < 0)
            return STR_EMPTY;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return str_n(content, len);
}

struct str config_read_secret_file(struct config_reader *reader, const struct config_node *node)
{
    const struct config_node *file = config_node_get(node, STR("file"));
    if (file == NULL || node->count != 1 || file->kind != NODE_SCALAR || file->text.len == 0) {
        config_error(reader->report, node->mark,
                     "found a mapping; expected the secret itself, or {file: PATH} and nothing "
                     "else");
        return STR_EMPTY;
    }
    bool is_changed;
    struct str path = config_expand(reader, file->text, file->mark, &is_changed);
    if (path.ptr == NULL)
        return STR_EMPTY;
    path = config_join_path(reader, path);
    const char *z = path.ptr != NULL ? arena_cstr(reader->arena, path) : NULL;
    if (z == NULL) {
        config_error(reader->report, file->mark, "out of memory");
        return STR_EMPTY;
    }
    config_note_file(reader->files, z);
    bool is_open_to_all = false;
    int fd = sys_open(z, O_RDONLY | O_NONBLOCK, 0);
    struct str content = fd >= 0 ? read_secret(fd, reader->arena, &is_open_to_all) : STR_EMPTY;
    int failure = errno;
    if (fd >= 0)
        sys_close(fd);
    if (content.ptr == NULL) {
        config_error(reader->report, file->mark, "cannot read %s: %s", z,
                     failure == EINVAL ? "it is not a regular file" : strerror(failure));
        return STR_EMPTY;
    }
    if (is_open_to_all)
        config_warning(reader->report, file->mark,
                       "%s can be read by every user of this machine; chmod o-r it", z);
    while (str_ends(content, STR("\n")) || str_ends(content, STR("\r")))
        content.len--;
    return content;
}
