#include "support/validate.h"

/* platform.openai.com/docs/api-reference/responses, /responses-streaming */

/* --- items --- */

static bool check_parts(struct validator *v, yyjson_val *parts)
{
    size_t i, n;
    yyjson_val *part;
    yyjson_arr_foreach(parts, i, n, part)
    {
        const char *type = valid_string(part, "type");
        if (!valid_word(v, "content.type", yyjson_obj_get(part, "type"), "output_text refusal"))
            return false;
        if (!valid_members(v, type, part,
                           strcmp(type, "refusal") == 0 ? "refusal:s" : "text:s annotations:a"))
            return false;
    }
    return true;
}

static bool check_item(struct validator *v, yyjson_val *item)
{
    static const struct {
        const char *type, *members;
    } kinds[] = {
        {"message", "id:s role=assistant status:s content:a"},
        {"reasoning", "id:s summary:a encrypted_content?:z"},
        {"function_call", "id?:s call_id:s name:s arguments:s status?:s"},
        {"custom_tool_call", "id?:s call_id:s name:s input:s"},
        {"image_generation_call", "id:s status:s result:z"},
    };
    const char *type = valid_string(item, "type");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].type, type) == 0)
            return valid_members(v, type, item, kinds[i].members) &&
                   (strcmp(type, "message") != 0 ||
                    check_parts(v, yyjson_obj_get(item, "content")));
    }
    return type[0] != '\0' || invalid(v, "an item without a type");
}

static bool check_usage(struct validator *v, yyjson_val *usage)
{
    return usage == NULL || yyjson_is_null(usage) ||
           (valid_members(v, "usage", usage,
                          "input_tokens:i output_tokens:i total_tokens:i input_tokens_details:o "
                          "output_tokens_details:o") &&
            valid_members(v, "input_tokens_details", yyjson_obj_get(usage, "input_tokens_details"),
                          "cached_tokens:i") &&
            valid_members(v, "output_tokens_details",
                          yyjson_obj_get(usage, "output_tokens_details"), "reasoning_tokens:i"));
}

static bool check_response(struct validator *v, yyjson_val *response, const char *statuses)
{
    size_t i, n;
    yyjson_val *item;
    if (!valid_members(v, "response", response,
                       "id:s object=response created_at:n status:s model:s output:a error:p "
                       "incomplete_details:p instructions:* parallel_tool_calls:b tool_choice:* "
                       "tools:a temperature:* top_p:* metadata:p usage?:p") ||
        !valid_word(v, "status", yyjson_obj_get(response, "status"), statuses) ||
        !check_usage(v, yyjson_obj_get(response, "usage")))
        return false;
    yyjson_arr_foreach(yyjson_obj_get(response, "output"), i, n, item)
    {
        if (!check_item(v, item))
            return false;
    }
    return true;
}

/* --- the stream --- */

static bool is_of_item(struct validator *v, yyjson_val *data)
{
    if (!v->is_open || yyjson_get_sint(yyjson_obj_get(data, "output_index")) != v->next_block)
        return invalid(v, "of an item that is not open");
    return strcmp(valid_string(data, "item_id"), v->item_id) == 0 ||
           invalid(v, "the item_id is not %s", v->item_id);
}

static bool on_created(struct validator *v, yyjson_val *data)
{
    if (v->has_begun)
        return invalid(v, "a second response.created");
    v->has_begun = true;
    return check_response(v, yyjson_obj_get(data, "response"), "in_progress queued");
}

static bool on_progress(struct validator *v, yyjson_val *data)
{
    return check_response(v, yyjson_obj_get(data, "response"), "in_progress queued");
}

