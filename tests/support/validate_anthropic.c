#include "support/validate.h"

/* docs.anthropic.com/en/api/messages, /en/docs/build-with-claude/streaming */

static const char stop_reasons[] =
    "end_turn max_tokens stop_sequence tool_use pause_turn refusal model_context_window_exceeded";

/* The members that each kind of block has when it begins, and its deltas. */
static const struct {
    const char *type, *members, *deltas;
} blocks[] = {
    {"text", "text:s", "text_delta citations_delta"},
    {"thinking", "thinking:s signature:s", "thinking_delta signature_delta"},
    {"redacted_thinking", "data:s", ""},
    {"tool_use", "id:s name:s input:o", "input_json_delta"},
    {"server_tool_use", "id:s name:s input:o", "input_json_delta"},
    {"web_search_tool_result", "tool_use_id:s content:*", ""},
    {"web_fetch_tool_result", "tool_use_id:s content:*", ""},
    {"code_execution_tool_result", "tool_use_id:s content:*", ""},
    {"bash_code_execution_tool_result", "tool_use_id:s content:*", ""},
    {"text_editor_code_execution_tool_result", "tool_use_id:s content:*", ""},
    {"tool_search_tool_result", "tool_use_id:s content:*", ""},
    {"mcp_tool_use", "id:s name:s input:o", "input_json_delta"},
    {"mcp_tool_result", "tool_use_id:s content:*", ""},
    {"container_upload", "file_id:s", ""},
    {"compaction", "content:*", "compaction_delta"},
};

static const struct {
    const char *type, *members;
} deltas[] = {
    {"text_delta", "text:s"},
    {"citations_delta", "citation:o"},
    {"thinking_delta", "thinking:s"},
    {"signature_delta", "signature:s"},
    {"input_json_delta", "partial_json:s"},
    {"compaction_delta", "content:*"},
};

static size_t block_of(const char *type)
{
    size_t i = 0;
    while (i < ARRAY_LEN(blocks) && strcmp(blocks[i].type, type) != 0)
        i++;
    return i;
}

static bool check_block(struct validator *v, yyjson_val *block)
{
    const char *type = valid_string(block, "type");
    size_t i = block_of(type);
    if (i == ARRAY_LEN(blocks))
        return invalid(v, "there is no block '%s'", type);
    return valid_members(v, type, block, blocks[i].members);
}

static bool check_usage(struct validator *v, yyjson_val *usage)
{
    return valid_members(v, "usage", usage,
                         "input_tokens:i output_tokens:i cache_read_input_tokens?:* "
                         "cache_creation_input_tokens?:*");
}

static bool on_start(struct validator *v, yyjson_val *data)
{
    yyjson_val *message = yyjson_obj_get(data, "message");
    if (v->has_begun)
        return invalid(v, "a second message_start");
    v->has_begun = true;
    if (yyjson_arr_size(yyjson_obj_get(message, "content")) != 0)
        return invalid(v, "message_start has content");
    return valid_members(v, "message", message,
                         "id:s type=message role=assistant content:a model:s stop_reason:z "
                         "stop_sequence:z usage:o") &&
           check_usage(v, yyjson_obj_get(message, "usage"));
}

static bool on_block_start(struct validator *v, yyjson_val *data)
{
    yyjson_val *block = yyjson_obj_get(data, "content_block");
    if (v->is_open || v->has_finish)
        return invalid(v, "a block begins where none can");
    if (!valid_members(v, "event", data, "index:i content_block:o") || !check_block(v, block))
        return false;
    if (yyjson_get_sint(yyjson_obj_get(data, "index")) != v->next_block)
        return invalid(v, "the index is not %lld", (long long)v->next_block);
    v->is_open = true;
    snprintf(v->kind, sizeof(v->kind), "%s", valid_string(block, "type"));
    return true;
}

static bool on_delta(struct validator *v, yyjson_val *data)
{
    yyjson_val *delta = yyjson_obj_get(data, "delta");
    const char *type = valid_string(delta, "type");
    if (!v->is_open || yyjson_get_sint(yyjson_obj_get(data, "index")) != v->next_block)
        return invalid(v, "a delta of a block that is not open");
    if (!valid_word(v, "delta.type", yyjson_obj_get(delta, "type"),
                    blocks[block_of(v->kind)].deltas))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(deltas); i++) {
        if (strcmp(deltas[i].type, type) == 0)
            return valid_members(v, type, delta, deltas[i].members);
    }
    return invalid(v, "there is no delta '%s'", type);
}

