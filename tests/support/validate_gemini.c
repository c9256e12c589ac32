#include "support/validate.h"

/* ai.google.dev/api/generate-content */

static const char finish_reasons[] =
    "STOP MAX_TOKENS SAFETY RECITATION LANGUAGE OTHER BLOCKLIST PROHIBITED_CONTENT SPII "
    "MALFORMED_FUNCTION_CALL IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_OTHER NO_IMAGE "
    "IMAGE_RECITATION UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS FINISH_REASON_UNSPECIFIED "
    "MODEL_ARMOR";
static const char part_kinds[] = "text inlineData fileData functionCall functionResponse "
                                 "executableCode codeExecutionResult toolCall toolResponse";

static bool is_base64(const char *s)
{
    for (; *s != '\0'; s++) {
        bool is_digit = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
                        (*s >= '0' && *s <= '9') || strchr("+/-_=", *s) != NULL;
        if (!is_digit)
            return false;
    }
    return true;
}

static bool check_part(struct validator *v, yyjson_val *part)
{
    yyjson_val *value;
    /* A part of a signature alone is sent by the service itself. */
    if (yyjson_obj_size(part) == 1 && yyjson_obj_get(part, "thoughtSignature") != NULL)
        return true;
    const char *kind = valid_only(v, "part", part, part_kinds);
    if (kind == NULL || !valid_members(v, "part", part, "thought?:b thoughtSignature?:s text?:s"))
        return false;
    if (!is_base64(valid_string(part, "thoughtSignature")))
        return invalid(v, "a thoughtSignature that is no base64");
    value = yyjson_obj_get(part, kind);
    if (strcmp(kind, "inlineData") == 0)
        return valid_members(v, kind, value, "mimeType:s data:s") &&
               (is_base64(valid_string(value, "data")) || invalid(v, "data is no base64"));
    if (strcmp(kind, "fileData") == 0)
        return valid_members(v, kind, value, "fileUri:s mimeType?:s");
    if (strcmp(kind, "functionCall") == 0)
        return valid_members(v, kind, value, "name:s args?:o id?:s");
    if (strcmp(kind, "functionResponse") == 0)
        return valid_members(v, kind, value, "name:s response:o id?:s");
    return true;
}

static bool check_content(struct validator *v, yyjson_val *content, const char *roles)
{
    size_t i, n;
    yyjson_val *part;
    yyjson_val *role = yyjson_obj_get(content, "role");
    if (role != NULL && !valid_word(v, "role", role, roles))
        return false;
    yyjson_arr_foreach(yyjson_obj_get(content, "parts"), i, n, part)
    {
        if (!check_part(v, part))
            return false;
    }
    return true;
}

static bool check_usage(struct validator *v, yyjson_val *usage)
{
    return usage == NULL ||
           valid_members(v, "usageMetadata", usage,
                         "promptTokenCount?:i candidatesTokenCount?:i totalTokenCount?:i "
                         "cachedContentTokenCount?:i thoughtsTokenCount?:i");
}

static bool error(struct validator *v, yyjson_val *root)
{
    return valid_members(v, "error", root, "error:o") &&
           valid_members(v, "error", yyjson_obj_get(root, "error"), "code:i message:s status:s");
}

static bool check_answer(struct validator *v, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *candidate;
    if (!valid_members(v, "answer", root,
                       "candidates?:a promptFeedback?:o usageMetadata?:o modelVersion?:s "
                       "responseId?:s createTime?:s") ||
        !check_usage(v, yyjson_obj_get(root, "usageMetadata")))
        return false;
    yyjson_arr_foreach(yyjson_obj_get(root, "candidates"), i, n, candidate)
    {
        size_t index = (size_t)yyjson_get_uint(yyjson_obj_get(candidate, "index"));
        yyjson_val *finish = yyjson_obj_get(candidate, "finishReason");
        if (index >= VALIDATE_CHOICES || v->choice_finished[index])
            return invalid(v, "more of a candidate that is finished");
        if (!valid_members(v, "candidate", candidate, "content?:o finishReason?:s index?:i") ||
            !check_content(v, yyjson_obj_get(candidate, "content"), "model"))
            return false;
        v->choice_begun[index] = true;
        if (finish == NULL)
            continue;
        v->choice_finished[index] = v->has_finish = true;
        if (!valid_word(v, "finishReason", finish, finish_reasons))
            return false;
    }
    if (yyjson_obj_get(root, "promptFeedback") != NULL)
        v->has_finish = true;
    return true;
}

