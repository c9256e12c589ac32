#include "base/err.h"
#include "stream/continuation_private.h"

/* How the next provider is asked for the rest, and how its answer is set on the client's stream. */

enum {
    ANCHOR_BYTES = 96,       /* of the last words, at least */
    ANCHOR_SLACK_BYTES = 32, /* more, to begin with a word */
    ANCHOR_BYTES_MAX = 1024, /* where fewer occur twice */
};

/* --- the anchor --- */

/* Whether the last words from `start` on stand anywhere before. */
static bool occurs_before(struct str text, size_t start)
{
    struct str words = str_skip(text, start);
    return str_find(str_head(text, text.len - 1), words) >= 0;
}

static size_t word_start(struct str text, size_t at)
{
    size_t lowest = at > ANCHOR_SLACK_BYTES ? at - ANCHOR_SLACK_BYTES : 0;
    for (size_t i = at; i > lowest; i--) {
        if (text.ptr[i - 1] == ' ' || text.ptr[i - 1] == '\n')
            return i;
    }
    while (at > 0 && ((unsigned char)text.ptr[at] & 0xc0) == 0x80)
        at--; /* no blank near (Chinese): a whole character will do */
    return at;
}

static void choose_anchor(struct continuation *c)
{
    struct str text = str_head(buf_str(&c->text), c->text_sound);
    size_t start = 0;
    for (size_t len = ANCHOR_BYTES; len <= ANCHOR_BYTES_MAX; len *= 2) {
        start = text.len > len + ANCHOR_SLACK_BYTES ? word_start(text, text.len - len) : 0;
        if (start == 0 || !occurs_before(text, start))
            break;
    }
    c->anchor = str_skip(text, start);
    c->is_anchor_unique = text.len > 0 && !occurs_before(text, start);
}

/* --- the request --- */

static bool is_one(struct str number)
{
    double n;
    return number.len == 0 || (llm_number(number, &n) && n == 1.0);
}

static int refuse(struct continuation *c, const char *reason)
{
    c->reason = reason;
    c->verdict = CONTINUATION_CANNOT;
    return err_set(ERR_INVALID, FAULT_CLIENT, "The answer cannot be gone on with: %s.", reason);
}

/* Whether the target goes on with a last message of the assistant, as far as is known. Claude takes
 * no prefill while it thinks: then it must be possible to say that it shall not. */
static bool takes_prefill(const struct llm_request *request, const struct dialect *provider,
                          const struct llm_target *target)
{
    const struct llm_traits *traits = target->traits;
    bool thinks = request->reasoning.mode == REASONING_ON ||
                  request->reasoning.mode == REASONING_ADAPTIVE ||
                  traits->thinking == THINKING_ADAPTIVE;
    if (thinks && traits->takes_thinking_off == TRI_NO)
        return false;
    if (provider->id == DIALECT_OPENAI_CHAT)
        return target->quirks->prefill != PREFILL_NONE && traits->takes_prefill != TRI_NO;
    return traits->takes_prefill == TRI_YES;
}

static struct llm_block *add_text(struct arena *arena, struct llm_message *message, struct str text)
{
    struct llm_block *block =
        message != NULL ? llm_block_add(arena, &message->blocks, BLOCK_TEXT) : NULL;
    if (block != NULL)
        block->text = text_plain(text);
    return block != NULL && text.ptr != NULL ? block : NULL;
}

/* The partial answer as a last message; behind what the client had begun it with, where it did. */
static bool add_partial(struct continuation *c, struct llm_request *request, struct arena *arena)
{
    struct llm_message *last = request->last_message;
    struct str partial = str_head(buf_str(&c->text), c->text_sound);
    bool is_begun = last != NULL && last->role == ROLE_ASSISTANT && last->blocks != NULL &&
                    llm_blocks_are_text(last->blocks);
    if (!is_begun) {
        last = llm_message_add(arena, request, ROLE_ASSISTANT);
        return add_text(arena, last, arena_dup(arena, partial)) != NULL;
    }
    struct buf whole = BUF_INIT;
    bool ok = true;
    for (const struct llm_block *b = last->blocks; b != NULL; b = b->next)
        ok = ok && text_append_plain(&whole, b->text) == 0;
    buf_add_str(&whole, partial);
    struct str text = ok && buf_ok(&whole) ? arena_dup(arena, buf_str(&whole)) : STR_EMPTY;
    buf_fini(&whole);
    last->blocks = NULL;
    return add_text(arena, last, text) != NULL;
}

static bool add_instruction(struct continuation *c, struct llm_request *request,
                            struct arena *arena)
{
    struct str parts[] = {
        STR("Your last message broke off because of a technical fault. Write the rest of it now. "
            "Begin with its last words, exactly as they stand between the tags below, and go on "
            "from there as if nothing had happened. Repeat nothing that comes before them, do not "
            "comment on this, and do not write the tags.\n<last_words>"),
        c->anchor,
        STR("</last_words>"),
    };
    struct str text = arena_concat(arena, parts, ARRAY_LEN(parts));
    return add_text(arena, llm_message_add(arena, request, ROLE_USER), text) != NULL;
}

