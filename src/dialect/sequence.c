#include "dialect/sequence.h"

#include "base/err.h"

/* --- whether a call's arguments are a whole object yet --- */

struct tracker {
    unsigned depth;
    bool in_string, after_backslash;
    bool is_whole, is_other; /* other: no object, so nothing says where it ends */
};

static void track_char(struct tracker *t, unsigned c)
{
    if (t->in_string) {
        if (t->after_backslash)
            t->after_backslash = false;
        else if (c == '\\')
            t->after_backslash = true;
        else if (c == '"')
            t->in_string = false;
        return;
    }
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
        return;
    if (t->depth == 0 && (c != '{' || t->is_whole)) {
        t->is_other = true;
        t->is_whole = false;
    } else if (c == '"') {
        t->in_string = true;
    } else if (c == '{' || c == '[') {
        t->depth++;
    } else if (c == '}' || c == ']') {
        t->is_whole = --t->depth == 0;
    }
}

/* The character that an escape stands for, and its length; only ASCII matters here. */
static unsigned escaped_char(struct str s, size_t *len)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    uint8_t unit[2];
    *len = MIN(2u, s.len);
    if (s.len < 2)
        return 0;
    if (s.ptr[1] == 'u') {
        *len = MIN(6u, s.len);
        bool is_ascii = s.len >= 6 && str_from_hex(str_n(s.ptr + 2, 4), unit, 2) && unit[0] == 0;
        return is_ascii ? unit[1] : 0x80;
    }
    const char *letter = strchr(letters, s.ptr[1]);
    return letter != NULL ? (unsigned char)meanings[letter - letters] : (unsigned char)s.ptr[1];
}

static void track(struct tracker *t, struct text piece)
{
    struct str s = piece.s;
    while (s.len > 0 && !t->is_other) {
        size_t len = 1;
        unsigned c = (unsigned char)s.ptr[0];
        if (piece.is_escaped && c == '\\')
            c = escaped_char(s, &len);
        track_char(t, c);
        s = str_skip(s, len);
    }
}

/* --- blocks --- */

/* A delta that waits; pieces of text are put together instead. */
struct held {
    struct held *next;
    struct llm_event event;
};

struct sequence_block {
    struct sequence_block *next;
    unsigned source; /* its index at the decoder */
    unsigned index;  /* and at the encoder, once it is shown */
    bool is_shown, is_stopped;
    struct llm_event start;
    struct tracker arguments;
    /* While it waits: */
    enum llm_delta_kind text_kind;
    struct buf text;
    struct held *held;
    size_t held_bytes;
    struct arena *memory; /* of the texts in `start` and `held` */
};

struct sequence_choice {
    struct sequence_choice *next;
    unsigned index;
    unsigned next_block;
    bool is_finished;
    struct sequence_block *queue;  /* the first is being passed on, the others wait */
    struct sequence_block *closed; /* ended here, not yet by the decoder */
};

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory while ordering an answer");
}

/* May be shown only when there is something in it. */
static bool is_lazy(const struct sequence_block *block)
{
    enum llm_block_kind kind = block->start.block_kind;
    return kind == BLOCK_TEXT || kind == BLOCK_THINKING || kind == BLOCK_REFUSAL;
}

static bool can_end(const struct sequence_block *block)
{
    if (block->start.block_kind == BLOCK_TOOL_CALL)
        return block->arguments.is_whole;
    return is_lazy(block) || block->start.block_kind == BLOCK_OPAQUE;
}

static struct sequence_choice *choice_of(struct sequence *s, unsigned index)
{
    struct sequence_choice **link = &s->choices;
    while (*link != NULL && (*link)->index != index)
        link = &(*link)->next;
    if (*link == NULL) {
        *link = ARENA_NEW(s->arena, struct sequence_choice);
        if (*link != NULL)
            (*link)->index = index;
    }
    return *link;
}

static struct sequence_block **find(struct sequence_block **link, unsigned source)
{
    while (*link != NULL && (*link)->source != source)
        link = &(*link)->next;
    return link;
}

static void append(struct sequence_choice *choice, struct sequence_block *block)
{
    struct sequence_block **end = &choice->queue;
    while (*end != NULL)
        end = &(*end)->next;
    block->next = NULL;
    *end = block;
}

/* Forgets what it held; the buf's room stays for the next block. */
static void empty(struct sequence *s, struct sequence_block *block)
{
    s->held_bytes -= block->held_bytes;
    block->held_bytes = 0;
    block->held = NULL;
    buf_clear(&block->text);
}

static void give_back(struct sequence *s, struct sequence_block *block)
{
    empty(s, block);
    arena_free(block->memory);
    block->memory = NULL;
    block->next = s->free;
    s->free = block;
}

static struct sequence_block *take_block(struct sequence *s, unsigned source)
{
    struct sequence_block *block = s->free;
    struct buf text = BUF_INIT;
    if (block != NULL) {
        s->free = block->next;
        text = block->text;
    } else {
        block = ARENA_NEW(s->arena, struct sequence_block);
    }
    if (block != NULL)
        *block = (struct sequence_block){.source = source, .text = text};
    return block;
}

