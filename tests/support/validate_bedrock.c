#include "support/validate.h"

/* docs.aws.amazon.com/bedrock/latest/APIReference: Converse, ConverseStream. The SDKs check types
 * by the service's model. */

static const char stop_reasons[] =
    "end_turn tool_use max_tokens stop_sequence guardrail_intervened content_filtered "
    "malformed_model_output malformed_tool_use model_context_window_exceeded";
static const char block_kinds[] = "text image document video audio toolUse toolResult guardContent "
                                  "cachePoint reasoningContent citationsContent searchResult";

static bool is_base64(const char *s)
{
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++) {
        bool is_digit = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
                        (s[i] >= '0' && s[i] <= '9') || strchr("+/=", s[i]) != NULL;
        if (!is_digit)
            return false;
    }
    return len % 4 == 0;
}

static bool check_media(struct validator *v, const char *kind, yyjson_val *media)
{
    yyjson_val *source = yyjson_obj_get(media, "source");
    if (!valid_members(v, kind, media, "format?:s source:o"))
        return false;
    if (strcmp(kind, "document") == 0 && valid_string(media, "name")[0] == '\0')
        return invalid(v, "a document without a name");
    const char *where = valid_only(v, "source", source, "bytes s3Location text content");
    if (where == NULL)
        return false;
    return strcmp(where, "bytes") != 0 || is_base64(valid_string(source, "bytes")) ||
           invalid(v, "bytes are no base64");
}

static bool check_reasoning(struct validator *v, yyjson_val *reasoning)
{
    const char *kind =
        valid_only(v, "reasoningContent", reasoning, "reasoningText redactedContent");
    if (kind == NULL)
        return false;
    if (strcmp(kind, "redactedContent") == 0)
        return is_base64(valid_string(reasoning, kind)) ||
               invalid(v, "redactedContent is no base64");
    return valid_members(v, kind, yyjson_obj_get(reasoning, kind), "text:s signature?:s");
}

static bool check_blocks(struct validator *v, yyjson_val *content, bool is_request)
{
    size_t i, n;
    yyjson_val *block;
    yyjson_arr_foreach(content, i, n, block)
    {
        const char *kind = valid_only(v, "content[]", block, block_kinds);
        if (kind == NULL)
            return false;
        yyjson_val *value = yyjson_obj_get(block, kind);
        bool ok = true;
        if (strcmp(kind, "text") == 0)
            ok = yyjson_is_str(value) && (!is_request || yyjson_get_len(value) > 0);
        else if (strcmp(kind, "toolUse") == 0)
            ok = valid_members(v, kind, value, "toolUseId:s name:s input:*");
        else if (strcmp(kind, "toolResult") == 0)
            ok = valid_members(v, kind, value, "toolUseId:s content:a status?:s");
        else if (strcmp(kind, "reasoningContent") == 0)
            ok = check_reasoning(v, value);
        else if (strcmp(kind, "image") == 0 || strcmp(kind, "document") == 0 ||
                 strcmp(kind, "video") == 0 || strcmp(kind, "audio") == 0)
            ok = check_media(v, kind, value);
        if (!ok)
            return v->why[0] != '\0' ? false : invalid(v, "a block %s that cannot be", kind);
    }
    return true;
}

static bool check_usage(struct validator *v, yyjson_val *usage)
{
    return valid_members(v, "usage", usage,
                         "inputTokens:i outputTokens:i totalTokens:i cacheReadInputTokens?:i "
                         "cacheWriteInputTokens?:i");
}

static bool on_start(struct validator *v, yyjson_val *data)
{
    if (v->has_begun)
        return invalid(v, "a second messageStart");
    v->has_begun = true;
    return valid_members(v, "messageStart", data, "role=assistant");
}

static bool is_next(struct validator *v, yyjson_val *data)
{
    return yyjson_get_sint(yyjson_obj_get(data, "contentBlockIndex")) == v->next_block ||
           invalid(v, "the index is not %lld", (long long)v->next_block);
}

