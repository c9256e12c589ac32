#include "base/err.h"
#include "stream/continuation_private.h"

/*
 * Joins the new answer onto what was delivered. Events come in strict order, one block at a time.
 * Text is held until it is known where its new part begins; what must be repeated is compared and
 * dropped; from there on all is passed, under the client's indexes.
 */

enum {
    SEARCH_BYTES = 2048,     /* the anchor must begin within so many */
    SHORT_ANCHOR_BYTES = 24, /* shorter ones may stand anywhere by chance */
    ECHO_BYTES_MIN = 48,     /* an unasked repetition is none when it is shorter */
    PREAMBLE_BYTES = 64,     /* looked at behind an anchor that words stand before */
};

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory while going on");
}

static int mismatch(const char *why)
{
    return err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                   "the new answer does not go on with what was delivered: %s", why);
}

/* --- to the client --- */

static int put_stop(struct continuation *c)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_STOP);
    event.block = c->index;
    c->is_open = false;
    return llm_sink_put(c->next, &event);
}

/* A thought that broke off has no signature. Claude's APIs refuse one without when it comes back:
 * it gets the mark of a stranger's, so that it is taken out before they see it. */
static int close_open(struct continuation *c)
{
    bool is_claude = c->client->id == DIALECT_ANTHROPIC || c->client->id == DIALECT_BEDROCK;
    int r = 0;
    if (!c->is_open)
        return 0;
    if (c->kind == BLOCK_THINKING && !c->is_signed && is_claude) {
        struct llm_event event = llm_event_make(EVENT_DELTA);
        event.block = c->index;
        event.delta = DELTA_SIGNATURE;
        event.signature = (struct llm_signature){TEXT_LIT("cut"), DIALECT_COHERE};
        r = llm_sink_put(c->next, &event);
    }
    return r == 0 ? put_stop(c) : r;
}

static int show(struct continuation *c, const struct llm_event *start)
{
    struct llm_event event = *start;
    int r = close_open(c);
    c->index = event.block = c->next_index++;
    c->kind = event.block_kind;
    c->is_open = true;
    c->is_signed = text_is_some(event.signature.data);
    return r == 0 ? llm_sink_put(c->next, &event) : r;
}

static int put_piece(struct continuation *c, enum llm_delta_kind kind, struct text text)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    event.block = c->index;
    event.delta = kind;
    event.text = text;
    return text_is_empty(text) ? 0 : llm_sink_put(c->next, &event);
}

static int put_text(struct continuation *c, struct text text)
{
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    int r = 0;
    start.block_kind = BLOCK_TEXT;
    if (text_is_empty(text))
        return 0;
    if (!c->is_open || c->kind != BLOCK_TEXT)
        r = show(c, &start);
    return r == 0 ? put_piece(c, DELTA_TEXT, text) : r;
}

/* --- where the new text begins --- */

/* Appends what can be told of a piece: half a surrogate pair waits for the other. */
static int add_plain(struct continuation *c, struct text piece)
{
    if (!piece.is_escaped) {
        buf_add_str(&c->plain, piece.s);
        return buf_ok(&c->plain) ? 0 : no_memory();
    }
    text_write_inside(&c->tail, piece);
    struct str inside = buf_str(&c->tail);
    struct str half = continuation_cut_half(&inside);
    int r = text_append_plain(&c->plain, (struct text){inside, true});
    buf_consume(&c->tail, c->tail.len - half.len);
    return r == 0 && buf_ok(&c->plain) && buf_ok(&c->tail) ? 0 : no_memory();
}

/* Where the text goes on, in the plain text that is held; or that more of it is needed; or that it
 * does not go on. */
enum place { PLACE_FOUND, PLACE_WAIT, PLACE_NONE };

/* Whether the new text, as far as it has come, is the old one from its beginning. */
static bool repeats_all(struct continuation *c)
{
    size_t n = MIN(c->plain.len, c->text_sound);
    if (c->is_different ||
        (n > c->seen && memcmp(c->plain.ptr + c->seen, c->text.ptr + c->seen, n - c->seen) != 0)) {
        c->is_different = true;
        return false;
    }
    c->seen = n;
    return true;
}

static enum place find_all(struct continuation *c, bool is_final, size_t *cut)
{
    if (!repeats_all(c))
        return PLACE_NONE;
    *cut = c->text_sound;
    return c->plain.len >= c->text_sound ? PLACE_FOUND : is_final ? PLACE_NONE : PLACE_WAIT;
}

/* The words, after `lead` bytes; or as much of them as has come. */
static enum place find_words(struct str plain, size_t lead, struct str words, bool is_final,
                             size_t *cut)
{
    struct str rest = str_skip(plain, lead);
    *cut = lead + words.len;
    if (str_starts(rest, words))
        return PLACE_FOUND;
    return !is_final && str_starts(words, rest) ? PLACE_WAIT : PLACE_NONE;
}

