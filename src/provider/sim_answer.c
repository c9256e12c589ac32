#include "provider/sim_answer.h"

static const struct str lorem = STR_INIT(
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut "
    "labore et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco "
    "laboris nisi ut aliquip ex ea commodo consequat. Duis aute irure dolor in reprehenderit in "
    "voluptate velit esse cillum dolore eu fugiat nulla pariatur. Excepteur sint occaecat "
    "cupidatat non proident, sunt in culpa qui officia deserunt mollit anim id est laborum.");

static const struct str story = STR_INIT(
    "Below the old mill the river met a weir. All day it leaned against the stones, and all day "
    "the stones let it through: a little here, a little there, never more than the meadow could "
    "drink.\n\n"
    "One spring the snow went all at once. The river came down brown and loud and wanted to be "
    "everywhere. The miller's daughter opened one gate, then another, and sat down on the wall to "
    "watch.\n\n"
    "\"Aren't you afraid?\" asked the heron.\n\n"
    "\"It is the same water,\" she said. \"It only needs to be told where to go, one bucket after "
    "the other.\"\n\n"
    "In the evening the river was tired and clear. Not a drop was lost, and the meadow was green "
    "down to the last blade of grass.");

enum { LOREM_TOKENS = 50, PROBE_TOKENS = 50 };

/* As many tokens of the text as wanted, from its beginning again when it is used up. */
static struct str repeat(struct arena *arena, struct str text, uint64_t tokens)
{
    struct buf out = BUF_INIT;
    struct str rest = text, token;
    for (uint64_t i = 0; i < tokens; i++) {
        if (!sim_next_token(&rest, &token)) {
            rest = text;
            sim_next_token(&rest, &token);
            buf_add_char(&out, ' ');
        }
        buf_add_str(&out, token);
    }
    struct str copy = buf_ok(&out) ? arena_dup(arena, buf_str(&out)) : STR_EMPTY;
    buf_fini(&out);
    return copy;
}

/* "1 2 3 ..." */
static struct str count_up(struct arena *arena, uint64_t tokens)
{
    struct buf out = BUF_INIT;
    for (uint64_t i = 1; i <= tokens; i++)
        buf_printf(&out, "%s%llu", i > 1 ? " " : "", (unsigned long long)i);
    struct str copy = buf_ok(&out) ? arena_dup(arena, buf_str(&out)) : STR_EMPTY;
    buf_fini(&out);
    return copy;
}

/* The first `max` tokens; *tokens gets how many there are. */
static struct str cut_at_tokens(struct str text, int64_t max, uint64_t *tokens)
{
    struct str rest = text, token;
    *tokens = 0;
    while ((max < 0 || *tokens < (uint64_t)max) && sim_next_token(&rest, &token))
        ++*tokens;
    return str_head(text, text.len - rest.len);
}

static struct str model_text(const struct sim_request *request, struct arena *arena)
{
    struct str text = request->model == SIM_STORY ? story : lorem;
    uint64_t tokens;
    if (request->model == SIM_ECHO) {
        text = cut_at_tokens(request->last_user, request->options.tokens, &tokens);
    } else if (request->model == SIM_TOOL) {
        text = request->tool_result.ptr == NULL
                   ? STR("I was offered no tool that I could call.")
                   : arena_printf(arena, "The tool answered: %.*s", STR_ARG(request->tool_result));
    } else if (request->model == SIM_PROBE) {
        int64_t wanted = request->options.tokens;
        return count_up(arena, wanted >= 0 ? (uint64_t)wanted : PROBE_TOKENS);
    } else if (request->options.tokens >= 0) {
        return repeat(arena, text, (uint64_t)request->options.tokens);
    } else if (request->model != SIM_STORY) {
        return repeat(arena, text, LOREM_TOKENS);
    }
    return text;
}

/* The text without what the first stop sequence and all after it. */
static struct str cut_at_stops(const struct sim_request *request, struct str text)
{
    for (unsigned i = 0; i < request->stop_count; i++) {
        ptrdiff_t at = str_find(text, request->stops[i]);
        if (at >= 0)
            text = str_head(text, (size_t)at);
    }
    return text;
}

/* Where the text was begun already, what is left of it, from the anchor on. Another text than ours
 * cannot be gone on with. */
static struct str rest_of(const struct sim_request *request, struct str text)
{
    if (request->begun.ptr == NULL || !str_starts(text, request->begun) ||
        !str_ends(request->begun, request->anchor))
        return text;
    return str_skip(text, request->begun.len - request->anchor.len);
}

static struct str json_text(const struct sim_request *request, struct arena *arena,
                            struct str schema)
{
    struct buf out = BUF_INIT;
    if (schema.ptr != NULL) {
        sim_schema_instance(&out, schema);
    } else {
        BUF_LIT(&out, "{\"text\": ");
        buf_add_json(&out, model_text(request, arena));
        buf_add_char(&out, '}');
    }
    struct str copy = buf_ok(&out) ? arena_dup(arena, buf_str(&out)) : STR_EMPTY;
    buf_fini(&out);
    return copy;
}

bool sim_answer_make(const struct sim_request *request, struct arena *arena,
                     struct sim_answer *answer)
{
    *answer = (struct sim_answer){.finish = "stop"};
    struct str text;
    if (request->tool_name.ptr != NULL) {
        answer->is_tool_call = true;
        answer->finish = "tool_calls";
        text = json_text(request, arena,
                         request->tool_schema.len > 0 ? request->tool_schema : STR("{}"));
    } else if (request->format == SIM_FORMAT_TEXT) {
        text = model_text(request, arena);
    } else {
        text = json_text(request, arena, request->schema);
    }
    if (text.ptr == NULL)
        return false;
    if (!answer->is_tool_call)
        text = rest_of(request, cut_at_stops(request, text));
    answer->text = cut_at_tokens(text, request->max_tokens, &answer->tokens);
    if (answer->text.len < text.len)
        answer->finish = "length";
    return true;
}
