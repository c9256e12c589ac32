#include "responses_grammar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <yyjson.h>

static struct buf *begin(struct llm_frames *frames, struct str type)
{
    struct grammar *g = CONTAINER_OF(frames, struct grammar, frames);
    buf_clear(&g->data);
    buf_clear(&g->type);
    buf_add_str(&g->type, type);
    return &g->data;
}

#define NEED(what)                                                                          \
    do {                                                                                    \
        if (!(what))                                                                        \
            fail_msg("%s: %s, event %u: %.*s", g->name, #what, g->events, (int)g->data.len, \
                     g->data.ptr);                                                          \
    } while (0)

static int64_t number(yyjson_val *event, const char *name)
{
    yyjson_val *value = yyjson_obj_get(event, name);
    return yyjson_is_int(value) ? yyjson_get_sint(value) : -1;
}

static const char *string(yyjson_val *event, const char *name)
{
    const char *value = yyjson_get_str(yyjson_obj_get(event, name));
    return value != NULL ? value : "";
}

/* Members that the SDKs' types demand of a response. */
static void check_response(struct grammar *g, yyjson_val *response, const char *status)
{
    static const char *const members[] = {
        "id",         "object", "created_at",          "error",       "incomplete_details",
        "model",      "tools",  "instructions",        "output",      "parallel_tool_calls",
        "metadata",   "top_p",  "tool_choice",         "temperature", "text",
        "truncation", "usage",  "previous_response_id"};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (yyjson_obj_get(response, members[i]) == NULL)
            fail_msg("%s: response without %s", g->name, members[i]);
    }
    NEED(strcmp(string(response, "status"), status) == 0);
    NEED(strcmp(string(response, "object"), "response") == 0);
}

static void check_end(struct grammar *g, yyjson_val *event, const char *status)
{
    yyjson_val *response = yyjson_obj_get(event, "response");
    bool is_failed = strcmp(status, "failed") == 0;
    struct json_value last;
    check_response(g, response, status);
    NEED(is_failed || !g->is_item_open);
    NEED(is_failed || (int64_t)yyjson_arr_size(yyjson_obj_get(response, "output")) == g->items);
    NEED(is_failed == yyjson_is_obj(yyjson_obj_get(response, "error")));
    buf_clear(&g->last);
    buf_add_str(&g->last, buf_str(&g->data));
    NEED(json_find(buf_str(&g->last), "response", &last));
    g->final = last.text;
    g->has_ended = true;
}

static void check_place(struct grammar *g, yyjson_val *event)
{
    NEED(g->is_item_open);
    NEED(number(event, "output_index") == g->items - 1);
    NEED(strcmp(string(event, "item_id"), g->item_id) == 0);
}

static void check_item(struct grammar *g, yyjson_val *event, bool is_added)
{
    yyjson_val *item = yyjson_obj_get(event, "item");
    NEED(yyjson_is_obj(item) && string(item, "type")[0] != '\0');
    NEED(g->is_item_open != is_added && !g->is_part_open);
    g->is_item_open = is_added;
    if (is_added) {
        g->items++;
        g->parts = 0;
        buf_clear(&g->text);
        snprintf(g->item_id, sizeof(g->item_id), "%s", string(item, "id"));
    }
    NEED(number(event, "output_index") == g->items - 1);
    NEED(strcmp(string(item, "id"), g->item_id) == 0);
}

static void check_part(struct grammar *g, yyjson_val *event, const char *index, bool is_added)
{
    check_place(g, event);
    NEED(yyjson_is_obj(yyjson_obj_get(event, "part")));
    NEED(g->is_part_open != is_added);
    NEED(number(event, index) == g->parts);
    g->is_part_open = is_added;
    g->parts += !is_added;
    if (is_added)
        buf_clear(&g->text);
}

static void check_delta(struct grammar *g, yyjson_val *event, bool needs_part)
{
    yyjson_val *delta = yyjson_obj_get(event, "delta");
    check_place(g, event);
    NEED(g->is_part_open == needs_part);
    NEED(yyjson_is_str(delta));
    buf_add(&g->text, yyjson_get_str(delta), yyjson_get_len(delta));
}

