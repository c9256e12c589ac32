#include "support/event_text.h"

#include "base/err.h"

static const char *const block_names[] = {"text",     "image",     "audio",       "video",
                                          "document", "tool_call", "tool_result", "thinking",
                                          "refusal",  "opaque"};
static const struct {
    const char *verb;
    enum llm_delta_kind kind;
} deltas[] = {{"text", DELTA_TEXT},     {"args", DELTA_ARGUMENTS},    {"sig", DELTA_SIGNATURE},
              {"cite", DELTA_CITATION}, {"logprobs", DELTA_LOGPROBS}, {"media", DELTA_MEDIA}};

static void add_words(struct buf *out, struct text text)
{
    struct buf quoted = BUF_INIT;
    text_write_inside(&quoted, text);
    buf_add_str(out, buf_str(&quoted));
    buf_fini(&quoted);
}

static void add_word(struct buf *out, struct text text)
{
    buf_add_char(out, ' ');
    if (text_is_some(text))
        add_words(out, text);
    else
        buf_add_char(out, '-');
}

static bool goes_on(const struct event_log *log, const struct llm_event *event)
{
    return log->joins && log->last_kind == EVENT_DELTA && log->last_delta == event->delta &&
           log->last_choice == event->choice && log->last_block == event->block &&
           (event->delta == DELTA_TEXT || event->delta == DELTA_ARGUMENTS ||
            event->delta == DELTA_MEDIA);
}

static void log_delta(struct event_log *log, const struct llm_event *event)
{
    struct buf *out = &log->text;
    if (goes_on(log, event)) {
        out->len--;
        add_words(out, event->text);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(deltas); i++) {
        if (deltas[i].kind == event->delta)
            buf_printf(out, "%s %u.%u ", deltas[i].verb, event->choice, event->block);
    }
    if (event->delta == DELTA_SIGNATURE)
        buf_printf(out, "%s ", dialect_names[event->signature.maker]);
    if (event->delta == DELTA_SIGNATURE)
        add_words(out, event->signature.data);
    else if (event->delta == DELTA_CITATION)
        add_words(out, event->citation->url);
    else if (event->delta == DELTA_LOGPROBS)
        buf_add_str(out, event->raw);
    else
        add_words(out, event->text);
}

static void log_block(struct buf *out, const struct llm_event *event)
{
    buf_printf(out, "block %u.%u %s", event->choice, event->block, block_names[event->block_kind]);
    if (text_is_some(event->id) || text_is_some(event->name))
        add_word(out, event->id);
    if (text_is_some(event->name))
        add_word(out, event->name);
    if (text_is_some(event->signature.data)) {
        buf_printf(out, " signed by %s", dialect_names[event->signature.maker]);
        add_word(out, event->signature.data);
    }
    if (event->is_redacted)
        BUF_LIT(out, " redacted");
    if (event->raw.len > 0)
        buf_printf(out, " %.*s", STR_ARG(event->raw));
}

static int log_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct event_log *log = CONTAINER_OF(sink, struct event_log, sink);
    struct buf *out = &log->text;
    if (++log->seen == log->fails_at)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "as the test wants it");
    switch (event->kind) {
    case EVENT_START:
        BUF_LIT(out, "start");
        add_word(out, event->model);
        break;
    case EVENT_BLOCK_START:
        log_block(out, event);
        break;
    case EVENT_DELTA:
        log_delta(log, event);
        break;
    case EVENT_BLOCK_STOP:
        buf_printf(out, "stop %u.%u", event->choice, event->block);
        break;
    case EVENT_USAGE:
        buf_printf(out, "usage %lld %lld", (long long)event->usage.input,
                   (long long)event->usage.output);
        break;
    case EVENT_FINISH:
        buf_printf(out, "finish %u %s", event->choice, llm_finish_names[event->finish]);
        break;
    case EVENT_DONE:
        BUF_LIT(out, "done");
        break;
    case EVENT_ERROR:
        buf_printf(out, "error %s", llm_error_kind_names[event->error.kind]);
        add_word(out, event->error.message);
        break;
    case EVENT_PING:
        BUF_LIT(out, "ping");
        break;
    }
    buf_add_char(out, '\n');
    log->last_kind = event->kind;
    log->last_delta = event->delta;
    log->last_choice = event->choice;
    log->last_block = event->block;
    return 0;
}

void event_log_init(struct event_log *log, bool joins)
{
    *log = (struct event_log){.sink = {log_event}, .joins = joins, .last_kind = EVENT_PING};
}