static bool event(struct validator *v, struct str type, yyjson_val *data, struct str text)
{
    (void)text;
    if (type.len > 0)
        return invalid(v, "events of this dialect have no names");
    if (v->has_error)
        return invalid(v, "something after an error");
    if (yyjson_obj_get(data, "error") != NULL) {
        v->has_error = true;
        return error(v, data);
    }
    v->has_begun = true;
    return check_answer(v, data);
}

static bool end(struct validator *v)
{
    for (size_t i = 0; i < VALIDATE_CHOICES; i++) {
        if (v->choice_begun[i] && !v->choice_finished[i] && !v->has_error)
            return invalid(v, "candidate %zu was not finished", i);
    }
    return v->has_error || v->has_finish || invalid(v, "no candidate was finished");
}

static bool answer(struct validator *v, yyjson_val *root)
{
    return check_answer(v, root) && end(v);
}

static bool check_turns(struct validator *v, yyjson_val *contents)
{
    size_t i, n, k, m;
    yyjson_val *content, *part;
    size_t calls = 0;
    yyjson_arr_foreach(contents, i, n, content)
    {
        size_t results = 0, called = 0;
        if (!check_content(v, content, "user model function"))
            return false;
        if (yyjson_arr_size(yyjson_obj_get(content, "parts")) == 0)
            return invalid(v, "contents[%zu] has no parts", i);
        yyjson_arr_foreach(yyjson_obj_get(content, "parts"), k, m, part)
        {
            results += yyjson_obj_get(part, "functionResponse") != NULL;
            called += yyjson_obj_get(part, "functionCall") != NULL;
        }
        /* "the number of function response parts is equal to the number of function call parts" */
        if (calls > 0 && results != calls)
            return invalid(v, "contents[%zu] has %zu results for %zu calls", i, results, calls);
        calls = called;
    }
    return yyjson_arr_size(contents) > 0 || invalid(v, "there are no contents");
}

static bool request(struct validator *v, yyjson_val *root)
{
    size_t i, n, k, m;
    yyjson_val *tool, *function;
    if (!valid_members(v, "request", root,
                       "contents:a systemInstruction?:o tools?:a toolConfig?:o generationConfig?:o "
                       "safetySettings?:a cachedContent?:s") ||
        !valid_names(v, "request", root,
                     "contents systemInstruction tools toolConfig generationConfig safetySettings "
                     "cachedContent labels model serviceTier store") ||
        !check_turns(v, yyjson_obj_get(root, "contents")))
        return false;
    yyjson_arr_foreach(yyjson_obj_get(root, "tools"), i, n, tool)
    {
        yyjson_arr_foreach(yyjson_obj_get(tool, "functionDeclarations"), k, m, function)
        {
            if (!valid_members(v, "functionDeclarations[]", function,
                               "name:s description?:s parameters?:o parametersJsonSchema?:*"))
                return false;
        }
    }
    yyjson_val *config = yyjson_obj_get(root, "generationConfig");
    return config == NULL ||
           valid_members(v, "generationConfig", config,
                         "maxOutputTokens?:i temperature?:n topP?:n topK?:n stopSequences?:a "
                         "responseMimeType?:s candidateCount?:i seed?:i thinkingConfig?:o");
}

const struct validation validation_gemini = {event, end, request, answer, error};
