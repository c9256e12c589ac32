#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "matrix_page.h"
#include "meaning.h"
#include "support/json_equal.h"
#include "translated.h"

/*
 * Every client's dialect with every provider's: what can be said in both is said, what cannot is
 * named. Each cell of docs/dialects.md is set here. Tests run in the root of the tree.
 */

#define PAGE "docs/dialects.md"

static struct matrix_cell cells[DIALECT_COUNT][DIALECT_COUNT][FEATURE_COUNT];
static unsigned checked; /* pairs */

struct pair {
    enum dialect_id client, provider;
    struct matrix_cell *cells;
    char label[80];
};

/* What is looked at in one cell: losing one of the keys (words of meaning.h) is losing it all. */
struct look {
    const struct pair *pair;
    struct matrix_cell *cell;
    const char *keys;
};

static void add_reason(struct matrix_cell *cell, struct str reason)
{
    struct str rest = buf_str(&cell->reasons), item;
    while (str_next(&rest, ',', &item)) {
        if (str_eq(str_trim(item), reason))
            return;
    }
    if (cell->reasons.len > 0)
        BUF_LIT(&cell->reasons, ", ");
    buf_add_str(&cell->reasons, reason);
}

static void lose(struct matrix_cell *cell, enum matrix_state state, struct str reason)
{
    cell->state = MAX(cell->state, state);
    add_reason(cell, reason);
}

static bool is_key(const struct look *look, struct str word)
{
    struct str rest = str_c(look->keys), key;
    while (str_next(&rest, ' ', &key)) {
        if (str_eq(key, word))
            return true;
    }
    return false;
}

static void lose_line(struct str line, void *ctx)
{
    struct look *look = ctx;
    struct str word;
    str_cut(&line, ' ', &word);
    lose(look->cell, is_key(look, word) ? MATRIX_NO : MATRIX_PARTLY, word);
}

struct missing {
    unsigned count;
    bool has_key;
    const struct look *look;
    struct buf lines;
};

static void count_line(struct str line, void *ctx)
{
    struct missing *missing = ctx;
    struct str rest = line, word;
    str_cut(&rest, ' ', &word);
    missing->count++;
    missing->has_key = missing->has_key || is_key(missing->look, word);
    buf_printf(&missing->lines, "\n    %.*s", STR_ARG(line));
}

/* --- requests --- */

static void read_meaning(const struct dialect *d, struct arena *arena, struct str body,
                         bool is_stream, struct buf *out)
{
    struct llm_request request;
    if (d->read_request(body, arena, &request) != 0)
        fail_msg("%s reads its request: %s\n%.*s", d->name, err_slot()->message, STR_ARG(body));
    request.is_stream = request.is_stream || (is_stream && matrix_dialect(d->id)->model_in_path);
    meaning_of_request(&request, out);
}

/* The names of what was dropped are the reasons; what is missing and was not named is a fault. */
static void compare_requests(struct translated *t, struct look *look, struct str asked,
                             bool is_stream)
{
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct missing missing = {.look = look};
    struct str dropped = buf_str(&t->translation.dropped), name;
    read_meaning(t->client, t->arena, asked, is_stream, &before);
    read_meaning(t->provider, t->arena, buf_str(&t->body), is_stream, &after);
    meaning_missing(buf_str(&before), buf_str(&after), count_line, &missing);
    if (missing.count > 0 && dropped.len == 0)
        fail_msg("%s: lost without a word:%.*s\nfrom %.*s\nto   %.*s", t->label,
                 STR_ARG(buf_str(&missing.lines)), STR_ARG(asked), STR_ARG(buf_str(&t->body)));
    while (str_next(&dropped, ',', &name))
        lose(look->cell, missing.has_key ? MATRIX_NO : MATRIX_PARTLY, str_trim(name));
    buf_fini(&missing.lines);
    buf_fini(&before);
    buf_fini(&after);
}

/* The body with the stream's flag where the dialect has it there. */
static struct str with_stream(struct arena *arena, enum dialect_id id, struct str body,
                              bool is_stream)
{
    if (!is_stream || matrix_dialect(id)->model_in_path)
        return body;
    return arena_printf(arena, "{\"stream\":true,%.*s", STR_ARG(str_skip(body, 1)));
}