/* --- holding --- */

static bool keep(struct sequence_block *block, struct text *text)
{
    if (!text_is_some(*text))
        return true;
    if (block->memory == NULL)
        block->memory = arena_new(512);
    if (block->memory == NULL)
        return false;
    *text = text_dup(block->memory, *text);
    return text_is_some(*text);
}

static bool keep_raw(struct sequence_block *block, struct str *raw)
{
    struct text text = text_plain(*raw);
    bool ok = keep(block, &text);
    *raw = text.s;
    return ok;
}

static bool keep_citation(struct sequence_block *block, struct llm_event *event)
{
    struct llm_citation *copy;
    if (event->citation == NULL)
        return true;
    if (block->memory == NULL)
        block->memory = arena_new(512);
    copy = block->memory != NULL ? ARENA_NEW(block->memory, struct llm_citation) : NULL;
    if (copy == NULL)
        return false;
    *copy = *event->citation;
    event->citation = copy;
    return keep(block, &copy->url) && keep(block, &copy->title) && keep(block, &copy->cited_text) &&
           keep_raw(block, &copy->raw);
}

/* Everything that a BLOCK_START or a DELTA that is not text may point to. */
static bool keep_event(struct sequence_block *block, struct llm_event *event)
{
    return keep(block, &event->id) && keep(block, &event->name) &&
           keep(block, &event->media_type) && keep_raw(block, &event->raw) &&
           keep(block, &event->signature.data) && keep(block, &event->text) &&
           keep_citation(block, event);
}

static int count_held(struct sequence *s, struct sequence_block *block, size_t bytes)
{
    block->held_bytes += bytes;
    s->held_bytes += bytes;
    if (s->held_bytes <= s->limit)
        return 0;
    return err_set(ERR_LIMIT, FAULT_UPSTREAM,
                   "the answer's blocks are interleaved by more than %zu bytes", s->limit);
}

static int hold(struct sequence *s, struct sequence_block *block, const struct llm_event *event)
{
    bool is_text = event->delta == DELTA_TEXT || event->delta == DELTA_ARGUMENTS ||
                   event->delta == DELTA_MEDIA;
    int r = count_held(s, block, event->text.s.len + event->raw.len + sizeof(*event));
    if (r < 0)
        return r;
    if (is_text) {
        block->text_kind = event->delta;
        text_write_inside(&block->text, event->text);
        return buf_ok(&block->text) ? 0 : no_memory();
    }
    struct held **end = &block->held;
    struct llm_event copy = *event;
    if (!keep_event(block, &copy))
        return no_memory();
    if (block->memory == NULL)
        block->memory = arena_new(512);
    struct held *held = block->memory != NULL ? ARENA_NEW(block->memory, struct held) : NULL;
    if (held == NULL)
        return no_memory();
    held->event = copy;
    while (*end != NULL)
        end = &(*end)->next;
    *end = held;
    return 0;
}

/* --- passing on --- */

static int pass(struct sequence *s, const struct sequence_block *block,
                const struct llm_event *event)
{
    if (event->block == block->index)
        return llm_sink_put(s->next, event);
    struct llm_event copy = *event;
    copy.block = block->index;
    return llm_sink_put(s->next, &copy);
}

static int show(struct sequence *s, struct sequence_choice *choice, struct sequence_block *block)
{
    if (block->is_shown)
        return 0;
    block->is_shown = true;
    block->index = choice->next_block++;
    return pass(s, block, &block->start);
}

/* It is its turn: what it has waited with goes out. */
static int begin(struct sequence *s, struct sequence_choice *choice, struct sequence_block *block)
{
    int r = 0;
    if (!is_lazy(block) || block->text.len > 0 || block->held != NULL)
        r = show(s, choice, block);
    if (r == 0 && block->text.len > 0) {
        struct llm_event event = llm_event_make(EVENT_DELTA);
        event.choice = choice->index;
        event.delta = block->text_kind;
        event.text = (struct text){buf_str(&block->text), true};
        r = pass(s, block, &event);
    }
    for (const struct held *held = block->held; r == 0 && held != NULL; held = held->next)
        r = pass(s, block, &held->event);
    empty(s, block);
    return r;
}

static int end(struct sequence *s, struct sequence_choice *choice, struct sequence_block *block)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_STOP);
    event.choice = choice->index;
    return block->is_shown ? pass(s, block, &event) : 0;
}

/* Ends what can be ended, and goes on to what waits. */
static int settle(struct sequence *s, struct sequence_choice *choice)
{
    int r = 0;
    while (r == 0 && choice->queue != NULL) {
        struct sequence_block *first = choice->queue;
        if (!first->is_stopped && (first->next == NULL || !can_end(first)))
            return 0;
        choice->queue = first->next;
        r = end(s, choice, first);
        if (first->is_stopped) {
            give_back(s, first);
        } else {
            first->next = choice->closed;
            choice->closed = first;
        }
        if (r == 0 && choice->queue != NULL)
            r = begin(s, choice, choice->queue);
    }
    return r;
}