static bool on_item_added(struct validator *v, yyjson_val *data)
{
    yyjson_val *item = yyjson_obj_get(data, "item");
    if (v->is_open)
        return invalid(v, "an item begins while another is open");
    if (!valid_members(v, "event", data, "output_index:i item:o") || !check_item(v, item))
        return false;
    if (yyjson_get_sint(yyjson_obj_get(data, "output_index")) != v->next_block)
        return invalid(v, "the output_index is not %lld", (long long)v->next_block);
    v->is_open = true;
    v->is_part_open = false;
    v->next_call[0] = 0;
    v->text.len = 0;
    snprintf(v->kind, sizeof(v->kind), "%s", valid_string(item, "type"));
    snprintf(v->item_id, sizeof(v->item_id), "%s", valid_string(item, "id"));
    return true;
}

static bool on_item_done(struct validator *v, yyjson_val *data)
{
    yyjson_val *item = yyjson_obj_get(data, "item");
    if (!v->is_open || v->is_part_open ||
        yyjson_get_sint(yyjson_obj_get(data, "output_index")) != v->next_block)
        return invalid(v, "the end of an item that is not open, or has an open part");
    if (strcmp(valid_string(item, "id"), v->item_id) != 0 ||
        strcmp(valid_string(item, "type"), v->kind) != 0)
        return invalid(v, "the item that ends is not the one that began");
    v->is_open = false;
    v->next_block++;
    return check_item(v, item);
}

static bool begin_part(struct validator *v, yyjson_val *data, const char *index)
{
    if (!is_of_item(v, data))
        return false;
    if (v->is_part_open || yyjson_get_sint(yyjson_obj_get(data, index)) != v->next_call[0])
        return invalid(v, "a part begins out of order");
    v->is_part_open = true;
    v->text.len = 0;
    return valid_members(v, "event", data, "part:o");
}

static bool end_part(struct validator *v, yyjson_val *data, const char *index, const char *text)
{
    if (!is_of_item(v, data))
        return false;
    if (!v->is_part_open || yyjson_get_sint(yyjson_obj_get(data, index)) != v->next_call[0])
        return invalid(v, "a part ends out of order");
    v->is_part_open = false;
    v->next_call[0]++;
    return yyjson_equals_strn(yyjson_obj_get(yyjson_obj_get(data, "part"), text), v->text.ptr,
                              v->text.len) ||
           v->text.len == 0 || invalid(v, "the part's text is not that of its deltas");
}

static bool on_part_added(struct validator *v, yyjson_val *data)
{
    return begin_part(v, data, "content_index");
}

static bool on_part_done(struct validator *v, yyjson_val *data)
{
    yyjson_val *part = yyjson_obj_get(data, "part");
    const char *text = strcmp(valid_string(part, "type"), "refusal") == 0 ? "refusal" : "text";
    return end_part(v, data, "content_index", text);
}

static bool on_summary_added(struct validator *v, yyjson_val *data)
{
    return begin_part(v, data, "summary_index");
}

static bool on_summary_done(struct validator *v, yyjson_val *data)
{
    return end_part(v, data, "summary_index", "text");
}

static bool add_delta(struct validator *v, yyjson_val *data)
{
    yyjson_val *delta = yyjson_obj_get(data, "delta");
    buf_add(&v->text, yyjson_get_str(delta), yyjson_get_len(delta));
    return valid_members(v, "event", data, "delta:s") && is_of_item(v, data);
}

static bool on_part_delta(struct validator *v, yyjson_val *data)
{
    return (v->is_part_open || invalid(v, "a delta of a part that is not open")) &&
           add_delta(v, data);
}

static bool on_text_delta(struct validator *v, yyjson_val *data)
{
    return valid_members(v, "event", data, "logprobs:a content_index:i") && on_part_delta(v, data);
}

static bool is_all(struct validator *v, yyjson_val *data, const char *name)
{
    if (!is_of_item(v, data))
        return false;
    return yyjson_equals_strn(yyjson_obj_get(data, name), v->text.ptr, v->text.len) ||
           (v->text.len == 0 && valid_string(data, name)[0] == '\0') ||
           invalid(v, "'%s' is not what its deltas said", name);
}

