#include "support/validate.h"

/* platform.openai.com/docs/api-reference/chat */

static const char finish_reasons[] = "stop length tool_calls content_filter function_call";

static bool check_calls(struct validator *v, yyjson_val *calls)
{
    size_t i, n;
    yyjson_val *call;
    yyjson_arr_foreach(calls, i, n, call)
    {
        if (!valid_members(v, "tool_calls[]", call, "id:s type:s"))
            return false;
        if (strcmp(valid_string(call, "type"), "function") == 0 &&
            !valid_members(v, "tool_calls[].function", yyjson_obj_get(call, "function"),
                           "name:s arguments:s"))
            return false;
    }
    return true;
}

static bool check_usage(struct validator *v, yyjson_val *usage)
{
    return usage == NULL || yyjson_is_null(usage) ||
           valid_members(v, "usage", usage,
                         "prompt_tokens:i completion_tokens:i total_tokens:i "
                         "prompt_tokens_details?:p completion_tokens_details?:p");
}

static bool check_delta(struct validator *v, yyjson_val *delta, size_t index)
{
    size_t i, n;
    yyjson_val *call;
    if (!valid_members(v, "delta", delta, "role?:s content?:z refusal?:z tool_calls?:x"))
        return false;
    if (!v->choice_begun[index] && strcmp(valid_string(delta, "role"), "assistant") != 0)
        return invalid(v, "the first delta has no role");
    v->choice_begun[index] = true;
    yyjson_arr_foreach(yyjson_obj_get(delta, "tool_calls"), i, n, call)
    {
        if (!valid_members(v, "tool_calls[]", call, "index:i function?:o id?:s type?:s"))
            return false;
        int64_t at = yyjson_get_sint(yyjson_obj_get(call, "index"));
        if (at > v->next_call[index])
            return invalid(v, "call %lld comes too early", (long long)at);
        if (at == v->next_call[index]) {
            v->next_call[index]++;
            if (!valid_members(v, "first of a call", call, "id:s type=function function:o") ||
                !valid_members(v, "first of a call", yyjson_obj_get(call, "function"),
                               "name:s arguments?:s"))
                return false;
        }
    }
    return true;
}

static bool on_choice(struct validator *v, yyjson_val *choice)
{
    if (!valid_members(v, "choice", choice, "index:i delta:o finish_reason:z logprobs?:p"))
        return false;
    size_t index = (size_t)yyjson_get_uint(yyjson_obj_get(choice, "index"));
    if (index >= VALIDATE_CHOICES || v->choice_finished[index])
        return invalid(v, "more of a choice that is finished");
    yyjson_val *finish = yyjson_obj_get(choice, "finish_reason");
    if (!check_delta(v, yyjson_obj_get(choice, "delta"), index))
        return false;
    if (yyjson_is_null(finish))
        return true;
    v->choice_finished[index] = v->has_finish = true;
    return valid_word(v, "finish_reason", finish, finish_reasons);
}

static bool event(struct validator *v, struct str type, yyjson_val *data, struct str text)
{
    size_t i, n;
    yyjson_val *choice;
    if (type.len > 0)
        return invalid(v, "events of this dialect have no names");
    if (v->is_over)
        return invalid(v, "something after [DONE]");
    if (str_eq(text, STR("[DONE]"))) {
        v->is_over = true;
        return true;
    }
    if (v->has_error)
        return invalid(v, "something after an error");
    if (yyjson_obj_get(data, "error") != NULL) {
        v->has_error = true;
        return valid_members(v, "error", yyjson_obj_get(data, "error"), "message:s type:z");
    }
    if (!valid_members(v, "chunk", data,
                       "id:s object=chat.completion.chunk created:i model:s choices:a") ||
        !check_usage(v, yyjson_obj_get(data, "usage")))
        return false;
    v->has_begun = true;
    yyjson_arr_foreach(yyjson_obj_get(data, "choices"), i, n, choice)
    {
        if (!on_choice(v, choice))
            return false;
    }
    return true;
}

static bool end(struct validator *v)
{
    for (size_t i = 0; i < VALIDATE_CHOICES; i++) {
        if (v->choice_begun[i] && !v->choice_finished[i] && !v->has_error)
            return invalid(v, "choice %zu was not finished", i);
    }
    if (!v->has_error && !v->has_finish)
        return invalid(v, "no choice was finished");
    return v->is_over || v->has_error || invalid(v, "no [DONE]");
}

static bool answer(struct validator *v, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *choice;
    if (!valid_members(v, "answer", root,
                       "id:s object=chat.completion created:i model:s choices:a") ||
        !check_usage(v, yyjson_obj_get(root, "usage")))
        return false;
    if (yyjson_arr_size(yyjson_obj_get(root, "choices")) == 0)
        return invalid(v, "there are no choices");
    yyjson_arr_foreach(yyjson_obj_get(root, "choices"), i, n, choice)
    {
        yyjson_val *message = yyjson_obj_get(choice, "message");
        if (!valid_members(v, "choice", choice, "index:i message:o finish_reason:s logprobs?:p") ||
            !valid_word(v, "finish_reason", yyjson_obj_get(choice, "finish_reason"),
                        finish_reasons) ||
            !valid_members(v, "message", message, "role=assistant content:z tool_calls?:a") ||
            !check_calls(v, yyjson_obj_get(message, "tool_calls")))
            return false;
        yyjson_val *calls = yyjson_obj_get(message, "tool_calls");
        if (calls != NULL && yyjson_arr_size(calls) == 0)
            return invalid(v, "tool_calls is empty");
    }
    return true;
}

