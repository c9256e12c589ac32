#include "base/err.h"
#include "dialect/event.h"

/* Text that grows piece by piece, as what stands between the quotes of a JSON string. */
struct growing {
    char *ptr;
    size_t len, cap;
};

struct folded_choice {
    struct llm_choice choice; /* first member */
    struct growing logprobs;  /* without the closing bracket */
};

struct llm_fold_block {
    struct llm_fold_block *next;
    struct folded_choice *of;
    unsigned index;
    struct llm_block *block;
    struct growing text;
};

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory while reading an answer");
}

static bool grow(struct arena *arena, struct growing *text, struct str piece)
{
    if (piece.len > text->cap - text->len) {
        size_t cap = MAX(2 * text->cap, text->len + piece.len + 64);
        char *ptr = arena_alloc(arena, cap);
        if (ptr == NULL)
            return false;
        if (text->len > 0)
            memcpy(ptr, text->ptr, text->len);
        text->ptr = ptr;
        text->cap = cap;
    }
    if (piece.len > 0)
        memcpy(text->ptr + text->len, piece.ptr, piece.len);
    text->len += piece.len;
    return true;
}

/* Escapes stay as they were: the halves of a surrogate pair may come in two pieces. */
static bool grow_text(struct arena *arena, struct growing *text, struct text piece)
{
    if (piece.is_escaped)
        return grow(arena, text, piece.s);
    struct buf escaped = BUF_INIT;
    text_write_inside(&escaped, piece);
    bool ok = buf_ok(&escaped) && grow(arena, text, buf_str(&escaped));
    buf_fini(&escaped);
    return ok;
}

static struct text grown(const struct growing *text)
{
    return (struct text){str_n(text->ptr, text->len), true};
}

/* False when there is no memory; a text that is not there changes nothing. */
static bool keep(struct arena *arena, struct text *place, struct text text)
{
    if (!text_is_some(text))
        return true;
    *place = text_dup(arena, text);
    return text_is_some(*place);
}

static bool keep_raw(struct arena *arena, struct str *place, struct str raw)
{
    if (raw.ptr == NULL)
        return true;
    *place = arena_dup(arena, raw);
    return place->ptr != NULL;
}

static struct folded_choice *choice_of(struct llm_fold *fold, unsigned index)
{
    struct llm_choice **link = &fold->answer.choices;
    while (*link != NULL && (*link)->index < index)
        link = &(*link)->next;
    if (*link != NULL && (*link)->index == index)
        return (struct folded_choice *)(void *)*link;
    struct folded_choice *choice = ARENA_NEW(fold->arena, struct folded_choice);
    if (choice == NULL)
        return NULL;
    choice->choice.index = index;
    choice->choice.next = *link;
    *link = &choice->choice;
    return choice;
}

static struct llm_fold_block **find_open(struct llm_fold *fold, const struct llm_event *event)
{
    struct llm_fold_block **link = &fold->open;
    while (*link != NULL &&
           ((*link)->index != event->block || (*link)->of->choice.index != event->choice))
        link = &(*link)->next;
    return link;
}

static int on_start(struct llm_fold *fold, const struct llm_event *event)
{
    struct llm_answer *answer = &fold->answer;
    struct arena *arena = fold->arena;
    bool ok = keep(arena, &answer->id, event->id) && keep(arena, &answer->model, event->model) &&
              keep(arena, &answer->service_tier, event->service_tier);
    if (event->created_s >= 0)
        answer->created_s = event->created_s;
    return ok && choice_of(fold, event->choice) != NULL ? 0 : no_memory();
}

static int on_block_start(struct llm_fold *fold, const struct llm_event *event)
{
    struct arena *arena = fold->arena;
    struct folded_choice *choice = choice_of(fold, event->choice);
    struct llm_fold_block *open = ARENA_NEW(arena, struct llm_fold_block);
    if (choice == NULL || open == NULL)
        return no_memory();
    struct llm_block *block = llm_block_add(arena, &choice->choice.blocks, event->block_kind);
    if (block == NULL)
        return no_memory();
    block->is_redacted = event->is_redacted;
    block->maker = event->maker;
    block->signature.maker = event->signature.maker;
    open->of = choice;
    open->index = event->block;
    open->block = block;
    open->next = fold->open;
    fold->open = open;
    bool ok = keep(arena, &block->id, event->id) && keep(arena, &block->name, event->name) &&
              keep(arena, &block->media.type, event->media_type) &&
              keep_raw(arena, &block->raw, event->raw) &&
              keep(arena, &block->signature.data, event->signature.data);
    return ok ? 0 : no_memory();
}

static bool add_citation(struct arena *arena, struct llm_block *block,
                         const struct llm_citation *citation)
{
    struct llm_citation **end = &block->citations;
    struct llm_citation *copy = ARENA_NEW(arena, struct llm_citation);
    if (citation == NULL)
        return true;
    if (copy == NULL)
        return false;
    *copy = *citation;
    copy->next = NULL;
    while (*end != NULL)
        end = &(*end)->next;
    *end = copy;
    return keep(arena, &copy->url, citation->url) && keep(arena, &copy->title, citation->title) &&
           keep(arena, &copy->cited_text, citation->cited_text) &&
           keep_raw(arena, &copy->raw, citation->raw);
}

