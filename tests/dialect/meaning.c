#include "meaning.h"

#include <yyjson.h>

/* As JSON has it without its quotes: one line whatever the text. */
static void add_text(struct buf *out, struct text text)
{
    struct arena *arena = arena_new(1024);
    struct str plain = text_or(arena, text, STR_EMPTY);
    struct buf quoted = BUF_INIT;
    text_write_inside(&quoted, text_plain(plain));
    buf_add_str(out, buf_str(&quoted));
    buf_fini(&quoted);
    arena_free(arena);
}

/* Without white space. */
static void add_json(struct buf *out, struct str json)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NUMBER_AS_RAW);
    size_t len = 0;
    char *text = doc != NULL ? yyjson_write(doc, 0, &len) : NULL;
    if (text != NULL)
        buf_add(out, text, len);
    else
        buf_add_str(out, json);
    free(text);
    yyjson_doc_free(doc);
}

static void add_arguments(struct buf *out, struct text arguments)
{
    struct arena *arena = arena_new(1024);
    struct str plain = str_trim(text_or(arena, arguments, STR_EMPTY));
    add_json(out, plain.len > 0 ? plain : STR("{}"));
    arena_free(arena);
}

static void add_line(struct buf *out, const char *word, struct text text)
{
    if (text_is_empty(text))
        return;
    buf_printf(out, "%s ", word);
    add_text(out, text);
    buf_add_char(out, '\n');
}

static void add_raw(struct buf *out, const char *word, struct str raw)
{
    if (raw.len == 0)
        return;
    buf_printf(out, "%s ", word);
    add_json(out, raw);
    buf_add_char(out, '\n');
}

static void add_media(struct buf *out, const char *word, const struct llm_block *block)
{
    const struct llm_media *media = &block->media;
    buf_printf(out, "%s ", word);
    add_text(out, media->type);
    buf_add_char(out, ' ');
    if (text_is_some(media->data))
        add_text(out, media->data);
    else if (text_is_some(media->url))
        add_text(out, media->url);
    else
        add_text(out, media->file_id);
    buf_add_char(out, '\n');
}

static void add_blocks(struct buf *out, const char *role, const struct llm_block *blocks)
{
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        switch (b->kind) {
        case BLOCK_TEXT:
            add_line(out, role, b->text);
            break;
        case BLOCK_REFUSAL:
            add_line(out, "refusal", b->text);
            break;
        case BLOCK_THINKING:
            add_line(out, "thinking", b->text);
            break;
        case BLOCK_IMAGE:
            add_media(out, "image", b);
            break;
        case BLOCK_AUDIO:
            add_media(out, "audio", b);
            break;
        case BLOCK_VIDEO:
            add_media(out, "video", b);
            break;
        case BLOCK_DOCUMENT:
            /* A document of words may be said in words. */
            if (text_is_some(b->text))
                add_line(out, role, b->text);
            else
                add_media(out, "document", b);
            break;
        case BLOCK_TOOL_CALL:
            BUF_LIT(out, "call ");
            add_text(out, b->name);
            buf_add_char(out, ' ');
            add_arguments(out, b->arguments);
            buf_add_char(out, '\n');
            break;
        case BLOCK_TOOL_RESULT:
            add_blocks(out, "result", b->blocks);
            break;
        case BLOCK_OPAQUE:
            BUF_LIT(out, "opaque\n");
            break;
        }
    }
}

static void add_tools(const struct llm_request *r, struct buf *out)
{
    static const char *const choices[] = {[TOOL_CHOICE_UNSET] = NULL,
                                          [TOOL_CHOICE_AUTO] = NULL, /* what it is untold */
                                          [TOOL_CHOICE_NONE] = "none",
                                          [TOOL_CHOICE_REQUIRED] = "required",
                                          [TOOL_CHOICE_NAMED] = "named"};
    for (const struct llm_tool *tool = r->tools; tool != NULL; tool = tool->next) {
        BUF_LIT(out, "tool ");
        add_text(out, tool->name);
        buf_add_char(out, ' ');
        add_text(out, tool->description);
        buf_add_char(out, ' ');
        add_json(out, tool->schema);
        buf_add_char(out, '\n');
    }
    if (choices[r->tool_choice] != NULL)
        buf_printf(out, "tool_choice %s\n", choices[r->tool_choice]);
    if (r->parallel_tools == TRI_NO)
        BUF_LIT(out, "parallel_tools no\n");
}

void meaning_of_request(const struct llm_request *r, struct buf *out)
{
    static const char *const roles[] = {[ROLE_USER] = "user",
                                        [ROLE_ASSISTANT] = "assistant",
                                        [ROLE_SYSTEM] = "system",
                                        [ROLE_DEVELOPER] = "system",
                                        [ROLE_TOOL] = "tool"};
    const struct {
        const char *name;
        struct str number;
    } numbers[] = {{"max_tokens", r->max_tokens},
                   {"temperature", r->temperature},
                   {"top_p", r->top_p},
                   {"top_k", r->top_k},
                   {"seed", r->seed},
                   {"n", r->n}};
    add_blocks(out, "system", r->system);
    for (const struct llm_message *m = r->messages; m != NULL; m = m->next)
        add_blocks(out, roles[m->role], m->blocks);
    add_tools(r, out);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        add_raw(out, numbers[i].name, numbers[i].number);
    for (const struct llm_name *stop = r->stop; stop != NULL; stop = stop->next)
        add_line(out, "stop", stop->text);
    if (r->format.kind == FORMAT_JSON_OBJECT)
        BUF_LIT(out, "format any object\n");
    if (r->format.kind == FORMAT_JSON_SCHEMA)
        add_raw(out, "format", r->format.schema);
    if (r->reasoning.mode == REASONING_ON || r->reasoning.mode == REASONING_ADAPTIVE)
        BUF_LIT(out, "reasoning on\n");
    if (r->is_stream)
        BUF_LIT(out, "stream\n");
}

void meaning_of_answer(const struct llm_answer *answer, struct buf *out)
{
    for (const struct llm_choice *c = answer->choices; c != NULL; c = c->next) {
        add_blocks(out, "text", c->blocks);
        if (c->is_finished)
            buf_printf(out, "finish %s\n", llm_finish_names[c->finish]);
    }
    if (token_usage_input_total(&answer->usage) >= 0)
        buf_printf(out, "usage %lld %lld\n", (long long)token_usage_input_total(&answer->usage),
                   (long long)answer->usage.output);
    if (answer->usage.cache_read > 0)
        buf_printf(out, "cached %lld\n", (long long)answer->usage.cache_read);
    if (answer->is_error)
        buf_printf(out, "error %s\n", llm_error_kind_names[answer->error.kind]);
}

void meaning_missing(struct str a, struct str b, meaning_fn *fn, void *ctx)
{
    struct str rest = a, line;
    while (str_next(&rest, '\n', &line)) {
        struct str others = b, other;
        bool found = line.len == 0;
        while (!found && str_next(&others, '\n', &other))
            found = str_eq(line, other);
        if (!found)
            fn(line, ctx);
    }
}
