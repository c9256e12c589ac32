#include "dialect/openai_responses/state.h"

#include "base/err.h"
#include "base/json.h"

enum { WANT_INPUT, WANT_PREVIOUS, WANT_COUNT };

static const struct json_want wants[WANT_COUNT] = {
    [WANT_INPUT] = {{STR_INIT("input")}},
    [WANT_PREVIOUS] = {{STR_INIT("previous_response_id")}},
};

/* Adds the elements of an array, after a comma where something stands before them. */
static int add_elements(struct str array, bool *has_any, struct buf *out)
{
    struct json_cursor cursor;
    struct json_value value;
    int more;
    json_cursor_init(&cursor, array);
    while ((more = json_iter_array(&cursor, &value)) == 1) {
        if (*has_any)
            buf_add_char(out, ',');
        *has_any = true;
        buf_add_str(out, value.text);
    }
    return more;
}

/* An input as elements of an array: a string is a message of the user. */
static int add_input(struct str text, enum json_kind kind, bool *has_any, struct buf *out)
{
    switch (kind) {
    case JSON_NONE:
    case JSON_NULL:
        return 0;
    case JSON_ARRAY:
        return add_elements(text, has_any, out);
    case JSON_STRING:
        if (*has_any)
            buf_add_char(out, ',');
        *has_any = true;
        BUF_LIT(out, "{\"role\":\"user\",\"content\":");
        buf_add_str(out, text);
        buf_add_char(out, '}');
        return 0;
    default:
        return err_set(ERR_INVALID, FAULT_CLIENT, "'input' must be a string or an array of items");
    }
}

static struct str found_text(struct str body, const struct json_found *found)
{
    return found->kind == JSON_NONE ? STR_EMPTY : json_span_str(body, found->value);
}

static int splice(struct str body, const struct json_edit *edits, unsigned count, struct buf *out)
{
    struct iovec parts[2 * WANT_COUNT + 1];
    int n = json_splice_iov(body, edits, count, parts, ARRAY_LEN(parts));
    for (int i = 0; i < n; i++)
        buf_add(out, parts[i].iov_base, parts[i].iov_len);
    return n < 0 ? n : 0;
}

int openai_responses_expand(struct str stored_items, struct str body, struct arena *arena,
                            struct buf *out)
{
    struct json_edit edits[WANT_COUNT];
    struct json_scan scan;
    struct buf input = BUF_INIT;
    bool has_any = false;
    unsigned count = 0;
    int r = json_scan_object(body, JSON_DEPTH_MAX, wants, WANT_COUNT, &scan);
    if (r < 0)
        return r;
    const struct json_found *found = &scan.found[WANT_INPUT];
    const struct json_found *previous = &scan.found[WANT_PREVIOUS];
    buf_add_char(&input, '[');
    r = add_elements(stored_items, &has_any, &input);
    if (r == 0)
        r = add_input(found_text(body, found), found->kind, &has_any, &input);
    buf_add_char(&input, ']');
    struct str items = buf_ok(&input) ? arena_dup(arena, buf_str(&input)) : STR_EMPTY;
    buf_fini(&input);
    if (r < 0)
        return r;
    if (items.ptr == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
    if (found->kind != JSON_NONE) {
        edits[count++] = json_edit_replace(found->value, items);
        if (previous->kind != JSON_NONE)
            edits[count++] = json_edit_remove(body, previous);
    } else if (previous->kind != JSON_NONE) {
        /* Its place is taken: there may be no other member to stand beside. */
        edits[count++] = json_edit_replace(previous->key, STR("\"input\""));
        edits[count++] = json_edit_replace(previous->value, items);
    } else {
        edits[count++] = json_edit_add(arena, scan.object, scan.is_empty, STR("input"), items);
    }
    r = splice(body, edits, count, out);
    return r < 0 ? r : buf_ok(out) ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
}

int openai_responses_items_of(struct str request_body, struct str response_json, struct buf *out)
{
    static const struct json_want output_want[] = {{{STR_INIT("output")}}};
    struct json_scan request, response;
    bool has_any = false;
    int r = json_scan_object(request_body, JSON_DEPTH_MAX, wants, WANT_COUNT, &request);
    if (r < 0)
        return r;
    r = json_scan_object(response_json, JSON_DEPTH_MAX, output_want, 1, &response);
    if (r < 0)
        return r;
    if (response.found[0].kind != JSON_ARRAY)
        return err_set(ERR_INVALID, FAULT_UPSTREAM, "the response has no output");
    const struct json_found *input = &request.found[WANT_INPUT];
    buf_add_char(out, '[');
    r = add_input(found_text(request_body, input), input->kind, &has_any, out);
    if (r == 0)
        r = add_elements(found_text(response_json, &response.found[0]), &has_any, out);
    buf_add_char(out, ']');
    return r < 0 ? r : buf_ok(out) ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
}