/* The beginning of the words comes again within them ("ha ha ha"): they prove nothing. */
static bool is_proof(struct str words)
{
    struct str head = str_head(words, words.len / 2);
    return words.len >= ECHO_BYTES_MIN && str_find(str_skip(words, 1), head) < 0;
}

/* Native prefill: text goes on at once, unless the provider gives back what it was given. */
static enum place find_prefilled(struct continuation *c, bool is_final, size_t *cut)
{
    struct str whole = str_head(buf_str(&c->text), c->text_sound);
    enum place place = PLACE_NONE;
    if (c->echoes_prefix || is_proof(str_head(whole, ECHO_BYTES_MIN)))
        place = find_all(c, is_final, cut);
    if (place == PLACE_NONE && is_proof(c->anchor))
        place = find_words(buf_str(&c->plain), 0, c->anchor, is_final, cut);
    if (place != PLACE_NONE)
        return place;
    *cut = 0;
    return PLACE_FOUND;
}

/* White space and quotes, which a model may put before the words it was told to begin with. */
static size_t lead_len(struct str plain)
{
    size_t n = 0;
    while (n < plain.len && plain.ptr[n] != '\0' && strchr(" \t\r\n\"'`", plain.ptr[n]) != NULL)
        n++;
    return n;
}

/* The last place of the words; -1 when they are not there. */
static ptrdiff_t find_last(struct str plain, struct str words)
{
    ptrdiff_t found = -1, next;
    size_t from = 0;
    while ((next = str_find(str_skip(plain, from), words)) >= 0) {
        found = (ptrdiff_t)from + next;
        from = (size_t)found + 1;
    }
    return found;
}

/* Words that are too few, or not only at the end of the old text, count at the beginning alone. */
static enum place find_leading(struct continuation *c, bool is_final, size_t *cut)
{
    struct str plain = buf_str(&c->plain);
    enum place place = find_words(plain, 0, c->anchor, is_final, cut);
    if (place == PLACE_NONE)
        place = find_words(plain, lead_len(plain), c->anchor, is_final, cut);
    return place == PLACE_NONE ? find_all(c, is_final, cut) : place;
}

static enum place find_anchor(struct continuation *c, bool is_final, size_t *cut)
{
    struct str plain = buf_str(&c->plain), whole = str_head(buf_str(&c->text), c->text_sound);
    if (!c->is_anchor_unique || c->anchor.len < SHORT_ANCHOR_BYTES)
        return find_leading(c, is_final, cut);
    enum place place = find_all(c, is_final, cut);
    if (place != PLACE_NONE)
        return place;
    ptrdiff_t at = str_find(plain, c->anchor);
    if (at < 0 || at > SEARCH_BYTES)
        return plain.len < SEARCH_BYTES + c->anchor.len && !is_final ? PLACE_WAIT : PLACE_NONE;
    *cut = (size_t)at + c->anchor.len;
    if (str_ends(whole, str_head(plain, *cut)) || (size_t)at <= lead_len(plain))
        return PLACE_FOUND;
    /* Words of its own stand before it: perhaps it is only spoken of, and comes again. */
    if (!is_final && plain.len < *cut + c->anchor.len + PREAMBLE_BYTES)
        return PLACE_WAIT;
    *cut = (size_t)find_last(plain, c->anchor) + c->anchor.len;
    return PLACE_FOUND;
}

/* White space that was delivered and comes again: dropped as far as it is the same. */
static enum place skip_space(const struct continuation *c, bool is_final, size_t *cut)
{
    struct str space = str_skip(buf_str(&c->text), c->text_sound);
    struct str rest = str_skip(buf_str(&c->plain), *cut);
    size_t n = 0;
    while (n < space.len && n < rest.len && space.ptr[n] == rest.ptr[n])
        n++;
    *cut += n;
    return n == rest.len && n < space.len && !is_final ? PLACE_WAIT : PLACE_FOUND;
}

/* A pair's first half was delivered: the new text must have a character that begins with it, of
 * which the second half is still owed. */
static int put_other_half(struct continuation *c, struct str *rest)
{
    const unsigned char *p = (const unsigned char *)rest->ptr;
    char owed[8];
    uint8_t first[2];
    if (c->half.len == 0)
        return 0;
    if (rest->len < 4 || p[0] < 0xf0 || !str_from_hex(str_skip(c->half, 2), first, sizeof(first)))
        return mismatch("it was cut within a character");
    uint32_t code = (uint32_t)(p[0] & 7) << 18 | (uint32_t)(p[1] & 63) << 12 |
                    (uint32_t)(p[2] & 63) << 6 | (p[3] & 63);
    code -= 0x10000;
    if ((0xd800 | code >> 10) != ((uint32_t)first[0] << 8 | first[1]))
        return mismatch("it was cut within a character");
    snprintf(owed, sizeof(owed), "\\u%04x", 0xdc00 | (code & 0x3ff));
    *rest = str_skip(*rest, 4);
    c->trimmed += 2;
    return put_text(c, (struct text){str_c(owed), true});
}