static void check_done(struct grammar *g, yyjson_val *event, const char *name, bool needs_part)
{
    yyjson_val *whole = yyjson_obj_get(event, name);
    check_place(g, event);
    NEED(g->is_part_open == needs_part);
    NEED(yyjson_is_str(whole));
    struct str got = str_n(yyjson_get_str(whole), yyjson_get_len(whole));
    bool is_empty_call = g->text.len == 0 && str_eq(got, STR("{}"));
    NEED(str_eq(got, buf_str(&g->text)) || is_empty_call);
}

static void check_type(struct grammar *g, const char *type, yyjson_val *event)
{
    if (g->events < 2) {
        NEED(strcmp(type, g->events == 0 ? "response.created" : "response.in_progress") == 0);
        check_response(g, yyjson_obj_get(event, "response"), "in_progress");
    } else if (strcmp(type, "response.output_item.added") == 0) {
        check_item(g, event, true);
    } else if (strcmp(type, "response.output_item.done") == 0) {
        check_item(g, event, false);
    } else if (strncmp(type, "response.content_part.", 22) == 0) {
        check_part(g, event, "content_index", strcmp(type + 22, "added") == 0);
    } else if (strncmp(type, "response.reasoning_summary_part.", 32) == 0) {
        check_part(g, event, "summary_index", strcmp(type + 32, "added") == 0);
    } else if (strcmp(type, "response.output_text.annotation.added") == 0) {
        check_place(g, event);
        NEED(g->is_part_open && yyjson_is_obj(yyjson_obj_get(event, "annotation")));
    } else if (strcmp(type, "response.function_call_arguments.done") == 0) {
        NEED(string(event, "name")[0] != '\0');
        check_done(g, event, "arguments", false);
    } else if (strcmp(type, "response.custom_tool_call_input.done") == 0) {
        check_done(g, event, "input", false);
    } else if (strcmp(type, "response.refusal.done") == 0) {
        check_done(g, event, "refusal", true);
    } else if (strcmp(type, "response.output_text.done") == 0 ||
               strcmp(type, "response.reasoning_summary_text.done") == 0) {
        check_done(g, event, "text", true);
    } else if (strstr(type, "_arguments.delta") != NULL || strstr(type, "_input.delta") != NULL) {
        check_delta(g, event, false);
    } else if (strstr(type, ".delta") != NULL) {
        check_delta(g, event, true);
    } else if (strncmp(type, "response.image_generation_call.", 31) == 0) {
        check_place(g, event);
    } else if (strcmp(type, "response.completed") == 0 ||
               strcmp(type, "response.incomplete") == 0 || strcmp(type, "response.failed") == 0) {
        check_end(g, event, type + strlen("response."));
    } else {
        NEED(strcmp(type, "error") == 0 && yyjson_is_str(yyjson_obj_get(event, "message")));
    }
}

static void end(struct llm_frames *frames)
{
    struct grammar *g = CONTAINER_OF(frames, struct grammar, frames);
    yyjson_doc *doc = yyjson_read(g->data.ptr, g->data.len, 0);
    yyjson_val *event = yyjson_doc_get_root(doc);
    NEED(buf_ok(&g->data) && yyjson_is_obj(event));
    NEED(str_index(buf_str(&g->data), '\n') < 0);
    NEED(!g->has_ended);
    NEED(number(event, "sequence_number") == g->events);
    const char *type = string(event, "type");
    NEED(str_eq(str_c(type), buf_str(&g->type)));
    check_type(g, type, event);
    g->events++;
    buf_printf(&g->stream, "event: %s\ndata: ", type);
    buf_add_str(&g->stream, buf_str(&g->data));
    BUF_LIT(&g->stream, "\n\n");
    yyjson_doc_free(doc);
}

void grammar_init(struct grammar *grammar, const char *name)
{
    *grammar = (struct grammar){.frames = {begin, end}, .name = name};
}

void grammar_end(struct grammar *g)
{
    NEED(g->has_ended);
}

void grammar_fini(struct grammar *grammar)
{
    buf_fini(&grammar->stream);
    buf_fini(&grammar->data);
    buf_fini(&grammar->type);
    buf_fini(&grammar->last);
    buf_fini(&grammar->text);
}