static bool on_block_stop(struct validator *v, yyjson_val *data)
{
    if (!v->is_open || yyjson_get_sint(yyjson_obj_get(data, "index")) != v->next_block)
        return invalid(v, "the end of a block that is not open");
    v->is_open = false;
    v->next_block++;
    return true;
}

static bool on_message_delta(struct validator *v, yyjson_val *data)
{
    yyjson_val *delta = yyjson_obj_get(data, "delta");
    if (v->is_open || v->has_finish)
        return invalid(v, "message_delta where none can be");
    v->has_finish = true;
    return valid_members(v, "event", data, "delta:o usage:o") &&
           valid_members(v, "delta", delta, "stop_reason:s stop_sequence:z") &&
           valid_word(v, "stop_reason", yyjson_obj_get(delta, "stop_reason"), stop_reasons) &&
           valid_members(v, "usage", yyjson_obj_get(data, "usage"), "output_tokens:i");
}

static bool on_stop(struct validator *v, yyjson_val *data)
{
    (void)data;
    if (!v->has_finish)
        return invalid(v, "message_stop without a stop_reason");
    v->is_over = true;
    return true;
}

static bool error(struct validator *v, yyjson_val *root)
{
    return valid_members(v, "error", root, "type=error error:o") &&
           valid_members(v, "error", yyjson_obj_get(root, "error"), "type:s message:s") &&
           valid_word(v, "error.type", yyjson_obj_get(yyjson_obj_get(root, "error"), "type"),
                      "invalid_request_error authentication_error billing_error permission_error "
                      "not_found_error request_too_large rate_limit_error timeout_error api_error "
                      "overloaded_error");
}

static bool on_error(struct validator *v, yyjson_val *data)
{
    v->has_error = true;
    return error(v, data);
}

static const struct {
    const char *type;
    bool (*check)(struct validator *v, yyjson_val *data);
} events[] = {
    {"message_start", on_start},
    {"content_block_start", on_block_start},
    {"content_block_delta", on_delta},
    {"content_block_stop", on_block_stop},
    {"message_delta", on_message_delta},
    {"message_stop", on_stop},
    {"error", on_error},
};

static bool event(struct validator *v, struct str type, yyjson_val *data, struct str text)
{
    (void)text;
    if (v->is_over || v->has_error)
        return invalid(v, "something after the end");
    if (!str_eq(type, str_c(valid_string(data, "type"))))
        return invalid(v, "the event's name is not its type");
    if (str_eq(type, STR("ping")))
        return true;
    if (!v->has_begun && !str_eq(type, STR("message_start")) && !str_eq(type, STR("error")))
        return invalid(v, "something before message_start");
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (str_eq(type, str_c(events[i].type)))
            return events[i].check(v, data);
    }
    return invalid(v, "there is no such event");
}

static bool end(struct validator *v)
{
    return v->is_over || v->has_error || invalid(v, "no message_stop");
}

static bool answer(struct validator *v, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *block;
    if (!valid_members(v, "answer", root,
                       "id:s type=message role=assistant content:a model:s stop_reason:s "
                       "stop_sequence:z usage:o") ||
        !valid_word(v, "stop_reason", yyjson_obj_get(root, "stop_reason"), stop_reasons) ||
        !check_usage(v, yyjson_obj_get(root, "usage")))
        return false;
    yyjson_arr_foreach(yyjson_obj_get(root, "content"), i, n, block)
    {
        if (!check_block(v, block))
            return false;
    }
    return true;
}

static bool check_source(struct validator *v, yyjson_val *source)
{
    const char *type = valid_string(source, "type");
    if (strcmp(type, "base64") == 0)
        return valid_members(v, "source", source, "media_type:s data:s");
    if (strcmp(type, "url") == 0)
        return valid_members(v, "source", source, "url:s");
    if (strcmp(type, "text") == 0)
        return valid_members(v, "source", source, "media_type=text/plain data:s");
    if (strcmp(type, "file") == 0)
        return valid_members(v, "source", source, "file_id:s");
    return strcmp(type, "content") == 0 || invalid(v, "there is no source '%s'", type);
}