/* Several arrays of tokens become one. */
static bool add_logprobs(struct arena *arena, struct folded_choice *choice, struct str raw)
{
    struct growing *all = &choice->logprobs;
    struct str items = str_trim(raw);
    if (!str_starts(items, STR("[")) || !str_ends(items, STR("]")) || items.len < 2)
        return true;
    items = str_trim(str_n(items.ptr + 1, items.len - 2));
    return items.len == 0 ||
           (grow(arena, all, all->len == 0 ? STR("[") : STR(",")) && grow(arena, all, items));
}

static int on_delta(struct llm_fold *fold, const struct llm_event *event)
{
    struct arena *arena = fold->arena;
    struct llm_fold_block *open = *find_open(fold, event);
    bool ok = true;
    if (event->delta == DELTA_LOGPROBS) {
        struct folded_choice *choice = choice_of(fold, event->choice);
        return choice != NULL && add_logprobs(arena, choice, event->raw) ? 0 : no_memory();
    }
    if (open == NULL)
        return 0;
    switch (event->delta) {
    case DELTA_TEXT:
    case DELTA_ARGUMENTS:
    case DELTA_MEDIA:
        ok = grow_text(arena, &open->text, event->text);
        break;
    case DELTA_SIGNATURE:
        open->block->signature.maker = event->signature.maker;
        ok = keep(arena, &open->block->signature.data, event->signature.data);
        break;
    case DELTA_CITATION:
        ok = add_citation(arena, open->block, event->citation);
        break;
    case DELTA_LOGPROBS:
        break;
    }
    return ok ? 0 : no_memory();
}

static bool is_nothing(const struct llm_block *block)
{
    return (block->kind == BLOCK_TEXT || block->kind == BLOCK_THINKING ||
            block->kind == BLOCK_REFUSAL) &&
           text_is_empty(block->text) && !text_is_some(block->signature.data) &&
           block->citations == NULL;
}

static void close_block(const struct llm_fold_block *open)
{
    struct llm_block *block = open->block;
    struct text text = grown(&open->text);
    if (block->kind == BLOCK_TOOL_CALL)
        block->arguments = text_is_some(text) ? text : TEXT_LIT("");
    else if (block->kind == BLOCK_IMAGE || block->kind == BLOCK_AUDIO)
        block->media.data = text;
    else
        block->text = text;
    if (!is_nothing(block))
        return;
    struct llm_block **link = &open->of->choice.blocks;
    while (*link != block)
        link = &(*link)->next;
    *link = block->next;
}

static void on_block_stop(struct llm_fold *fold, const struct llm_event *event)
{
    struct llm_fold_block **link = find_open(fold, event);
    if (*link == NULL)
        return;
    close_block(*link);
    *link = (*link)->next;
}

static int on_finish(struct llm_fold *fold, const struct llm_event *event)
{
    struct folded_choice *folded = choice_of(fold, event->choice);
    if (folded == NULL)
        return no_memory();
    folded->choice.is_finished = true;
    folded->choice.finish = event->finish;
    bool ok = keep(fold->arena, &folded->choice.raw_finish, event->raw_finish) &&
              keep(fold->arena, &folded->choice.stop_sequence, event->stop_sequence);
    return ok ? 0 : no_memory();
}

/* What is still open when nothing more comes is closed as it is. */
static int on_end(struct llm_fold *fold)
{
    for (; fold->open != NULL; fold->open = fold->open->next)
        close_block(fold->open);
    for (struct llm_choice *c = fold->answer.choices; c != NULL; c = c->next) {
        struct folded_choice *folded = (struct folded_choice *)(void *)c;
        if (folded->logprobs.len == 0 || c->logprobs.len > 0)
            continue;
        if (!grow(fold->arena, &folded->logprobs, STR("]")))
            return no_memory();
        c->logprobs = str_n(folded->logprobs.ptr, folded->logprobs.len);
    }
    return 0;
}

static int on_error(struct llm_fold *fold, const struct llm_error *from)
{
    struct arena *arena = fold->arena;
    struct llm_error *error = &fold->answer.error;
    *error = *from;
    fold->answer.is_error = true;
    bool ok = keep(arena, &error->message, from->message) &&
              keep(arena, &error->type, from->type) && keep(arena, &error->code, from->code) &&
              keep(arena, &error->param, from->param);
    return ok ? on_end(fold) : no_memory();
}

static int fold_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct llm_fold *fold = CONTAINER_OF(sink, struct llm_fold, sink);
    switch (event->kind) {
    case EVENT_START:
        return on_start(fold, event);
    case EVENT_BLOCK_START:
        return on_block_start(fold, event);
    case EVENT_DELTA:
        return on_delta(fold, event);
    case EVENT_BLOCK_STOP:
        on_block_stop(fold, event);
        return 0;
    case EVENT_USAGE:
        token_usage_merge(&fold->answer.usage, &event->usage);
        return keep(fold->arena, &fold->answer.service_tier, event->service_tier) ? 0 : no_memory();
    case EVENT_FINISH:
        return on_finish(fold, event);
    case EVENT_DONE:
        fold->answer.is_done = true;
        return on_end(fold);
    case EVENT_ERROR:
        return on_error(fold, &event->error);
    case EVENT_PING:
        break;
    }
    return 0;
}