static bool ask(struct translated *t, struct look *look, enum matrix_ask what, bool is_stream)
{
    const struct pair *pair = look->pair;
    struct str asked = matrix_dialect(pair->client)->asks[what];
    translated_init(t, pair->label, pair->client, pair->provider);
    if (asked.len == 0) {
        look->cell->state = MATRIX_UNSAYABLE;
        return false;
    }
    asked = with_stream(t->arena, pair->client, asked, is_stream);
    int r = translated_request(t, asked, is_stream);
    if (r < 0) {
        assert_int_equal(r, -ERR_INVALID);
        lose(look->cell, MATRIX_NO, str_c(err_slot()->message));
        return false;
    }
    compare_requests(t, look, asked, is_stream);
    return true;
}

static void look_at_request(struct look *look, enum matrix_ask what)
{
    struct translated t;
    ask(&t, look, what, false);
    translated_fini(&t);
}

/* --- answers --- */

static void compare_answers(struct translated *t, struct look *look, const struct llm_answer *said,
                            const struct llm_answer *heard)
{
    struct buf before = BUF_INIT, after = BUF_INIT;
    meaning_of_answer(said, &before);
    meaning_of_answer(heard, &after);
    meaning_missing(buf_str(&before), buf_str(&after), lose_line, look);
    (void)t;
    buf_fini(&before);
    buf_fini(&after);
}

/* The client goes on with what it was given: what is signed comes back to the provider. */
static void go_on(const struct pair *pair, const struct llm_answer *heard, struct str signature,
                  struct matrix_cell *cell)
{
    struct translated t;
    struct llm_request next = {.source = pair->client, .model = TEXT_LIT("m")};
    struct buf dropped = BUF_INIT, supplied = BUF_INIT, body = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    translated_init(&t, pair->label, pair->client, pair->provider);
    struct llm_message *user = llm_message_add(t.arena, &next, ROLE_USER);
    llm_block_add(t.arena, &user->blocks, BLOCK_TEXT)->text = TEXT_LIT("Go.");
    struct llm_message *assistant = llm_message_add(t.arena, &next, ROLE_ASSISTANT);
    assistant->blocks = heard->choices->blocks;
    struct llm_message *results = llm_message_add(t.arena, &next, ROLE_USER);
    for (const struct llm_block *b = assistant->blocks; b != NULL; b = b->next) {
        if (b->kind != BLOCK_TOOL_CALL)
            continue;
        struct llm_block *result = llm_block_add(t.arena, &results->blocks, BLOCK_TOOL_RESULT);
        result->id = b->id;
        result->name = b->name;
        llm_block_add(t.arena, &result->blocks, BLOCK_TEXT)->text = TEXT_LIT("18 C");
    }
    if (results->blocks == NULL)
        llm_block_add(t.arena, &results->blocks, BLOCK_TEXT)->text = TEXT_LIT("Go on.");
    struct llm_target target = t.target;
    target.model = STR("m");
    assert_int_equal(t.client->write_request(&next, &target, t.arena, &notes, &body), 0);
    struct str asked = arena_dup(t.arena, buf_str(&body));
    assert_int_equal(translated_request(&t, asked, false), 0);
    if (str_find(buf_str(&t.body), signature) < 0)
        lose(cell, MATRIX_PARTLY, STR("signature"));
    buf_fini(&dropped);
    buf_fini(&supplied);
    buf_fini(&body);
    translated_fini(&t);
}

static void look_at_answer(struct look *look, enum matrix_ask what, enum matrix_say say)
{
    const struct matrix_dialect *m = matrix_dialect(look->pair->provider);
    struct llm_answer said, heard;
    struct translated t;
    if (ask(&t, look, what, false)) {
        read_answer(t.arena, t.provider, m->answers[say], &said);
        assert_true(translated_answer(&t, m->answers[say], &heard));
        compare_answers(&t, look, &said, &heard);
        if (m->signatures[say].len > 0)
            go_on(look->pair, &heard, m->signatures[say], look->cell);
    }
    translated_fini(&t);
}