static int amend(struct llm_amend *self, struct llm_request *request,
                 const struct dialect *provider, const struct llm_target *target,
                 struct arena *arena)
{
    struct continuation *c = CONTAINER_OF(self, struct continuation, amend);
    enum llm_format format = request->format.kind;
    c->demands_form = format == FORMAT_JSON_OBJECT || format == FORMAT_JSON_SCHEMA;
    c->is_prefilled = false;
    c->path = c->anchor = STR_EMPTY;
    if (!is_one(request->n))
        return refuse(c, "several choices were asked for");
    if (request->logprobs == TRI_YES && c->verdict != CONTINUATION_REPLAY)
        return refuse(c, "probabilities of tokens were asked for");
    if (c->verdict == CONTINUATION_TEXT && c->demands_form)
        c->verdict = CONTINUATION_REPEAT;
    if (c->verdict == CONTINUATION_REPEAT && c->half.len > 0)
        return refuse(c, "it was cut within a character");
    if (c->verdict != CONTINUATION_TEXT || c->text_sound == 0)
        return 0;
    choose_anchor(c);
    c->is_prefilled = takes_prefill(request, provider, target);
    bool ok = add_partial(c, request, arena);
    if (c->is_prefilled) {
        request->continues_last = true;
        if (request->reasoning.mode != REASONING_UNSET)
            request->reasoning = (struct llm_reasoning){.mode = REASONING_OFF};
        if (provider->id == DIALECT_OPENAI_CHAT)
            c->path = target->quirks->prefill_path;
    } else {
        ok = ok && add_instruction(c, request, arena);
    }
    c->echoes_prefix = c->is_prefilled && provider->id == DIALECT_OPENAI_CHAT &&
                       target->quirks->prefill == PREFILL_PREFIX_ECHOED;
    return ok ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory while going on");
}

int continuation_request(struct continuation *c, struct translation *translation,
                         const struct dialect *provider, const struct llm_target *target,
                         struct buf *out)
{
    bool can = c->verdict == CONTINUATION_REPLAY || c->verdict == CONTINUATION_TEXT ||
               c->verdict == CONTINUATION_REPEAT;
    if (!can)
        return refuse(c, c->reason != NULL ? c->reason : "it is over");
    c->amend.amend = amend;
    translation->amend = &c->amend;
    int r = translation_write_request(translation, provider, target, out);
    translation->amend = NULL;
    return r;
}

/* --- the answer --- */

int continuation_start(struct continuation *c, struct translation *translation)
{
    bool repeats = c->verdict == CONTINUATION_REPEAT;
    c->codec.request = translation->settings.request;
    c->awaited = repeats ? continuation_awaited(c, c->blocks) : NULL;
    if (c->awaited != NULL && c->awaited->kind == BLOCK_TEXT)
        c->awaited->plain = buf_str(&c->text); /* of all its blocks */
    c->is_joined = c->awaited == NULL && c->text.len == 0 && c->half.len == 0;
    c->sink.event = continuation_join;
    c->next = translation_resume(translation, c->encoder, c->encoder_arena, &c->sink, c->has_begun);
    c->encoder_arena = NULL;
    return 0;
}

int continuation_complete(struct continuation *c, struct llm_frames *frames)
{
    struct llm_event event = llm_event_make(EVENT_DONE);
    return c->client->encode(c->encoder, &event, frames);
}

int continuation_fail(struct continuation *c, const struct llm_error *error,
                      struct llm_frames *frames)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    event.error = *error;
    if (c->verdict == CONTINUATION_OVER)
        return 0;
    return c->client->encode(c->encoder, &event, frames);
}

static int64_t add_told(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 ? a : a + b;
}

struct token_usage continuation_add_usage(const struct token_usage *a, const struct token_usage *b)
{
    struct token_usage x = *a, y = *b;
    if (x.input < 0)
        x.input_includes_cached = y.input_includes_cached;
    if (y.input < 0)
        y.input_includes_cached = x.input_includes_cached;
    if (x.input_includes_cached != y.input_includes_cached) {
        struct token_usage *wide = x.input_includes_cached ? &x : &y;
        if (wide->input >= 0)
            wide->input = token_usage_input_fresh(wide);
        wide->input_includes_cached = false;
    }
    return (struct token_usage){
        .input = add_told(x.input, y.input),
        .output = add_told(x.output, y.output),
        .reasoning = add_told(x.reasoning, y.reasoning),
        .cache_read = add_told(x.cache_read, y.cache_read),
        .cache_write_5m = add_told(x.cache_write_5m, y.cache_write_5m),
        .cache_write_1h = add_told(x.cache_write_1h, y.cache_write_1h),
        .audio_input = add_told(x.audio_input, y.audio_input),
        .audio_output = add_told(x.audio_output, y.audio_output),
        .image_input = add_told(x.image_input, y.image_input),
        .input_includes_cached = x.input_includes_cached && y.input_includes_cached,
        .is_partial = x.is_partial || y.is_partial,
    };
}

void continuation_fini(struct continuation *c)
{
    for (struct continuation_block *b = c->blocks; b != NULL; b = b->next)
        buf_fini(&b->inside);
    buf_fini(&c->text);
    buf_fini(&c->plain);
    buf_fini(&c->tail);
    arena_free(c->encoder_arena);
    arena_free(c->arena);
    *c = (struct continuation){.verdict = CONTINUATION_CANNOT};
}