static bool check_content(struct validator *v, yyjson_val *content, const char *role)
{
    size_t i, n;
    yyjson_val *block;
    bool may_be_result = strcmp(role, "user") == 0;
    if (yyjson_is_str(content))
        return yyjson_get_len(content) > 0 || invalid(v, "empty content");
    if (yyjson_arr_size(content) == 0)
        return invalid(v, "a message of %s without content", role);
    yyjson_arr_foreach(content, i, n, block)
    {
        const char *type = valid_string(block, "type");
        if (strcmp(type, "image") == 0 || strcmp(type, "document") == 0) {
            if (!check_source(v, yyjson_obj_get(block, "source")))
                return false;
        } else if (strcmp(type, "tool_result") == 0) {
            if (!may_be_result)
                return invalid(v, "a result that does not come first, or of %s", role);
            if (!valid_members(v, type, block, "tool_use_id:s is_error?:b"))
                return false;
            continue;
        } else if (strcmp(type, "search_result") != 0 && !check_block(v, block)) {
            return false;
        }
        if (strcmp(type, "text") == 0 && yyjson_get_len(yyjson_obj_get(block, "text")) == 0)
            return invalid(v, "an empty text block");
        may_be_result = false;
    }
    return true;
}

/* The calls of a message and the results in the next one are the same set. */
static bool check_results(struct validator *v, yyjson_val *calls, yyjson_val *results)
{
    size_t i, n, k, m;
    yyjson_val *call, *result;
    yyjson_arr_foreach(calls, i, n, call)
    {
        bool has_result = false;
        if (strcmp(valid_string(call, "type"), "tool_use") != 0)
            continue;
        yyjson_arr_foreach(results, k, m, result)
        {
            if (strcmp(valid_string(result, "tool_use_id"), valid_string(call, "id")) == 0)
                has_result = true;
        }
        if (!has_result)
            return invalid(v, "call %s has no result in the next message",
                           valid_string(call, "id"));
    }
    return true;
}

static bool check_messages(struct validator *v, yyjson_val *messages)
{
    size_t i, n;
    yyjson_val *message, *before = NULL;
    yyjson_arr_foreach(messages, i, n, message)
    {
        const char *role = valid_string(message, "role");
        if (!valid_word(v, "role", yyjson_obj_get(message, "role"), "user assistant") ||
            !check_content(v, yyjson_obj_get(message, "content"), role))
            return false;
        if (before != NULL && strcmp(valid_string(before, "role"), "assistant") == 0 &&
            strcmp(role, "user") == 0 &&
            !check_results(v, yyjson_obj_get(before, "content"),
                           yyjson_obj_get(message, "content")))
            return false;
        before = message;
    }
    return before != NULL || invalid(v, "there are no messages");
}

static bool request(struct validator *v, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *tool;
    if (!valid_members(v, "request", root,
                       "model?:s messages:a max_tokens:i stream?:b system?:* temperature?:n "
                       "top_p?:n top_k?:i tools?:a tool_choice?:o thinking?:o metadata?:o "
                       "stop_sequences?:a") ||
        !check_messages(v, yyjson_obj_get(root, "messages")))
        return false;
    yyjson_arr_foreach(yyjson_obj_get(root, "tools"), i, n, tool)
    {
        const char *type = valid_string(tool, "type");
        if ((type[0] == '\0' || strcmp(type, "custom") == 0) &&
            (!valid_members(v, "tools[]", tool, "name:s input_schema:o") ||
             !valid_members(v, "tools[].input_schema", yyjson_obj_get(tool, "input_schema"),
                            "type=object")))
            return false;
    }
    yyjson_val *choice = yyjson_obj_get(root, "tool_choice");
    if (choice != NULL &&
        (!valid_word(v, "tool_choice.type", yyjson_obj_get(choice, "type"), "auto any tool none") ||
         yyjson_arr_size(yyjson_obj_get(root, "tools")) == 0))
        return invalid(v, "a tool_choice that cannot be");
    yyjson_val *thinking = yyjson_obj_get(root, "thinking");
    if (strcmp(valid_string(thinking, "type"), "enabled") == 0) {
        int64_t budget = yyjson_get_sint(yyjson_obj_get(thinking, "budget_tokens"));
        if (budget < 1024 || budget >= yyjson_get_sint(yyjson_obj_get(root, "max_tokens")))
            return invalid(v, "budget_tokens is not within 1024 and max_tokens");
    }
    return true;
}

const struct validation validation_anthropic = {event, end, request, answer, error};
