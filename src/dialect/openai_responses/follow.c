#include "dialect/openai_responses/encoder.h"

/*
 * Takes over a stream that another has begun: the ids, indexes and numbers that the client knows,
 * finished items as they were, and the text of what is open. What is over is kept in the provider's
 * own words, for the response object at the end.
 */

struct followed {
    struct llm_encoder *e;
    struct str data;
};

static struct json_value member(struct str object, const char *path)
{
    struct json_value value;
    return json_find(object, path, &value) ? value : (struct json_value){JSON_NONE, STR_EMPTY};
}

static unsigned number(const struct followed *f, const char *name)
{
    int64_t n;
    struct json_value value = member(f->data, name);
    return json_number_i64(value, &n) && n >= 0 && n < INT32_MAX ? (unsigned)n : 0;
}

static struct text kept(struct llm_encoder *e, struct json_value value)
{
    return text_dup(e->arena, text_of(value));
}

static struct str kept_plain(struct llm_encoder *e, struct json_value value)
{
    struct str plain = text_or(e->arena, text_of(value), STR_EMPTY);
    return arena_dup(e->arena, plain);
}

static void add_element(struct buf *list, struct str raw)
{
    if (list->len > 0)
        buf_add_char(list, ',');
    buf_add_str(list, raw);
}

static void open_block(struct llm_encoder *e, enum llm_block_kind kind)
{
    e->is_open = true;
    e->kind = kind;
    e->has_part = e->is_custom = e->is_redacted = false;
    e->ends_told = e->summary_index = e->annotation_count = 0;
    buf_clear(&e->text);
    buf_clear(&e->annotations);
    buf_clear(&e->logprobs);
    buf_clear(&e->signature);
    buf_clear(&e->summaries);
}

/* --- the events --- */

static void on_response(struct followed *f)
{
    struct llm_encoder *e = f->e;
    struct str response = member(f->data, "response").text;
    struct json_value id = member(response, "id"), model = member(response, "model"),
                      tier = member(response, "service_tier");
    int64_t created_s;
    e->has_started = true;
    if (id.kind == JSON_STRING)
        e->id = kept_plain(e, id);
    if (model.kind == JSON_STRING)
        e->model = kept(e, model);
    if (tier.kind == JSON_STRING)
        e->service_tier = kept(e, tier);
    if (json_number_i64(member(response, "created_at"), &created_s))
        e->created_s = created_s;
}

static void on_item_added(struct followed *f)
{
    struct llm_encoder *e = f->e;
    struct str item = member(f->data, "item").text;
    struct str type = json_string_raw(member(item, "type"));
    bool is_custom = str_eq(type, STR("custom_tool_call"));
    e->is_in_message = e->is_open = e->has_other = false;
    e->index = number(f, "output_index");
    e->items = e->index + 1;
    if (str_eq(type, STR("message"))) {
        e->is_in_message = true;
        e->message_index = e->index;
        e->message_id = kept_plain(e, member(item, "id"));
        e->part_count = 0;
        buf_clear(&e->parts);
        return;
    }
    if (str_eq(type, STR("reasoning"))) {
        open_block(e, BLOCK_THINKING);
    } else if (str_eq(type, STR("function_call")) || is_custom) {
        open_block(e, BLOCK_TOOL_CALL);
        e->is_custom = is_custom;
        e->call_id = kept(e, member(item, "call_id"));
        e->name = kept(e, member(item, "name"));
    } else {
        e->has_other = true;
    }
    e->item_id = kept_plain(e, member(item, "id"));
}

static void on_item_done(struct followed *f)
{
    struct llm_encoder *e = f->e;
    add_element(&e->output, member(f->data, "item").text);
    e->items = MAX(e->items, number(f, "output_index") + 1);
    e->is_in_message = e->is_open = e->has_other = false;
}

static void on_part_added(struct followed *f)
{
    struct llm_encoder *e = f->e;
    struct str type = json_string_raw(member(f->data, "part.type"));
    bool is_refusal = str_eq(type, STR("refusal"));
    if (!e->is_in_message)
        return; /* a thought's: its words come as deltas */
    if (!is_refusal && !str_eq(type, STR("output_text"))) {
        e->has_other = true;
        return;
    }
    e->part_count = number(f, "content_index");
    e->has_refusal = e->has_refusal || is_refusal;
    open_block(e, is_refusal ? BLOCK_REFUSAL : BLOCK_TEXT);
}