static int join_text(struct continuation *c, bool is_final)
{
    size_t cut = 0;
    enum place place = PLACE_FOUND;
    if (c->is_prefilled)
        place = find_prefilled(c, is_final, &cut);
    else if (c->anchor.len > 0)
        place = find_anchor(c, is_final, &cut);
    if (place == PLACE_FOUND)
        place = skip_space(c, is_final, &cut);
    struct str rest = str_skip(buf_str(&c->plain), cut);
    if (place == PLACE_FOUND && c->half.len > 0 && rest.len < 4 && !is_final)
        place = PLACE_WAIT;
    if (place == PLACE_WAIT)
        return 0;
    if (place == PLACE_NONE)
        return mismatch("it does not begin with the last words");
    c->trimmed += cut;
    c->is_joined = true;
    int r = put_other_half(c, &rest);
    if (r == 0)
        r = put_text(c, text_plain(rest));
    if (r == 0)
        r = put_text(c, (struct text){buf_str(&c->tail), true});
    return r;
}

static int take_text(struct continuation *c, struct text text)
{
    c->has_text = true;
    if (c->is_joined)
        return put_text(c, text);
    int r = add_plain(c, text);
    return r == 0 ? join_text(c, false) : r;
}

/* Nothing more of its text comes before something else does. */
static int join_at_last(struct continuation *c)
{
    if (c->is_joined)
        return 0;
    if (c->is_prefilled && c->has_thought && !c->has_text)
        return mismatch("it came as a thought");
    return join_text(c, true);
}

/* --- what must come again --- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void track(struct continuation *c, char ch)
{
    if (!c->in_string)
        c->in_string = ch == '"';
    else if (c->after_backslash)
        c->after_backslash = false;
    else if (ch == '\\')
        c->after_backslash = true;
    else
        c->in_string = ch != '"';
}

/* Compares the next piece with what is awaited; *piece is what comes after it. White space between
 * the tokens of arguments says nothing. */
static bool compare(struct continuation *c, struct str *piece)
{
    struct str awaited = c->awaited->plain;
    bool is_json = c->awaited->kind == BLOCK_TOOL_CALL;
    size_t i = 0;
    for (;;) {
        bool is_loose = is_json && !c->in_string;
        while (is_loose && c->seen < awaited.len && is_space(awaited.ptr[c->seen]))
            c->seen++;
        if (c->seen == awaited.len)
            break;
        while (is_loose && i < piece->len && is_space(piece->ptr[i]))
            i++;
        if (i == piece->len)
            break;
        if (piece->ptr[i] != awaited.ptr[c->seen])
            return false;
        track(c, piece->ptr[i]);
        i++;
        c->seen++;
    }
    c->trimmed += i;
    *piece = str_skip(*piece, i);
    return true;
}

static int await_start(struct continuation *c, const struct llm_event *event)
{
    const struct continuation_block *awaited = c->awaited;
    bool is_call = event->block_kind == BLOCK_TOOL_CALL;
    c->is_dropped = true;
    if (event->block_kind != awaited->kind)
        return is_call ? mismatch("it calls a tool instead") : 0;
    if (is_call) {
        struct str name = text_or(c->arena, awaited->name, STR_EMPTY);
        if (!text_eq(event->name, name))
            return mismatch("it calls another tool");
        c->seen = 0;
        c->in_string = c->after_backslash = false;
    }
    c->is_dropped = false;
    c->is_in_awaited = true;
    return 0;
}

/* The client's block that it belongs to is the last of all: only that one can be open. */
static bool is_open_one(const struct continuation *c)
{
    return c->awaited == c->last_block && c->is_open;
}

static int await_delta(struct continuation *c, const struct llm_event *event)
{
    bool is_call = c->awaited->kind == BLOCK_TOOL_CALL;
    struct str rest;
    if (event->delta != (is_call ? DELTA_ARGUMENTS : DELTA_TEXT))
        return 0;
    buf_clear(&c->plain);
    int r = add_plain(c, event->text);
    if (r < 0)
        return r;
    rest = buf_str(&c->plain);
    if (!compare(c, &rest))
        return mismatch(is_call ? "its arguments differ" : "it differs");
    if (c->seen < c->awaited->plain.len)
        return 0;
    if (!is_call) {
        c->is_in_awaited = false;
        c->awaited = NULL;
        c->is_joined = true;
        r = put_text(c, text_plain(rest));
        return r == 0 ? put_text(c, (struct text){buf_str(&c->tail), true}) : r;
    }
    if (is_open_one(c))
        return put_piece(c, DELTA_ARGUMENTS, text_plain(rest));
    for (size_t i = 0; i < rest.len; i++) {
        if (!is_space(rest.ptr[i]))
            return mismatch("its arguments differ");
    }
    return 0;
}

