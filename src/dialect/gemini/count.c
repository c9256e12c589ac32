#include "dialect/gemini/count.h"

#include "base/err.h"
#include "dialect/gemini/member.h"
#include "dialect/gemini/request.h"

int gemini_read_count_request(struct str body, struct arena *arena, struct llm_request *request)
{
    struct json_value inner;
    if (!gemini_find(body, "generateContentRequest", &inner))
        return gemini_read_request(body, arena, request);
    if (inner.kind != JSON_OBJECT)
        return err_set(ERR_INVALID, FAULT_CLIENT, "'generateContentRequest' must be an object");
    return gemini_read_request(inner.text, arena, request);
}

/* True when contents are the only member of {members}. */
static bool is_contents_only(struct str object)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    json_cursor_init(&cursor, object);
    while (gemini_next(&cursor, &key, &value)) {
        if (!gemini_is(key, "contents"))
            return false;
    }
    return true;
}

static bool is_vertex(const struct llm_target *target)
{
    return target->variant == VARIANT_VERTEX ||
           (str_index(target->model, '/') >= 0 && !str_starts(target->model, STR("models/")) &&
            !str_starts(target->model, STR("tunedModels/")));
}

int gemini_write_count_request(struct llm_request *request, const struct llm_target *target,
                               struct arena *arena, struct llm_notes *notes, struct buf *out)
{
    struct buf members = BUF_INIT;
    BUF_LIT(&members, "{");
    int error = gemini_write_members(request, target, arena, notes, true, &members);
    BUF_LIT(&members, "}");
    if (error == 0 && !buf_ok(&members))
        error = err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
    if (error == 0) {
        struct str object = buf_str(&members);
        if (is_contents_only(object) || is_vertex(target)) {
            buf_add_str(out, object);
        } else {
            bool is_path = str_index(target->model, '/') >= 0;
            struct str parts[] = {is_path ? STR_EMPTY : STR("models/"), target->model};
            BUF_LIT(out, "{\"generateContentRequest\":{\"model\":");
            buf_add_json(out, arena_concat(arena, parts, ARRAY_LEN(parts)));
            BUF_LIT(out, ",");
            buf_add_str(out, str_skip(object, 1));
            BUF_LIT(out, "}");
        }
    }
    buf_fini(&members);
    return error;
}

int gemini_read_count(struct str body, int64_t *tokens)
{
    struct json_value value;
    int64_t count = gemini_find(body, "totalTokens", &value) ? gemini_count(value) : -1;
    if (count < 0)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the answer has no totalTokens");
    *tokens = count;
    return 0;
}