static bool error(struct validator *v, yyjson_val *root)
{
    return valid_members(v, "error", root, "error:o") &&
           valid_members(v, "error", yyjson_obj_get(root, "error"),
                         "message:s type:z param:z code:z");
}

static bool check_part(struct validator *v, yyjson_val *part, const char *role)
{
    const char *type = valid_string(part, "type");
    if (strcmp(type, "text") == 0)
        return valid_members(v, "part", part, "text:s");
    if (strcmp(type, "refusal") == 0)
        return valid_members(v, "part", part, "refusal:s");
    if (strcmp(role, "user") != 0)
        return invalid(v, "a part '%s' in a message of %s", type, role);
    if (strcmp(type, "image_url") == 0)
        return valid_members(v, "part", part, "image_url:o") &&
               valid_members(v, "image_url", yyjson_obj_get(part, "image_url"), "url:s detail?:s");
    if (strcmp(type, "input_audio") == 0)
        return valid_members(v, "part", part, "input_audio:o") &&
               valid_members(v, "input_audio", yyjson_obj_get(part, "input_audio"),
                             "data:s format:s");
    if (strcmp(type, "file") == 0)
        return valid_members(v, "part", part, "file:o") &&
               valid_members(v, "file", yyjson_obj_get(part, "file"),
                             "file_data?:s file_id?:s filename?:s");
    return invalid(v, "there is no part '%s'", type);
}

static bool check_message(struct validator *v, yyjson_val *message, yyjson_val *before)
{
    size_t i, n;
    yyjson_val *part, *content = yyjson_obj_get(message, "content");
    const char *role = valid_string(message, "role");
    if (!valid_word(v, "role", yyjson_obj_get(message, "role"),
                    "system developer user assistant tool function"))
        return false;
    if (strcmp(role, "tool") == 0) {
        const char *last = valid_string(before, "role");
        if (!valid_members(v, "tool message", message, "tool_call_id:s content:*"))
            return false;
        if (strcmp(last, "tool") != 0 && yyjson_obj_get(before, "tool_calls") == NULL)
            return invalid(v, "a result without a call before it");
    }
    bool may_lack =
        strcmp(role, "assistant") == 0 &&
        (yyjson_obj_get(message, "tool_calls") != NULL ||
         yyjson_obj_get(message, "refusal") != NULL || yyjson_obj_get(message, "audio") != NULL ||
         yyjson_obj_get(message, "function_call") != NULL);
    if (!yyjson_is_str(content) && !yyjson_is_arr(content) && !may_lack)
        return invalid(v, "a message of %s without content", role);
    yyjson_arr_foreach(content, i, n, part)
    {
        if (!check_part(v, part, role))
            return false;
    }
    return check_calls(v, yyjson_obj_get(message, "tool_calls"));
}

static bool request(struct validator *v, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *item, *before = NULL;
    if (!valid_members(v, "request", root,
                       "model:s messages:a stream?:b max_tokens?:i max_completion_tokens?:i "
                       "temperature?:n top_p?:n tools?:a tool_choice?:* response_format?:o "
                       "reasoning_effort?:s n?:i seed?:i user?:s"))
        return false;
    if (yyjson_arr_size(yyjson_obj_get(root, "messages")) == 0)
        return invalid(v, "there are no messages");
    yyjson_arr_foreach(yyjson_obj_get(root, "messages"), i, n, item)
    {
        if (!check_message(v, item, before))
            return false;
        before = item;
    }
    yyjson_arr_foreach(yyjson_obj_get(root, "tools"), i, n, item)
    {
        if (strcmp(valid_string(item, "type"), "function") == 0 &&
            !valid_members(v, "tools[].function", yyjson_obj_get(item, "function"),
                           "name:s description?:s parameters?:o strict?:b"))
            return false;
    }
    yyjson_val *choice = yyjson_obj_get(root, "tool_choice");
    if (yyjson_is_str(choice) && !valid_word(v, "tool_choice", choice, "none auto required"))
        return false;
    if (choice != NULL && yyjson_arr_size(yyjson_obj_get(root, "tools")) == 0)
        return invalid(v, "a tool_choice without tools");
    yyjson_val *format = yyjson_obj_get(root, "response_format");
    if (strcmp(valid_string(format, "type"), "json_schema") == 0)
        return valid_members(v, "json_schema", yyjson_obj_get(format, "json_schema"),
                             "name:s schema?:o strict?:b");
    return true;
}

const struct validation validation_openai_chat = {event, end, request, answer, error};
