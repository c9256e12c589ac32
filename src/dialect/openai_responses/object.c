#include "dialect/openai_responses/codec.h"

/*
 * The response object: SDKs demand that it repeats the request. What was not told is written with
 * the value that the API gives for it, or as null.
 */

static const struct llm_extra *find_extra(const struct llm_request *request, const char *name)
{
    const struct llm_extra *e = request != NULL ? request->extras : NULL;
    while (e != NULL && !str_eq(e->name, str_c(name)))
        e = e->next;
    return e;
}

static void write_extra(struct responses_list *members, const struct llm_request *request,
                        const char *name, struct str otherwise)
{
    const struct llm_extra *extra = find_extra(request, name);
    responses_member_raw(members, name, extra != NULL ? extra->raw : otherwise);
}

static void write_or_null(struct responses_list *members, const char *name, struct text text)
{
    if (text_is_some(text))
        responses_member_text(members, name, text);
    else
        responses_member_raw(members, name, STR("null"));
}

static void write_number(struct responses_list *members, const char *name, struct str number,
                         struct str otherwise)
{
    responses_member_raw(members, name, number.len > 0 ? number : otherwise);
}

static void write_error(struct responses_list *members, const struct llm_error *error)
{
    if (error == NULL) {
        responses_member_raw(members, "error", STR("null"));
        return;
    }
    responses_member(members, "error");
    BUF_LIT(members->out, "{\"code\":");
    text_write(members->out, responses_error_code(error));
    BUF_LIT(members->out, ",\"message\":");
    text_write(members->out, error->message);
    buf_add_char(members->out, '}');
}

static void write_text_options(struct responses_list *members, const struct llm_request *request)
{
    const struct llm_extra *verbosity = find_extra(request, "text.verbosity");
    const struct llm_extra *format = find_extra(request, "text.format");
    responses_member(members, "text");
    BUF_LIT(members->out, "{\"format\":");
    if (format != NULL)
        buf_add_str(members->out, format->raw);
    else if (request->format.kind == FORMAT_UNSET)
        BUF_LIT(members->out, "{\"type\":\"text\"}");
    else
        responses_write_format(members->out, &request->format);
    if (verbosity != NULL) {
        BUF_LIT(members->out, ",\"verbosity\":");
        buf_add_str(members->out, verbosity->raw);
    }
    buf_add_char(members->out, '}');
}

static void write_tools(struct responses_list *members, const struct llm_request *request)
{
    const struct llm_extra *choice = find_extra(request, "tool_choice");
    responses_member(members, "tool_choice");
    if (choice != NULL)
        buf_add_str(members->out, choice->raw);
    else
        responses_write_tool_choice(members->out, request);
    responses_member(members, "tools");
    responses_write_tools(members->out, request, NULL);
}

static void write_reasoning(struct responses_list *members, const struct llm_request *request)
{
    struct responses_list inside = {members->out, false};
    responses_member(members, "reasoning");
    buf_add_char(members->out, '{');
    write_or_null(&inside, "effort", request->reasoning.effort);
    write_or_null(&inside, "summary", request->reasoning.summary);
    buf_add_char(members->out, '}');
}

/* What is repeated of the request. */
static void write_settings(struct responses_list *members, const struct llm_request *request)
{
    struct buf *out = members->out;
    if (request->system != NULL) {
        responses_member(members, "instructions");
        llm_blocks_write_text(out, request->system, STR("\n\n"));
    } else {
        responses_member_raw(members, "instructions", STR("null"));
    }
    write_number(members, "max_output_tokens", request->max_tokens, STR("null"));
    write_extra(members, request, "max_tool_calls", STR("null"));
    responses_member_raw(members, "parallel_tool_calls",
                         request->parallel_tools == TRI_NO ? STR("false") : STR("true"));
    write_extra(members, request, "previous_response_id", STR("null"));
    write_extra(members, request, "prompt_cache_key", STR("null"));
    write_reasoning(members, request);
    write_extra(members, request, "safety_identifier", STR("null"));
    write_extra(members, request, "store", STR("false"));
    write_number(members, "temperature", request->temperature, STR("1.0"));
    write_text_options(members, request);
    write_tools(members, request);
    write_number(members, "top_logprobs", request->top_logprobs, STR("0"));
    write_number(members, "top_p", request->top_p, STR("1.0"));
    write_extra(members, request, "truncation", STR("\"disabled\""));
    write_or_null(members, "user", request->user);
    responses_member_raw(members, "metadata",
                         request->metadata.len > 0 ? request->metadata : STR("{}"));
}

void responses_write_object(struct buf *out, const struct responses_object *object)
{
    static const struct llm_request nothing = {.source = DIALECT_OPENAI_RESPONSES};
    struct responses_list members = {out, false};
    const struct llm_request *request =
        object->request != NULL && object->request->source == DIALECT_OPENAI_RESPONSES
            ? object->request
            : &nothing;
    buf_add_char(out, '{');
    responses_member_text(&members, "id", text_plain(object->id));
    responses_member_text(&members, "object", text_plain(STR("response")));
    responses_member(&members, "created_at");
    buf_add_i64(out, object->created_s);
    responses_member_text(&members, "status", text_plain(str_c(object->status)));
    responses_member_raw(&members, "background", STR("false"));
    write_error(&members, object->error);
    responses_member(&members, "incomplete_details");
    if (object->incomplete_reason != NULL)
        buf_printf(out, "{\"reason\":\"%s\"}", object->incomplete_reason);
    else
        BUF_LIT(out, "null");
    responses_member_text(&members, "model", object->model);
    responses_member(&members, "output");
    buf_add_char(out, '[');
    buf_add_str(out, object->output);
    buf_add_char(out, ']');
    write_settings(&members, request);
    write_or_null(&members, "service_tier", object->service_tier);
    responses_member(&members, "usage");
    if (object->usage != NULL)
        responses_usage_write(out, object->usage);
    else
        BUF_LIT(out, "null");
    buf_add_char(out, '}');
}
