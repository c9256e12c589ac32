#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim/mixed_run.h"

/* What models say and providers make of it: whole answers in every dialect, with a fault in them.
 */

/* --- chance --- */

static uint64_t random_state;

void mixed_seed(uint64_t seed)
{
    random_state = seed;
}

/* splitmix64 */
uint64_t mixed_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

unsigned mixed_below(uint64_t n)
{
    return (unsigned)(mixed_random() % n);
}

/* --- answers --- */

static const char *const words[] = {"the ",
                                    "moon ",
                                    "\xf0\x9f\x8c\x99 ",
                                    "is ",
                                    "far",
                                    ", ",
                                    "caf\xc3\xa9 ",
                                    "\n\n",
                                    "and ",
                                    "\xe2\x80\x94 ",
                                    "so ",
                                    "\"on\" ",
                                    "a ",
                                    "\\ ",
                                    "ha ha ",
                                    "to ",
                                    "\xe6\x97\xa5\xe6\x9c\xac",
                                    "<b>",
                                    "one. ",
                                    "& ",
                                    "\t"};

static const char *random_text(struct mixed_run *run)
{
    static const unsigned lengths[] = {3, 12, 40, 120};
    struct buf text = BUF_INIT;
    unsigned count = 1 + mixed_below(lengths[mixed_below(ARRAY_LEN(lengths))]);
    buf_add_str(&text, STR("I say"));
    for (unsigned i = 0; i < count; i++) {
        if (mixed_below(4) == 0)
            buf_printf(&text, " w%u", mixed_below(1000));
        buf_add_str(&text, str_c(words[mixed_below(ARRAY_LEN(words))]));
    }
    const char *copy = arena_cstr(run->arena, buf_str(&text));
    buf_fini(&text);
    return copy;
}

static const char *const arguments[] = {
    "{}",
    "{\"city\":\"Par\\\"is \xc3\xa9\",\"days\":[1,2],\"deep\":{\"a\":true}}",
    "{\"q\":\"\xf0\x9f\x8c\x99 at night, seen from here\",\"n\":12}",
};

void mixed_make_tale(struct mixed_run *run)
{
    struct tale *tale = &run->tale;
    unsigned shape = mixed_below(8);
    *tale = (struct tale){.piece = 3 + mixed_below(60), .input = 10, .output = 20};
    if (shape == 0)
        return; /* empty */
    if (shape == 2 || mixed_below(6) == 0)
        tale->thinking = "Let me think of it, and then once more.";
    if (shape <= 4 || mixed_below(2) == 0)
        tale->text = random_text(run);
    if (shape < 5)
        return;
    tale->call = "look";
    tale->arguments = arguments[mixed_below(ARRAY_LEN(arguments))];
    if (shape < 7)
        return;
    tale->other_call = "find";
    tale->other_arguments = arguments[mixed_below(ARRAY_LEN(arguments))];
}

/* What the model says that is asked to go on: the rest, more than that, or something else. */
struct tale mixed_make_rest(struct mixed_run *run, const struct continuation *c)
{
    struct tale rest = run->tale;
    unsigned way = mixed_below(8);
    rest.piece = 3 + mixed_below(60);
    rest.id = "resp_second";
    if (c->verdict == CONTINUATION_REPEAT && way == 0) {
        rest.call = rest.other_call = NULL;
        rest.text = "There is nothing to look for.";
    } else if (c->verdict == CONTINUATION_REPEAT && way == 1) {
        rest.call = "other";
    } else if (c->verdict == CONTINUATION_TEXT) {
        size_t from = c->text_sound - (c->is_prefilled ? 0 : c->anchor.len);
        if (!c->is_prefilled && way < 3)
            from = way == 0 ? from - mixed_below(MIN(from, 40u) + 1) : 0;
        while (from > 0 && ((unsigned char)run->tale.text[from] & 0xc0) == 0x80)
            from--;
        run->is_unfit = false;
        rest.text = run->tale.text[from] != '\0' ? run->tale.text + from : NULL;
        mixed_seen.repeated += !c->is_prefilled && way < 3;
        if (!c->is_prefilled && c->anchor.len > 0 && way == 3)
            rest.text = "\xc2\xa7 What do you mean? I have not said that, and will not.";
    }
    return rest;
}