static int end_all(struct sequence *s, struct sequence_choice *choice)
{
    for (struct sequence_block *block = choice->queue; block != NULL; block = block->next)
        block->is_stopped = true;
    int r = settle(s, choice);
    while (choice->closed != NULL) {
        struct sequence_block *block = choice->closed;
        choice->closed = block->next;
        give_back(s, block);
    }
    return r;
}

/* --- events --- */

static int on_block_start(struct sequence *s, struct sequence_choice *choice,
                          const struct llm_event *event)
{
    struct sequence_block *block = take_block(s, event->block);
    if (block == NULL)
        return no_memory();
    bool waits = choice->queue != NULL;
    block->start = *event;
    append(choice, block);
    if (!waits && !is_lazy(block))
        return show(s, choice, block);
    if (!keep_event(block, &block->start))
        return no_memory();
    int r = waits ? count_held(s, block, event->raw.len + sizeof(*block)) : 0;
    return r == 0 ? settle(s, choice) : r;
}

static bool is_empty_piece(const struct llm_event *event)
{
    bool is_piece = event->delta == DELTA_TEXT || event->delta == DELTA_ARGUMENTS ||
                    event->delta == DELTA_MEDIA;
    return (is_piece && text_is_empty(event->text)) ||
           (event->delta == DELTA_SIGNATURE && !text_is_some(event->signature.data));
}

/* More for a block that had to end for another: it goes on as a new one. A whole call is whole. */
static int reopen(struct sequence *s, struct sequence_choice *choice, struct sequence_block **link)
{
    struct sequence_block *block = *link;
    *link = block->next;
    block->is_shown = false;
    block->start.id = TEXT_NONE;
    append(choice, block);
    return settle(s, choice);
}

static int on_delta(struct sequence *s, struct sequence_choice *choice,
                    const struct llm_event *event)
{
    struct sequence_block *block = *find(&choice->queue, event->block);
    int r = 0;
    if (is_empty_piece(event))
        return 0;
    if (block == NULL) {
        struct sequence_block **link = find(&choice->closed, event->block);
        block = *link;
        if (block == NULL || !is_lazy(block) || event->delta == DELTA_LOGPROBS)
            return 0;
        r = reopen(s, choice, link);
    }
    if (event->delta == DELTA_ARGUMENTS)
        track(&block->arguments, event->text);
    if (r < 0)
        return r;
    if (block != choice->queue)
        return hold(s, block, event);
    r = show(s, choice, block);
    if (r == 0)
        r = pass(s, block, event);
    return r == 0 ? settle(s, choice) : r;
}

static int on_block_stop(struct sequence *s, struct sequence_choice *choice, unsigned source)
{
    struct sequence_block *block = *find(&choice->queue, source);
    struct sequence_block **link;
    if (block != NULL) {
        block->is_stopped = true;
        return settle(s, choice);
    }
    link = find(&choice->closed, source);
    block = *link;
    if (block != NULL) {
        *link = block->next;
        give_back(s, block);
    }
    return 0;
}

static int on_finish(struct sequence *s, struct sequence_choice *choice,
                     const struct llm_event *event)
{
    int r = end_all(s, choice);
    choice->is_finished = true;
    return r == 0 ? llm_sink_put(s->next, event) : r;
}

static int on_done(struct sequence *s, const struct llm_event *event)
{
    int r = 0;
    for (struct sequence_choice *c = s->choices; r == 0 && c != NULL; c = c->next)
        r = end_all(s, c);
    return r == 0 ? llm_sink_put(s->next, event) : r;
}

static int sequence_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct sequence *s = CONTAINER_OF(sink, struct sequence, sink);
    enum llm_event_kind kind = event->kind;
    bool is_of_choice = kind == EVENT_BLOCK_START || kind == EVENT_DELTA ||
                        kind == EVENT_BLOCK_STOP || kind == EVENT_FINISH;
    if (!is_of_choice)
        return kind == EVENT_DONE ? on_done(s, event) : llm_sink_put(s->next, event);
    struct sequence_choice *choice = choice_of(s, event->choice);
    if (choice == NULL)
        return no_memory();
    if (choice->is_finished)
        return 0;
    switch (kind) {
    case EVENT_BLOCK_START:
        return on_block_start(s, choice, event);
    case EVENT_DELTA:
        return on_delta(s, choice, event);
    case EVENT_BLOCK_STOP:
        return on_block_stop(s, choice, event->block);
    default:
        return on_finish(s, choice, event);
    }
}

void sequence_init(struct sequence *sequence, struct arena *arena, struct llm_sink *next,
                   size_t limit)
{
    *sequence =
        (struct sequence){.sink = {sequence_event}, .next = next, .limit = limit, .arena = arena};
}

static void release(struct sequence_block *block)
{
    for (; block != NULL; block = block->next) {
        arena_free(block->memory);
        buf_fini(&block->text);
    }
}

void sequence_fini(struct sequence *sequence)
{
    for (struct sequence_choice *c = sequence->choices; c != NULL; c = c->next) {
        release(c->queue);
        release(c->closed);
    }
    release(sequence->free);
    sequence->choices = NULL;
    sequence->free = NULL;
}