static void on_part_done(struct followed *f)
{
    struct llm_encoder *e = f->e;
    if (!e->is_in_message)
        return;
    add_element(&e->parts, member(f->data, "part").text);
    e->part_count = number(f, "content_index") + 1;
    e->is_open = e->has_other = false;
}

static void on_delta(struct followed *f)
{
    text_write_inside(&f->e->text, text_of(member(f->data, "delta")));
}

static void on_whole(struct followed *f)
{
    static const char *const names[] = {"text", "refusal", "arguments", "input"};
    f->e->ends_told = 1;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct json_value whole = member(f->data, names[i]);
        if (whole.kind != JSON_STRING)
            continue;
        buf_clear(&f->e->text);
        text_write_inside(&f->e->text, text_of(whole));
    }
}

static void on_annotation(struct followed *f)
{
    add_element(&f->e->annotations, member(f->data, "annotation").text);
    f->e->annotation_count++;
}

static void on_summary_added(struct followed *f)
{
    struct llm_encoder *e = f->e;
    e->has_part = true;
    e->ends_told = 0;
    e->summary_index = number(f, "summary_index");
    buf_clear(&e->text);
}

static void on_summary_done(struct followed *f)
{
    struct llm_encoder *e = f->e;
    add_element(&e->summaries, member(f->data, "part").text);
    e->has_part = false;
    buf_clear(&e->text);
}

static const struct {
    const char *type;
    void (*follow)(struct followed *f);
} followers[] = {
    {"response.output_text.delta", on_delta},
    {"response.function_call_arguments.delta", on_delta},
    {"response.reasoning_summary_text.delta", on_delta},
    {"response.refusal.delta", on_delta},
    {"response.custom_tool_call_input.delta", on_delta},
    {"response.created", on_response},
    {"response.in_progress", on_response},
    {"response.output_item.added", on_item_added},
    {"response.output_item.done", on_item_done},
    {"response.content_part.added", on_part_added},
    {"response.content_part.done", on_part_done},
    {"response.output_text.done", on_whole},
    {"response.refusal.done", on_whole},
    {"response.function_call_arguments.done", on_whole},
    {"response.custom_tool_call_input.done", on_whole},
    {"response.reasoning_summary_text.done", on_whole},
    {"response.output_text.annotation.added", on_annotation},
    {"response.reasoning_summary_part.added", on_summary_added},
    {"response.reasoning_summary_part.done", on_summary_done},
};

/* Who numbers no events has them counted. */
static void follow_number(struct llm_encoder *e, struct str data)
{
    int64_t n;
    if (json_number_i64(member(data, "sequence_number"), &n) && n >= 0)
        e->sequence = (uint64_t)n + 1;
    else if (str_starts(json_string_raw(member(data, "type")), STR("response.")))
        e->sequence++;
}

int responses_encoder_pass(struct llm_encoder *e, struct str type, struct str data)
{
    struct followed f = {e, data};
    (void)type;
    follow_number(e, data);
    if (!e->has_response && member(data, "response").kind == JSON_OBJECT) {
        e->has_response = true;
        on_response(&f);
    }
    /* Whatever came first, it is too late for a beginning. */
    e->has_started = true;
    return e->id.ptr != NULL ? 0 : responses_no_memory();
}

int responses_encoder_follow(struct llm_encoder *e, struct str type, struct str data)
{
    struct followed f = {e, data};
    struct json_value told = member(data, "type");
    if (told.kind == JSON_STRING)
        type = json_string_raw(told);
    follow_number(e, data);
    for (size_t i = 0; i < ARRAY_LEN(followers); i++) {
        if (str_eq(type, str_c(followers[i].type))) {
            followers[i].follow(&f);
            break;
        }
    }
    bool is_whole = buf_ok(&e->output) && buf_ok(&e->parts) && buf_ok(&e->text) &&
                    buf_ok(&e->annotations) && buf_ok(&e->summaries) && e->id.ptr != NULL;
    return is_whole ? e->has_other : responses_no_memory();
}