static bool on_text_done(struct validator *v, yyjson_val *data)
{
    return valid_members(v, "event", data, "logprobs:a") && is_all(v, data, "text");
}

static bool on_summary_text_done(struct validator *v, yyjson_val *data)
{
    return is_all(v, data, "text");
}

static bool on_refusal_done(struct validator *v, yyjson_val *data)
{
    return is_all(v, data, "refusal");
}

static bool on_arguments_done(struct validator *v, yyjson_val *data)
{
    return is_all(v, data, "arguments");
}

static bool on_input_done(struct validator *v, yyjson_val *data)
{
    return is_all(v, data, "input");
}

static bool on_annotation(struct validator *v, yyjson_val *data)
{
    return is_of_item(v, data) &&
           valid_members(v, "event", data, "annotation:o annotation_index:i content_index:i");
}

static bool end_with(struct validator *v, yyjson_val *data, const char *status)
{
    yyjson_val *response = yyjson_obj_get(data, "response");
    if (v->is_open && strcmp(status, "failed") != 0)
        return invalid(v, "the end while an item is open");
    v->is_open = false;
    v->is_over = true;
    if (!check_response(v, response, status))
        return false;
    int64_t count = (int64_t)yyjson_arr_size(yyjson_obj_get(response, "output"));
    return strcmp(status, "failed") == 0 || count == v->next_block ||
           invalid(v, "output has %lld items, there were %lld", (long long)count,
                   (long long)v->next_block);
}

static bool on_completed(struct validator *v, yyjson_val *data)
{
    return end_with(v, data, "completed");
}

static bool on_incomplete(struct validator *v, yyjson_val *data)
{
    return end_with(v, data, "incomplete") &&
           valid_members(v, "incomplete_details",
                         yyjson_obj_get(yyjson_obj_get(data, "response"), "incomplete_details"),
                         "reason:s");
}

static bool on_failed(struct validator *v, yyjson_val *data)
{
    v->has_error = true;
    return end_with(v, data, "failed") &&
           valid_members(v, "error", yyjson_obj_get(yyjson_obj_get(data, "response"), "error"),
                         "code:s message:s");
}

static bool on_error(struct validator *v, yyjson_val *data)
{
    v->has_error = true;
    return valid_members(v, "error", data, "message:s code:z");
}

static const struct {
    const char *type;
    bool (*check)(struct validator *v, yyjson_val *data);
} events[] = {
    {"response.created", on_created},
    {"response.in_progress", on_progress},
    {"response.output_item.added", on_item_added},
    {"response.output_item.done", on_item_done},
    {"response.content_part.added", on_part_added},
    {"response.content_part.done", on_part_done},
    {"response.output_text.delta", on_text_delta},
    {"response.output_text.done", on_text_done},
    {"response.output_text.annotation.added", on_annotation},
    {"response.refusal.delta", on_part_delta},
    {"response.refusal.done", on_refusal_done},
    {"response.reasoning_summary_part.added", on_summary_added},
    {"response.reasoning_summary_part.done", on_summary_done},
    {"response.reasoning_summary_text.delta", on_part_delta},
    {"response.reasoning_summary_text.done", on_summary_text_done},
    {"response.function_call_arguments.delta", add_delta},
    {"response.function_call_arguments.done", on_arguments_done},
    {"response.custom_tool_call_input.delta", add_delta},
    {"response.custom_tool_call_input.done", on_input_done},
    {"response.completed", on_completed},
    {"response.incomplete", on_incomplete},
    {"response.failed", on_failed},
    {"error", on_error},
};