const char *event_log_text(struct event_log *log)
{
    buf_add_char(&log->text, '\0');
    CHECK(buf_ok(&log->text));
    log->text.len--;
    return log->text.ptr;
}

/* --- and back --- */

static struct str word(struct str *line)
{
    struct str head;
    str_cut(line, ' ', &head);
    return head;
}

static unsigned index_of(struct str name, const char *const *names, size_t count)
{
    for (unsigned i = 0; i < count; i++) {
        if (str_eq(name, str_c(names[i])))
            return i;
    }
    fprintf(stderr, "no such word in a script: %.*s\n", STR_ARG(name));
    abort();
}

static struct text text_word(struct str s)
{
    return s.len == 0 || str_eq(s, STR("-")) ? TEXT_NONE : (struct text){s, true};
}

static void read_place(struct str *line, struct llm_event *event)
{
    struct str place = word(line), choice;
    uint64_t c = 0, b = 0;
    str_cut(&place, '.', &choice);
    CHECK(str_to_u64(choice, &c) && (place.len == 0 || str_to_u64(place, &b)));
    event->choice = (unsigned)c;
    event->block = (unsigned)b;
}

static bool read_delta(struct str verb, struct str line, struct llm_event *event,
                       struct llm_citation *citation)
{
    for (size_t i = 0; i < ARRAY_LEN(deltas); i++) {
        if (!str_eq(verb, str_c(deltas[i].verb)))
            continue;
        *event = llm_event_make(EVENT_DELTA);
        event->delta = deltas[i].kind;
        read_place(&line, event);
        if (event->delta == DELTA_SIGNATURE)
            event->signature.maker =
                (enum dialect_id)index_of(word(&line), dialect_names, DIALECT_COUNT);
        struct text text = {str_n(line.ptr != NULL ? line.ptr : "", line.len), true};
        *citation = (struct llm_citation){.url = text, .start = -1, .end = -1, .document = -1};
        event->citation = event->delta == DELTA_CITATION ? citation : NULL;
        event->signature.data = event->delta == DELTA_SIGNATURE ? text : TEXT_NONE;
        event->raw = event->delta == DELTA_LOGPROBS ? line : STR_EMPTY;
        event->text = event->delta == DELTA_TEXT || event->delta == DELTA_ARGUMENTS ||
                              event->delta == DELTA_MEDIA
                          ? text
                          : TEXT_NONE;
        return true;
    }
    return false;
}

static void read_other(struct str verb, struct str line, struct llm_event *event)
{
    static const char *const verbs[] = {"start",  "block", "delta", "stop", "usage",
                                        "finish", "done",  "error", "ping"};
    *event = llm_event_make((enum llm_event_kind)index_of(verb, verbs, ARRAY_LEN(verbs)));
    switch (event->kind) {
    case EVENT_START:
        event->model = text_word(word(&line));
        break;
    case EVENT_BLOCK_START:
        read_place(&line, event);
        event->block_kind =
            (enum llm_block_kind)index_of(word(&line), block_names, ARRAY_LEN(block_names));
        event->id = text_word(word(&line));
        event->name = text_word(word(&line));
        break;
    case EVENT_BLOCK_STOP:
        read_place(&line, event);
        break;
    case EVENT_USAGE:
        CHECK(str_to_i64(word(&line), &event->usage.input));
        CHECK(str_to_i64(word(&line), &event->usage.output));
        break;
    case EVENT_FINISH:
        read_place(&line, event);
        event->finish = (enum llm_finish)index_of(line, llm_finish_names, FINISH_COUNT);
        break;
    case EVENT_ERROR:
        event->error.kind =
            (enum llm_error_kind)index_of(word(&line), llm_error_kind_names, LLM_ERROR_KIND_COUNT);
        event->error.message = text_word(line);
        break;
    default:
        break;
    }
}

int event_play(const char *script, struct llm_sink *sink)
{
    struct str rest = str_c(script), line;
    while (str_next(&rest, '\n', &line)) {
        struct llm_citation citation;
        struct llm_event event;
        /* Read from a copy that is gone afterwards: who keeps what he was given is found out. */
        char *copy = malloc(line.len + 1);
        memcpy(copy, line.ptr, line.len);
        struct str own = str_n(copy, line.len);
        int r = 0;
        if (line.len > 0) {
            struct str verb = word(&own);
            if (!read_delta(verb, own, &event, &citation))
                read_other(verb, own, &event);
            r = llm_sink_put(sink, &event);
        }
        memset(copy, '#', line.len);
        free(copy);
        if (r != 0)
            return r;
    }
    return 0;
}