void llm_fold_init(struct llm_fold *fold, struct arena *arena)
{
    *fold = (struct llm_fold){.sink = {fold_event}, .arena = arena};
    fold->answer.created_s = -1;
    fold->answer.usage = TOKEN_USAGE_NONE;
    fold->answer.error = LLM_ERROR_NONE;
}

/* --- and back --- */

static int put_delta(struct llm_sink *sink, struct llm_event *event, enum llm_delta_kind kind,
                     struct text text)
{
    if (text_is_empty(text))
        return 0;
    event->delta = kind;
    event->text = text;
    int r = llm_sink_put(sink, event);
    event->text = TEXT_NONE;
    return r;
}

static int replay_content(const struct llm_block *block, struct llm_event *event,
                          struct llm_sink *sink)
{
    int r = 0;
    event->kind = EVENT_DELTA;
    if (block->kind == BLOCK_TOOL_CALL)
        return put_delta(sink, event, DELTA_ARGUMENTS, block->arguments);
    if (block->kind == BLOCK_IMAGE || block->kind == BLOCK_AUDIO)
        return put_delta(sink, event, DELTA_MEDIA, block->media.data);
    r = put_delta(sink, event, DELTA_TEXT, block->text);
    for (const struct llm_citation *c = block->citations; r == 0 && c != NULL; c = c->next) {
        event->delta = DELTA_CITATION;
        event->citation = c;
        r = llm_sink_put(sink, event);
        event->citation = NULL;
    }
    if (r == 0 && text_is_some(block->signature.data)) {
        event->delta = DELTA_SIGNATURE;
        event->signature = block->signature;
        r = llm_sink_put(sink, event);
    }
    return r;
}

static int replay_block(const struct llm_choice *choice, const struct llm_block *block,
                        unsigned index, struct str logprobs, struct llm_sink *sink)
{
    struct llm_event start = llm_event_make(EVENT_BLOCK_START);
    struct llm_event delta = llm_event_make(EVENT_DELTA);
    start.choice = delta.choice = choice->index;
    start.block = delta.block = index;
    start.block_kind = block->kind;
    start.id = block->id;
    start.name = block->name;
    start.media_type = block->media.type;
    start.is_redacted = block->is_redacted;
    start.raw = block->raw;
    start.maker = block->maker;
    if (block->kind == BLOCK_TOOL_CALL)
        start.signature = block->signature;
    int r = llm_sink_put(sink, &start);
    if (r == 0)
        r = replay_content(block, &delta, sink);
    if (r == 0 && logprobs.len > 0) {
        delta.delta = DELTA_LOGPROBS;
        delta.raw = logprobs;
        r = llm_sink_put(sink, &delta);
    }
    delta = llm_event_make(EVENT_BLOCK_STOP);
    delta.choice = choice->index;
    delta.block = index;
    return r == 0 ? llm_sink_put(sink, &delta) : r;
}

static int replay_choice(const struct llm_choice *choice, struct llm_sink *sink)
{
    struct str logprobs = choice->logprobs;
    unsigned index = 0;
    int r = 0;
    for (const struct llm_block *block = choice->blocks; r == 0 && block != NULL;
         block = block->next) {
        bool has_logprobs = block->kind == BLOCK_TEXT || block->kind == BLOCK_REFUSAL;
        r = replay_block(choice, block, index++, has_logprobs ? logprobs : STR_EMPTY, sink);
        if (has_logprobs)
            logprobs = STR_EMPTY;
    }
    if (r < 0 || !choice->is_finished)
        return r;
    struct llm_event finish = llm_event_make(EVENT_FINISH);
    finish.choice = choice->index;
    finish.finish = choice->finish;
    finish.raw_finish = choice->raw_finish;
    finish.stop_sequence = choice->stop_sequence;
    return llm_sink_put(sink, &finish);
}

int llm_answer_replay(const struct llm_answer *answer, struct llm_sink *sink)
{
    struct llm_event event = llm_event_make(EVENT_START);
    int r = 0;
    event.id = answer->id;
    event.model = answer->model;
    event.created_s = answer->created_s;
    event.service_tier = answer->service_tier;
    if (answer->choices != NULL)
        r = llm_sink_put(sink, &event);
    /* Before the content: some dialects begin with the tokens of the input. */
    event = llm_event_make(EVENT_USAGE);
    event.usage = answer->usage;
    if (r == 0 && answer->choices != NULL)
        r = llm_sink_put(sink, &event);
    for (const struct llm_choice *c = answer->choices; r == 0 && c != NULL; c = c->next)
        r = replay_choice(c, sink);
    event = llm_event_make(answer->is_error ? EVENT_ERROR : EVENT_DONE);
    event.error = answer->error;
    return r == 0 && (answer->is_error || answer->is_done) ? llm_sink_put(sink, &event) : r;
}