static bool on_block_start(struct validator *v, yyjson_val *data)
{
    yyjson_val *start = yyjson_obj_get(data, "start");
    if (v->is_open || v->has_finish)
        return invalid(v, "a block begins where none can");
    v->is_open = true;
    snprintf(v->kind, sizeof(v->kind), "toolUse");
    if (!valid_members(v, "event", data, "contentBlockIndex:i start:o") || !is_next(v, data))
        return false;
    const char *kind = valid_only(v, "start", start, "toolUse image toolResult");
    if (kind == NULL)
        return false;
    snprintf(v->kind, sizeof(v->kind), "%s", kind);
    return strcmp(kind, "toolUse") != 0 ||
           valid_members(v, kind, yyjson_obj_get(start, kind), "toolUseId:s name:s");
}

static bool on_delta(struct validator *v, yyjson_val *data)
{
    yyjson_val *delta = yyjson_obj_get(data, "delta");
    if (!v->has_begun || v->has_finish)
        return invalid(v, "a delta where none can be");
    if (!valid_members(v, "event", data, "contentBlockIndex:i delta:o") || !is_next(v, data))
        return false;
    const char *kind =
        valid_only(v, "delta", delta, "text toolUse reasoningContent citation image toolResult");
    if (kind == NULL)
        return false;
    const char *block = strcmp(kind, "citation") == 0 ? "text" : kind;
    if (!v->is_open)
        snprintf(v->kind, sizeof(v->kind), "%s", block);
    if (!v->is_open && (strcmp(kind, "toolUse") == 0 || strcmp(kind, "image") == 0))
        return invalid(v, "a %s that has not begun", kind);
    if (strcmp(v->kind, block) != 0)
        return invalid(v, "a delta %s in a block of %s", kind, v->kind);
    v->is_open = true;
    yyjson_val *value = yyjson_obj_get(delta, kind);
    if (strcmp(kind, "reasoningContent") == 0)
        return valid_only(v, kind, value, "text signature redactedContent") != NULL &&
               (is_base64(valid_string(value, "redactedContent")) ||
                invalid(v, "redactedContent is no base64"));
    if (strcmp(kind, "toolUse") == 0)
        return valid_members(v, kind, value, "input:s");
    return strcmp(kind, "text") != 0 || yyjson_is_str(value) || invalid(v, "text is no string");
}

static bool on_block_stop(struct validator *v, yyjson_val *data)
{
    if (!v->is_open || !is_next(v, data))
        return invalid(v, "the end of a block that is not open");
    v->is_open = false;
    v->next_block++;
    return true;
}

static bool on_stop(struct validator *v, yyjson_val *data)
{
    if (v->is_open || v->has_finish || !v->has_begun)
        return invalid(v, "messageStop where none can be");
    v->has_finish = true;
    return valid_word(v, "stopReason", yyjson_obj_get(data, "stopReason"), stop_reasons);
}

static bool on_metadata(struct validator *v, yyjson_val *data)
{
    if (v->has_usage)
        return invalid(v, "a second metadata");
    v->has_usage = v->is_over = true;
    return valid_members(v, "metadata", data, "usage:o metrics:o") &&
           check_usage(v, yyjson_obj_get(data, "usage")) &&
           valid_members(v, "metrics", yyjson_obj_get(data, "metrics"), "latencyMs:i");
}

static const struct {
    const char *type;
    bool (*check)(struct validator *v, yyjson_val *data);
} events[] = {
    {"messageStart", on_start},      {"contentBlockStart", on_block_start},
    {"contentBlockDelta", on_delta}, {"contentBlockStop", on_block_stop},
    {"messageStop", on_stop},        {"metadata", on_metadata},
};