static void look_at_stream(struct look *look, enum matrix_ask what, enum matrix_say say)
{
    const struct matrix_dialect *m = matrix_dialect(look->pair->provider);
    struct llm_answer said, heard;
    struct translated t;
    if (ask(&t, look, what, true)) {
        read_stream(t.arena, t.provider, m->streams[say], m->stream_lengths[say], &said);
        translated_stream(&t, m->streams[say], m->stream_lengths[say], NULL, &heard);
        compare_answers(&t, look, &said, &heard);
        if (m->signatures[say].len > 0)
            go_on(look->pair, &heard, m->signatures[say], look->cell);
    }
    translated_fini(&t);
}

/* --- features --- */

static void look_at_text(struct look *look)
{
    look->keys = "system user assistant text";
    look_at_answer(look, ASK_TEXT, SAY_TEXT);
}

static void look_at_text_stream(struct look *look)
{
    look->keys = "system user assistant stream text";
    look_at_stream(look, ASK_TEXT, SAY_TEXT);
}

static void look_at_tools(struct look *look)
{
    look->keys = "tool call result";
    look_at_answer(look, ASK_TOOLS, SAY_CALL);
}

static void look_at_tools_stream(struct look *look)
{
    look->keys = "tool call result";
    look_at_stream(look, ASK_TOOLS, SAY_CALL);
}

static void look_at_parallel(struct look *look)
{
    look->keys = "tool call result";
    look_at_answer(look, ASK_PARALLEL, SAY_CALLS);
    look_at_stream(look, ASK_PARALLEL, SAY_CALLS);
}

static void look_at_images(struct look *look)
{
    look->keys = "image";
    look_at_request(look, ASK_IMAGE);
}

static void look_at_documents(struct look *look)
{
    look->keys = "document user";
    look_at_request(look, ASK_DOCUMENT);
}

static void look_at_thinking(struct look *look)
{
    look->keys = "reasoning thinking";
    look_at_answer(look, ASK_THINKING, SAY_THINKING);
    look_at_stream(look, ASK_THINKING, SAY_THINKING);
}

static struct str rename_tool(struct arena *arena, struct str text)
{
    struct buf out = BUF_INIT;
    struct str name = STR("get_weather");
    for (ptrdiff_t at; (at = str_find(text, name)) >= 0;) {
        buf_add(&out, text.ptr, (size_t)at);
        BUF_LIT(&out, "json_answer");
        text = str_skip(text, (size_t)at + name.len);
    }
    buf_add_str(&out, text);
    struct str copy = arena_dup(arena, buf_str(&out));
    buf_fini(&out);
    return copy;
}

static void expect_json_text(const struct translated *t, const struct llm_answer *heard)
{
    struct buf out = BUF_INIT;
    meaning_of_answer(heard, &out);
    if (str_find(buf_str(&out), STR("text {\\\"city\\\":\\\"Paris\\\"}\nfinish stop\n")) < 0)
        fail_msg("%s: a structured answer by a tool is\n%.*s", t->label, STR_ARG(buf_str(&out)));
    buf_fini(&out);
}

/* Where the model has no form of its own for it, a tool is. */
static void look_at_answer_by_tool(const struct pair *pair)
{
    const struct matrix_dialect *m = matrix_dialect(pair->provider);
    struct matrix_event events[MATRIX_EVENTS_MAX];
    struct llm_answer heard;
    for (int is_stream = 0; is_stream <= 1; is_stream++) {
        struct translated t;
        translated_init(&t, pair->label, pair->client, pair->provider);
        t.traits.structured = STRUCTURED_BY_TOOL;
        struct str asked = matrix_dialect(pair->client)->asks[ASK_STRUCTURED];
        asked = with_stream(t.arena, pair->client, asked, is_stream != 0);
        assert_int_equal(translated_request(&t, asked, is_stream != 0), 0);
        if (str_find(buf_str(&t.body), STR("\"json_answer\"")) < 0 ||
            str_find(buf_str(&t.body), STR("\"integer\"")) < 0)
            fail_msg("%s: no tool with the schema: %.*s", pair->label, STR_ARG(buf_str(&t.body)));
        if (is_stream == 0) {
            assert_true(translated_answer(&t, rename_tool(t.arena, m->answers[SAY_CALL]), &heard));
        } else {
            for (unsigned i = 0; i < m->stream_lengths[SAY_CALL]; i++)
                events[i] =
                    (struct matrix_event){m->streams[SAY_CALL][i].type,
                                          rename_tool(t.arena, m->streams[SAY_CALL][i].data)};
            translated_stream(&t, events, m->stream_lengths[SAY_CALL], NULL, &heard);
        }
        expect_json_text(&t, &heard);
        translated_fini(&t);
    }
}

