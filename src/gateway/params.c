#include "gateway/params.h"

#include "base/err.h"
#include "base/json.h"

/* A name in its keys: "generationConfig.temperature". */
struct param_path {
    struct str keys[JSON_PATH_MAX];
    unsigned count;
};

static int read_path(struct str name, struct param_path *path)
{
    *path = (struct param_path){.count = 0};
    for (bool has_more = true; has_more; path->count++) {
        if (path->count == JSON_PATH_MAX)
            return err_set(ERR_INVALID, FAULT_GATEWAY, "'%.*s' has more than %d parts",
                           STR_ARG(name), JSON_PATH_MAX);
        has_more = str_cut(&name, '.', &path->keys[path->count]);
    }
    return 0;
}

/* The value in the objects that do not exist yet: {"a":{"b":value}} without the outermost. */
static struct str wrapped(struct arena *arena, const struct param_path *path, unsigned from,
                          struct str value)
{
    for (unsigned i = path->count; i-- > from;) {
        struct buf text = BUF_INIT;
        BUF_LIT(&text, "{");
        buf_add_json(&text, path->keys[i]);
        BUF_LIT(&text, ":");
        buf_add_str(&text, value);
        BUF_LIT(&text, "}");
        value = buf_ok(&text) ? arena_dup(arena, buf_str(&text)) : STR_EMPTY;
        buf_fini(&text);
        if (value.ptr == NULL)
            return value;
    }
    return value;
}

static bool is_empty_object(struct str text)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    json_cursor_init(&cursor, text);
    return json_iter_object(&cursor, &key, &value) == 0;
}

/* Where each prefix of the path leads: wants[i] is the path's first i + 1 keys. */
static int find(const struct param_path *path, struct str body, unsigned max_depth,
                struct json_scan *scan)
{
    struct json_want wants[JSON_PATH_MAX] = {0};
    for (unsigned i = 0; i < path->count; i++)
        memcpy(wants[i].path, path->keys, (i + 1) * sizeof(path->keys[0]));
    return json_scan_object(body, max_depth, wants, path->count, scan);
}

static int make_edit(const struct param_path *path, const struct json_scan *scan, struct str body,
                     struct arena *arena, struct str value, struct json_edit *edit)
{
    unsigned depth = 0; /* so many keys lead somewhere */
    while (depth < path->count && scan->found[depth].kind != JSON_NONE)
        depth++;
    if (depth == path->count) {
        *edit = json_edit_replace(scan->found[depth - 1].value, value);
        return 0;
    }
    struct json_span object = depth == 0 ? scan->object : scan->found[depth - 1].value;
    value = wrapped(arena, path, depth + 1, value);
    if (value.ptr == NULL)
        return -ERR_NOMEM;
    if (depth > 0 && scan->found[depth - 1].kind == JSON_NULL) {
        *edit = json_edit_replace(object, wrapped(arena, path, depth, value));
        return edit->insert.ptr != NULL ? 0 : -ERR_NOMEM;
    }
    if (depth > 0 && scan->found[depth - 1].kind != JSON_OBJECT)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "'%.*s' of the request is no object",
                       STR_ARG(path->keys[depth - 1]));
    bool is_empty = depth == 0 ? scan->is_empty : is_empty_object(json_span_str(body, object));
    *edit = json_edit_add(arena, object, is_empty, path->keys[depth], value);
    return edit->insert.ptr != NULL ? 0 : -ERR_NOMEM;
}

/* One member; the result replaces *body, which lives in the arena from then on. */
static int set(const struct route_param *param, bool is_default, struct str *body,
               unsigned max_depth, struct arena *arena)
{
    struct param_path path;
    struct json_scan scan = {0};
    struct json_edit edit;
    struct iovec parts[3];
    struct str pieces[3];
    int r = read_path(param->name, &path);
    if (r == 0)
        r = find(&path, *body, max_depth, &scan);
    if (r < 0)
        return r;
    enum json_kind kind = scan.found[path.count - 1].kind;
    if (is_default && kind != JSON_NONE && kind != JSON_NULL)
        return 0;
    r = make_edit(&path, &scan, *body, arena, param->json, &edit);
    if (r < 0)
        return r;
    int count = json_splice_iov(*body, &edit, 1, parts, ARRAY_LEN(parts));
    if (count < 0)
        return count;
    for (int i = 0; i < count; i++)
        pieces[i] = str_n(parts[i].iov_base, parts[i].iov_len);
    *body = arena_concat(arena, pieces, (size_t)count);
    return body->ptr != NULL ? 0 : -ERR_NOMEM;
}

bool params_are_there(const struct plan_step *step)
{
    for (unsigned i = 0; step != NULL && i < step->via_count; i++) {
        const struct route_target *target = step->via[i].target;
        if (target->override_count + target->default_count > 0)
            return true;
    }
    return false;
}

int params_apply(const struct plan_step *step, struct str body, unsigned max_depth,
                 struct arena *arena, struct buf *out)
{
    int r = 0;
    for (unsigned v = step->via_count; r == 0 && v-- > 0;) {
        const struct route_target *target = step->via[v].target;
        for (unsigned i = 0; r == 0 && i < target->override_count; i++)
            r = set(&target->overrides[i], false, &body, max_depth, arena);
    }
    for (unsigned v = step->via_count; r == 0 && v-- > 0;) {
        const struct route_target *target = step->via[v].target;
        for (unsigned i = 0; r == 0 && i < target->default_count; i++)
            r = set(&target->defaults[i], true, &body, max_depth, arena);
    }
    if (r == 0)
        buf_add_str(out, body);
    return r < 0 || buf_ok(out) ? r : -ERR_NOMEM;
}
