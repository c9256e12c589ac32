#include "gateway/count_tokens.h"

#include "dialect/anthropic/count.h"
#include "dialect/gemini/count.h"
#include "dialect/signature.h"
#include "gateway/operation.h"
#include "gateway/relay_stream.h"

/* Dialects that have an endpoint for it. */
struct counter {
    int (*read_request)(struct str body, struct arena *arena, struct llm_request *request);
    int (*write_request)(struct llm_request *request, const struct llm_target *target,
                         struct arena *arena, struct llm_notes *notes, struct buf *out);
    int (*read_count)(struct str body, int64_t *tokens);
    const char *member; /* of the answer */
};

static int read_anthropic(struct str body, struct arena *arena, struct llm_request *request)
{
    return anthropic_dialect.read_request(body, arena, request);
}

static const struct counter counters[DIALECT_COUNT] = {
    [DIALECT_ANTHROPIC] = {read_anthropic, anthropic_write_count_request, anthropic_read_count,
                           "input_tokens"},
    [DIALECT_GEMINI] = {gemini_read_count_request, gemini_write_count_request, gemini_read_count,
                        "totalTokens"},
};

/* --- the estimate --- */

enum {
    TOKENS_A_MESSAGE = 4,
    TOKENS_A_TOOL = 12,
    TOKENS_AN_IMAGE = 1200,
    BYTES_A_TOKEN = 4,
    MEDIA_BYTES_A_TOKEN = 64, /* of base64: a page of a PDF is some 50 KB and 1,500 tokens */
};

static uint64_t tokens_of(struct str s)
{
    uint64_t quarters = 0;
    for (size_t i = 0; i < s.len; i++) {
        /* A letter of another script is two or three bytes and about one token. */
        unsigned char c = (unsigned char)s.ptr[i];
        quarters += c < 0x80 ? 4 / BYTES_A_TOKEN : c >= 0xc0 ? 3 : 0;
    }
    return (quarters + 3) / 4;
}

static uint64_t tokens_of_blocks(const struct llm_block *block)
{
    uint64_t sum = 0;
    for (; block != NULL; block = block->next) {
        sum += tokens_of(block->text.s) + tokens_of(block->name.s) + tokens_of(block->arguments.s);
        /* Elsewhere `raw` repeats what the other fields say. */
        if (block->kind == BLOCK_OPAQUE)
            sum += tokens_of(block->raw);
        if (block->kind == BLOCK_IMAGE)
            sum += TOKENS_AN_IMAGE;
        else
            sum += block->media.data.s.len / MEDIA_BYTES_A_TOKEN;
        if (block->blocks != NULL)
            sum += tokens_of_blocks(block->blocks);
    }
    return sum;
}

uint64_t count_tokens_estimate(const struct llm_request *request)
{
    uint64_t sum = tokens_of_blocks(request->system);
    for (const struct llm_message *m = request->messages; m != NULL; m = m->next)
        sum += TOKENS_A_MESSAGE + tokens_of_blocks(m->blocks);
    for (const struct llm_tool *t = request->tools; t != NULL; t = t->next)
        sum += TOKENS_A_TOOL + tokens_of(t->name.s) + tokens_of(t->description.s) +
               tokens_of(t->schema) + (t->kind == TOOL_BUILTIN ? tokens_of(t->raw) : 0);
    return sum + tokens_of(request->format.schema);
}

/* --- the answer --- */

YIELDS static void answer(struct exchange *ex, uint64_t tokens, bool is_estimate)
{
    struct buf out = BUF_INIT;
    buf_printf(&out, "{\"%s\":%llu%s}", counters[ex->operation->dialect].member,
               (unsigned long long)tokens, is_estimate ? ",\"estimated\":true" : "");
    if (buf_ok(&out)) {
        if (is_estimate)
            exchange_answer_header(ex, STR("x-weir-estimated"), STR("true"));
        exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
        exchange_add_own_headers(ex);
        http_respond(ex->http, 200, &ex->answer, buf_str(&out));
    } else {
        refuse_no_memory(ex);
    }
    buf_fini(&out);
}

/* Asks the target in its own dialect. */
YIELDS static void count_there(struct exchange *ex, struct llm_request *request,
                               const struct counter *counter)
{
    struct buf dropped = BUF_INIT, supplied = BUF_INIT, kept = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    struct str body;
    int64_t tokens = 0;
    ex->is_rewritten = true;
    ex->record.upstream_dialect = str_c(ex->provider->name);
    signature_settle(request);
    signature_strip(request, ex->provider->id, true, &notes);
    int r = counter->write_request(request, &ex->llm_target, ex->arena, &notes, &ex->rewritten);
    buf_fini(&dropped);
    buf_fini(&supplied);
    if (r < 0) {
        refuse(ex, REFUSE_BODY, STR_EMPTY, "%s", err_slot()->message);
        return;
    }
    if (exchange_attempt(ex) < 0)
        return;
    if (ex->call.head.status != 200) {
        exchange_relay(ex);
        return;
    }
    r = relay_read_whole(ex, &kept, &body);
    if (r < 0)
        relay_refuse_broken(ex, r);
    else if (counter->read_count(body, &tokens) < 0 || tokens < 0)
        refuse(ex, REFUSE_UPSTREAM_BROKEN, STR_EMPTY, "%.*s did not answer with a count.",
               STR_ARG(ex->record.provider));
    else
        answer(ex, (uint64_t)tokens, false);
    buf_fini(&kept);
}

YIELDS void count_tokens_run(struct exchange *ex)
{
    const struct counter *client = &counters[ex->operation->dialect];
    struct llm_request request = {0};
    if (exchange_read_body(ex) < 0 || exchange_scan(ex) < 0 || exchange_plan(ex) < 0)
        return;
    const struct provider *p = ex->upstream->provider;
    const struct counter *there = &counters[p->dialect];
    bool is_offered = p->paths[OPERATION_COUNT_TOKENS].len > 0 && there->write_request != NULL;
    if (is_offered && p->dialect == ex->operation->dialect) {
        if (exchange_prepare(ex) == 0 && exchange_attempt(ex) == 0)
            exchange_relay(ex);
        return;
    }
    if (client->read_request(buf_str(&ex->body), ex->arena, &request) < 0) {
        refuse(ex, REFUSE_BODY, STR_EMPTY, "%s", err_slot()->message);
        return;
    }
    if (!is_offered) {
        answer(ex, count_tokens_estimate(&request), true);
        return;
    }
    exchange_set_target(ex);
    ex->upstream_path = upstream_target(ex->upstream, ex->key_index, ex->head_arena,
                                        OPERATION_COUNT_TOKENS, ex->target.model);
    if (ex->upstream_path.ptr == NULL)
        refuse_no_memory(ex);
    else
        count_there(ex, &request, there);
}