static bool event(struct validator *v, struct str type, yyjson_val *data, struct str text)
{
    (void)text;
    if (v->has_error || v->is_over)
        return invalid(v, "something after the end");
    if (str_ends(type, STR("Exception"))) {
        v->has_error = true;
        return valid_members(v, "exception", data, "message:s");
    }
    if (!v->has_begun && !str_eq(type, STR("messageStart")))
        return invalid(v, "something before messageStart");
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (str_eq(type, str_c(events[i].type)))
            return events[i].check(v, data);
    }
    return invalid(v, "there is no such event");
}

static bool end(struct validator *v)
{
    if (v->has_error)
        return true;
    return (v->has_finish && v->has_usage) || invalid(v, "no messageStop and metadata");
}

static bool answer(struct validator *v, yyjson_val *root)
{
    yyjson_val *output = yyjson_obj_get(root, "output");
    yyjson_val *message = yyjson_obj_get(output, "message");
    return valid_members(v, "answer", root, "output:o stopReason:s usage:o metrics:o") &&
           valid_members(v, "message", message, "role=assistant content:a") &&
           valid_word(v, "stopReason", yyjson_obj_get(root, "stopReason"), stop_reasons) &&
           check_usage(v, yyjson_obj_get(root, "usage")) &&
           valid_members(v, "metrics", yyjson_obj_get(root, "metrics"), "latencyMs:i") &&
           check_blocks(v, yyjson_obj_get(message, "content"), false);
}

static bool error(struct validator *v, yyjson_val *root)
{
    return valid_members(v, "error", root, "message:s");
}

static bool check_messages(struct validator *v, yyjson_val *messages)
{
    size_t i, n;
    yyjson_val *message;
    const char *before = "";
    yyjson_arr_foreach(messages, i, n, message)
    {
        const char *role = valid_string(message, "role");
        if (!valid_members(v, "messages[]", message, "role:s content:a") ||
            !valid_names(v, "messages[]", message, "role content") ||
            !valid_word(v, "role", yyjson_obj_get(message, "role"), "user assistant") ||
            !check_blocks(v, yyjson_obj_get(message, "content"), true))
            return false;
        if (yyjson_arr_size(yyjson_obj_get(message, "content")) == 0)
            return invalid(v, "messages[%zu] is empty", i);
        if (strcmp(before, role) == 0)
            return invalid(v, "two messages of %s in a row", role);
        before = role;
    }
    return before[0] != '\0' || invalid(v, "there are no messages");
}

static bool request(struct validator *v, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *tool, *config = yyjson_obj_get(root, "toolConfig");
    if (!valid_members(v, "request", root,
                       "messages:a system?:a inferenceConfig?:o toolConfig?:o "
                       "additionalModelRequestFields?:o") ||
        !valid_names(v, "request", root,
                     "messages system inferenceConfig toolConfig additionalModelRequestFields "
                     "additionalModelResponseFieldPaths guardrailConfig promptVariables "
                     "requestMetadata performanceConfig serviceTier outputConfig") ||
        !check_messages(v, yyjson_obj_get(root, "messages")))
        return false;
    yyjson_val *inference = yyjson_obj_get(root, "inferenceConfig");
    if (inference != NULL &&
        (!valid_members(v, "inferenceConfig", inference,
                        "maxTokens?:i temperature?:n topP?:n stopSequences?:a") ||
         !valid_names(v, "inferenceConfig", inference, "maxTokens temperature topP stopSequences")))
        return false;
    if (config != NULL && yyjson_arr_size(yyjson_obj_get(config, "tools")) == 0)
        return invalid(v, "toolConfig without tools");
    yyjson_arr_foreach(yyjson_obj_get(config, "tools"), i, n, tool)
    {
        yyjson_val *spec = yyjson_obj_get(tool, "toolSpec");
        if (spec != NULL &&
            (!valid_members(v, "toolSpec", spec, "name:s inputSchema:o description?:s") ||
             !valid_members(v, "inputSchema", yyjson_obj_get(spec, "inputSchema"), "json:o")))
            return false;
    }
    return true;
}

const struct validation validation_bedrock = {event, end, request, answer, error};