/* --- the provider's side --- */

static void put_error_event(struct mixed_run *run, const struct dialect *dialect, unsigned number)
{
    struct frame_writer writer;
    frame_writer_init(&writer, framing_of(dialect), &run->wire);
    if (dialect->id == DIALECT_OPENAI_RESPONSES) {
        frame_write(&writer, STR("error"),
                    arena_printf(run->arena,
                                 "{\"type\":\"error\",\"sequence_number\":%u,\"code\":"
                                 "\"server_error\",\"message\":\"Sorry\",\"param\":null}",
                                 number));
    } else if (dialect->id == DIALECT_COHERE) {
        frame_write(&writer, STR("message-end"),
                    STR("{\"type\":\"message-end\",\"delta\":{\"error\":\"Sorry\","
                        "\"finish_reason\":\"ERROR\"}}"));
        frame_write(&writer, STR_EMPTY, STR("[DONE]"));
    } else {
        struct llm_event event = llm_event_make(EVENT_ERROR);
        event.error.kind = mixed_below(2) == 0 ? LLM_ERROR_OVERLOADED : LLM_ERROR_SERVER;
        event.error.message = TEXT_LIT("Sorry");
        dialect->encode(dialect->encoder_new(run->arena, &run->codec), &event, &writer.frames);
    }
    frame_writer_fini(&writer);
}

/* Of the event that begins there, one byte is wrong: of JSON the first, of a frame any. */
static void corrupt(struct mixed_run *run, size_t start, size_t end)
{
    if (end - start < 32)
        return; /* [DONE] */
    if (framing_of(run->targets[run->at].dialect) == FRAMING_EVENT_STREAM) {
        run->wire.ptr[start + 20 + mixed_below(end - start - 24)] ^= 0x55;
        return;
    }
    while (start < end && run->wire.ptr[start] != '{')
        start++;
    if (start < end)
        run->wire.ptr[start] = '<';
}

/* What comes of the provider once its stream has begun. */
void mixed_make_wire(struct mixed_run *run, enum mixed_fault fault, const struct tale *tale)
{
    static struct told told;
    const struct dialect *dialect = run->targets[run->at].dialect;
    tell(&told, dialect, tale);
    unsigned event = mixed_below(told.count);
    size_t start = event > 0 ? told.ends[event - 1] : 0, len = told.bytes.len;
    unsigned place = fault == FAULT_CUT ? mixed_below(5) : 0;
    if (fault == FAULT_EVENT || (fault == FAULT_CUT && place < 2))
        len = start;
    else if (fault == FAULT_CUT && place == 2)
        len = told.ends[event] - 1 - mixed_below(2); /* of SSE: without its blank line */
    else if (fault == FAULT_CUT)
        len = mixed_below(len);
    buf_fini(&run->wire);
    buf_add_str(&run->wire, str_head(buf_str(&told.bytes), len));
    run->resets = fault != FAULT_NOTHING && fault != FAULT_CORRUPT && mixed_below(2) == 0;
    bool has_ended = dialect->id == DIALECT_COHERE && event + 1 == told.count;
    if (fault == FAULT_EVENT && !has_ended) /* Cohere tells errors by its last event */
        put_error_event(run, dialect, event);
    else if (fault == FAULT_CORRUPT)
        corrupt(run, start, told.ends[event]);
    told_fini(&told);
}

enum mixed_fault mixed_choose_fault(void)
{
    static const enum mixed_fault faults[] = {
        FAULT_STATUS, FAULT_CALL,  FAULT_CUT,     FAULT_CUT,     FAULT_CUT,     FAULT_CUT,
        FAULT_EVENT,  FAULT_EVENT, FAULT_CORRUPT, FAULT_NOTHING, FAULT_NOTHING, FAULT_NOTHING};
    return faults[mixed_below(ARRAY_LEN(faults))];
}