static bool event(struct validator *v, struct str type, yyjson_val *data, struct str text)
{
    (void)text;
    if (v->is_over)
        return invalid(v, "something after the end");
    if (!str_eq(type, str_c(valid_string(data, "type"))))
        return invalid(v, "the event's name is not its type");
    if (!valid_members(v, "event", data, "sequence_number:i"))
        return false;
    if (yyjson_get_sint(yyjson_obj_get(data, "sequence_number")) != v->sequence_number++)
        return invalid(v, "the sequence_number is not %lld", (long long)v->sequence_number - 1);
    if (!v->has_begun && !str_eq(type, STR("response.created")) && !str_eq(type, STR("error")) &&
        !str_eq(type, STR("response.failed")))
        return invalid(v, "something before response.created");
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (str_eq(type, str_c(events[i].type)))
            return events[i].check(v, data);
    }
    return str_starts(type, STR("response.")) || invalid(v, "there is no such event");
}

static bool end(struct validator *v)
{
    return v->is_over || v->has_error || invalid(v, "no response.completed");
}

static bool answer(struct validator *v, yyjson_val *root)
{
    return check_response(v, root, "completed incomplete");
}

static bool error(struct validator *v, yyjson_val *root)
{
    return valid_members(v, "error", root, "error:o") &&
           valid_members(v, "error", yyjson_obj_get(root, "error"),
                         "message:s type:z param:z code:z");
}

/* --- requests --- */

static bool check_input_parts(struct validator *v, yyjson_val *content, const char *role)
{
    size_t i, n;
    yyjson_val *part;
    const char *types = strcmp(role, "assistant") == 0
                            ? "output_text refusal"
                            : "input_text input_image input_file input_audio";
    yyjson_arr_foreach(content, i, n, part)
    {
        const char *type = valid_string(part, "type");
        if (!valid_word(v, "content.type", yyjson_obj_get(part, "type"), types))
            return false;
        if (strcmp(type, "input_text") == 0 && !valid_members(v, type, part, "text:s"))
            return false;
        if (strcmp(type, "input_image") == 0 &&
            !valid_members(v, type, part, "image_url?:s file_id?:s detail?:s"))
            return false;
    }
    return true;
}

static bool check_input_item(struct validator *v, yyjson_val *item)
{
    const char *type = valid_string(item, "type");
    if (type[0] == '\0' || strcmp(type, "message") == 0)
        return valid_word(v, "role", yyjson_obj_get(item, "role"),
                          "user assistant system developer") &&
               valid_members(v, "message", item, "content:*") &&
               check_input_parts(v, yyjson_obj_get(item, "content"), valid_string(item, "role"));
    if (strcmp(type, "function_call") == 0)
        return valid_members(v, type, item, "call_id:s name:s arguments:s");
    if (strcmp(type, "function_call_output") == 0)
        return valid_members(v, type, item, "call_id:s output:*");
    if (strcmp(type, "reasoning") == 0)
        return valid_members(v, type, item, "summary:a");
    return true;
}

static bool request(struct validator *v, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *item, *input = yyjson_obj_get(root, "input");
    if (!valid_members(v, "request", root,
                       "model:s input:* stream?:b max_output_tokens?:i temperature?:n top_p?:n "
                       "tools?:a tool_choice?:* text?:o reasoning?:o instructions?:s store?:b "
                       "user?:s"))
        return false;
    if (!yyjson_is_str(input) && yyjson_arr_size(input) == 0)
        return invalid(v, "there is no input");
    yyjson_arr_foreach(input, i, n, item)
    {
        if (!check_input_item(v, item))
            return false;
    }
    yyjson_arr_foreach(yyjson_obj_get(root, "tools"), i, n, item)
    {
        if (strcmp(valid_string(item, "type"), "function") == 0 &&
            !valid_members(v, "tools[]", item, "name:s parameters:p strict:*"))
            return false;
    }
    yyjson_val *format = yyjson_obj_get(yyjson_obj_get(root, "text"), "format");
    if (strcmp(valid_string(format, "type"), "json_schema") == 0)
        return valid_members(v, "text.format", format, "name:s schema:o");
    return true;
}

const struct validation validation_openai_responses = {event, end, request, answer, error};