static void look_at_structured(struct look *look)
{
    look->keys = "format";
    look_at_request(look, ASK_STRUCTURED);
    if (look->pair->client != look->pair->provider)
        look_at_answer_by_tool(look->pair);
}

static void look_at_cache(struct look *look)
{
    struct matrix_cell others = {.state = MATRIX_YES};
    struct look usage = {look->pair, &others, "usage cached"};
    look_at_answer(&usage, ASK_TEXT, SAY_TEXT);
    look_at_stream(&usage, ASK_TEXT, SAY_TEXT);
    /* That something else of the exchange is lost says nothing about its tokens. */
    if (others.state == MATRIX_NO)
        lose(look->cell, MATRIX_NO, STR("cached tokens"));
    buf_fini(&others.reasons);
}

static void look_at_errors(struct look *look)
{
    const struct pair *pair = look->pair;
    const struct matrix_dialect *m = matrix_dialect(pair->provider);
    const struct dialect *client = dialect_of(pair->client);
    struct llm_error said, heard;
    struct llm_answer answer;
    struct validator v;
    struct translated t;
    if (!dialect_of(pair->provider)
             ->read_error(m->error_status, m->error_type_header, m->error, &said))
        fail_msg("%s does not know its error", dialect_names[pair->provider]);
    assert_int_equal(said.kind, LLM_ERROR_RATE_LIMIT);
    assert_true(text_eq(said.message, STR("Slow down.")));
    struct matrix_cell others = {.state = MATRIX_YES};
    struct look request = {pair, &others, ""};
    ask(&t, &request, ASK_TEXT, true);
    buf_clear(&t.body);
    client->write_error(&said, &t.body);
    validator_init(&v, pair->client);
    if (!validate_error(&v, buf_str(&t.body)))
        fail_msg("%s: %s\n%.*s", pair->label, v.why, STR_ARG(buf_str(&t.body)));
    validator_fini(&v);
    client->read_error(said.status, STR_EMPTY, buf_str(&t.body), &heard);
    if (heard.kind != said.kind)
        lose(look->cell, MATRIX_PARTLY, STR("kind"));
    if (!text_eq(heard.message, STR("Slow down.")))
        lose(look->cell, MATRIX_NO, STR("message"));
    translated_stream(&t, m->streams[SAY_TEXT], m->error_after, &m->stream_error, &answer);
    assert_true(t.translation.is_error);
    if (!answer.is_error)
        lose(look->cell, MATRIX_NO, STR("an error in a stream"));
    else if (answer.error.kind != t.translation.error.kind)
        lose(look->cell, MATRIX_PARTLY, STR("the kind of an error in a stream"));
    buf_fini(&others.reasons);
    translated_fini(&t);
}

typedef void feature_fn(struct look *look);
static feature_fn *const features[FEATURE_COUNT] = {
    [FEATURE_TEXT] = look_at_text,
    [FEATURE_STREAM] = look_at_text_stream,
    [FEATURE_TOOLS] = look_at_tools,
    [FEATURE_TOOLS_STREAM] = look_at_tools_stream,
    [FEATURE_PARALLEL] = look_at_parallel,
    [FEATURE_IMAGES] = look_at_images,
    [FEATURE_DOCUMENTS] = look_at_documents,
    [FEATURE_THINKING] = look_at_thinking,
    [FEATURE_STRUCTURED] = look_at_structured,
    [FEATURE_CACHE] = look_at_cache,
    [FEATURE_ERRORS] = look_at_errors,
};

/* --- the same dialect on both sides: the bytes --- */

static void splice(struct arena *arena, struct str body, const struct llm_fit *fit, struct buf *out)
{
    struct iovec parts[2 * ARRAY_LEN(fit->edits) + 1];
    (void)arena;
    int n = json_splice_iov(body, fit->edits, fit->count, parts, ARRAY_LEN(parts));
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        buf_add(out, parts[i].iov_base, parts[i].iov_len);
}