static int await_stop(struct continuation *c)
{
    struct str awaited = c->awaited->plain;
    bool is_same = c->seen == awaited.len;
    c->is_in_awaited = false;
    if (c->awaited->kind == BLOCK_TEXT)
        return 0; /* the rest may come in another block */
    if (!is_same && !(c->seen == 0 && str_eq(awaited, STR("{}"))))
        return mismatch("its arguments end sooner");
    bool was_open = is_open_one(c);
    c->awaited = continuation_awaited(c, c->awaited->next);
    c->is_joined = c->awaited == NULL;
    return was_open ? put_stop(c) : 0;
}

/* --- events --- */

static int on_start(struct continuation *c, const struct llm_event *event)
{
    bool is_thought = event->block_kind == BLOCK_THINKING;
    c->new_kind = event->block_kind;
    c->is_dropped = false;
    c->has_thought = c->has_thought || is_thought;
    if (c->awaited != NULL)
        return await_start(c, event);
    if (event->block_kind == BLOCK_TEXT)
        return 0; /* shown with its first words */
    /* Whoever has read the answer already has no use for what was thought before it. */
    c->is_dropped = is_thought && c->verdict != CONTINUATION_REPLAY;
    if (c->is_dropped)
        return 0;
    int r = is_thought ? 0 : join_at_last(c);
    return r == 0 ? show(c, event) : r;
}

/* Its positions count from where the new text begins: they are not told. */
static int put_citation(struct continuation *c, const struct llm_event *event)
{
    struct llm_event copy = *event;
    struct llm_citation citation;
    if (event->citation == NULL || !c->is_joined || !c->is_open || c->kind != BLOCK_TEXT)
        return 0;
    citation = *event->citation;
    citation.start = citation.end = -1;
    if (c->text.len > 0)
        copy.citation = &citation;
    copy.block = c->index;
    return llm_sink_put(c->next, &copy);
}

static int on_delta(struct continuation *c, const struct llm_event *event)
{
    struct llm_event copy = *event;
    if (c->is_dropped)
        return 0;
    if (event->delta == DELTA_LOGPROBS && c->verdict != CONTINUATION_REPLAY)
        return 0;
    if (c->is_in_awaited)
        return await_delta(c, event);
    if (c->new_kind == BLOCK_TEXT && event->delta == DELTA_TEXT)
        return take_text(c, event->text);
    if (event->delta == DELTA_CITATION)
        return put_citation(c, event);
    if (!c->is_open || c->kind != c->new_kind)
        return 0;
    copy.block = c->index;
    c->is_signed = c->is_signed || event->delta == DELTA_SIGNATURE;
    return llm_sink_put(c->next, &copy);
}

static int on_stop(struct continuation *c)
{
    if (c->is_dropped)
        return 0;
    if (c->is_in_awaited)
        return await_stop(c);
    /* Of text only what was joined ends a block: the rest may come in another. */
    bool is_of_client =
        c->is_open && c->kind == c->new_kind && (c->is_joined || c->new_kind != BLOCK_TEXT);
    return is_of_client ? put_stop(c) : 0;
}

static int on_finish(struct continuation *c, const struct llm_event *event)
{
    int r = c->awaited != NULL ? mismatch("it ends sooner") : join_at_last(c);
    if (r == 0)
        r = close_open(c);
    return r == 0 ? llm_sink_put(c->next, event) : r;
}

static int on_usage(struct continuation *c, const struct llm_event *event)
{
    struct llm_event copy = *event;
    token_usage_merge(&c->attempt, &event->usage);
    c->usage = continuation_add_usage(&c->before, &c->attempt);
    copy.usage = c->usage;
    return llm_sink_put(c->next, &copy);
}

int continuation_join(struct llm_sink *sink, const struct llm_event *event)
{
    struct continuation *c = CONTAINER_OF(sink, struct continuation, sink);
    bool is_of_choice = event->kind == EVENT_BLOCK_START || event->kind == EVENT_DELTA ||
                        event->kind == EVENT_BLOCK_STOP || event->kind == EVENT_FINISH;
    if (event->choice > 0)
        return 0;
    if (!is_of_choice)
        return event->kind == EVENT_USAGE ? on_usage(c, event) : llm_sink_put(c->next, event);
    switch (event->kind) {
    case EVENT_BLOCK_START:
        return on_start(c, event);
    case EVENT_DELTA:
        return on_delta(c, event);
    case EVENT_BLOCK_STOP:
        return on_stop(c);
    default:
        return on_finish(c, event);
    }
}