/* Nothing but the model differs. */
static void expect_only_the_model_differs(const struct pair *pair, struct str body)
{
    const struct dialect *d = dialect_of(pair->client);
    const struct matrix_dialect *m = matrix_dialect(pair->client);
    struct translated t;
    struct llm_scan scan;
    struct llm_fit fit = {.count = 0};
    char where[400];
    translated_init(&t, pair->label, pair->client, pair->provider);
    assert_int_equal(d->scan(body, JSON_DEPTH_DEFAULT, t.arena, &scan), 0);
    d->fit(&scan, body, &t.target, false, t.arena, &fit);
    splice(t.arena, body, &fit, &t.body);
    struct buf expected = BUF_INIT;
    struct str model = STR("\"model\":\"m\"");
    ptrdiff_t at = str_find(body, model);
    assert_int_equal(at >= 0, !m->model_in_path);
    buf_add(&expected, body.ptr, at >= 0 ? (size_t)at : 0);
    if (at >= 0)
        buf_printf(&expected, "\"model\":\"%.*s\"", STR_ARG(m->model));
    buf_add_str(&expected, at >= 0 ? str_skip(body, (size_t)at + model.len) : body);
    if (!json_equal(buf_str(&expected), buf_str(&t.body), where, sizeof(where)))
        fail_msg("%s: %s", pair->label, where);
    buf_fini(&expected);
    translated_fini(&t);
}

static void check_pair(void **state)
{
    struct pair *pair = *state;
    bool is_same = pair->client == pair->provider;
    for (unsigned f = 0; f < FEATURE_COUNT; f++) {
        struct matrix_cell *cell = &pair->cells[f];
        struct look look = {pair, cell, ""};
        cell->state = MATRIX_YES;
        features[f](&look);
        /* The translation of a dialect into itself is for marked signatures only. */
        if (is_same && cell->state != MATRIX_UNSAYABLE) {
            cell->state = MATRIX_YES;
            buf_clear(&cell->reasons);
        }
    }
    for (unsigned a = 0; is_same && a < ASK_COUNT; a++) {
        struct str body = matrix_dialect(pair->client)->asks[a];
        if (body.len > 0)
            expect_only_the_model_differs(pair, body);
    }
    checked++;
}

/* --- the page --- */

static void the_page_is_current(void **state)
{
    (void)state;
    struct buf page = BUF_INIT, file = BUF_INIT;
    const char *out = getenv("WEIR_MATRIX_OUT");
    if (checked < DIALECT_COUNT * DIALECT_COUNT)
        fail_msg("%u of the pairs came to an end", checked);
    matrix_write_page(&cells[0][0], &page);
    assert_true(buf_ok(&page));
    if (out != NULL) {
        FILE *f = fopen(out, "w");
        assert_non_null(f);
        fwrite(page.ptr, 1, page.len, f);
        fclose(f);
    } else {
        FILE *f = fopen(PAGE, "r");
        char piece[4096];
        if (f == NULL)
            fail_msg("%s is not there: scripts/write-dialect-matrix", PAGE);
        for (size_t n; (n = fread(piece, 1, sizeof(piece), f)) > 0;)
            buf_add(&file, piece, n);
        fclose(f);
        if (!str_eq(buf_str(&page), buf_str(&file)))
            fail_msg("%s is old: scripts/write-dialect-matrix", PAGE);
    }
    buf_fini(&page);
    buf_fini(&file);
}

int main(void)
{
    static struct pair pairs[DIALECT_COUNT * DIALECT_COUNT];
    static struct CMUnitTest tests[ARRAY_LEN(pairs) + 1];
    size_t count = 0;
    for (unsigned c = 0; c < DIALECT_COUNT; c++) {
        for (unsigned p = 0; p < DIALECT_COUNT; p++) {
            struct pair *pair = &pairs[count];
            pair->client = (enum dialect_id)c;
            pair->provider = (enum dialect_id)p;
            pair->cells = cells[c][p];
            snprintf(pair->label, sizeof(pair->label), "a client of %s at a provider of %s",
                     dialect_names[c], dialect_names[p]);
            tests[count++] = (struct CMUnitTest){
                .name = pair->label, .test_func = check_pair, .initial_state = pair};
        }
    }
    tests[count] = (struct CMUnitTest)cmocka_unit_test(the_page_is_current);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (unsigned c = 0; c < DIALECT_COUNT * DIALECT_COUNT * FEATURE_COUNT; c++)
        buf_fini(&(&cells[0][0][0])[c].reasons);
    return failed;
}
