#include "provider/catalogue.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "control/config.h"
#include "recordings.h"

/*
 * Every row of the catalogue can be used, and each says what the provider's recorded traffic shows:
 * host and path, how the credential travels, when a stream tells its usage, how it ends, and where
 * reasoning stands.
 */

/* Rows whose name is not that of the recordings. Their other recordings are of another API. */
static const struct {
    const char *api, *host, *row;
} named_otherwise[] = {
    {"zai.chat", "api.z.ai", "zai-coding"},
    {"azure.chat", ".services.ai.azure.com", "azure-ai"},
    {"azure.chat", ".openai.azure.com", "azure"},
    {"ollama.chat", "ollama.com", "ollama-cloud"},
    {"anthropic.messages", "openrouter.ai", "openrouter"},
    {"vertex.rawPredict", ".googleapis.com", "vertex-anthropic"},
    {"vertex.streamRawPredict", ".googleapis.com", "vertex-anthropic"},
    {"bedrock.invoke", ".amazonaws.com", "bedrock-anthropic"},
    {"bedrock.invoke-stream", ".amazonaws.com", "bedrock-anthropic"},
};

/* Which operation an API is; the others are chat. */
static const struct {
    const char *api;
    enum provider_operation operation;
} operations[] = {
    {"*.models", OPERATION_MODELS},       {"*.completions", OPERATION_COMPLETIONS},
    {"*.responses", OPERATION_RESPONSES}, {"*.count*okens", OPERATION_COUNT_TOKENS},
    {"*.stream*", OPERATION_CHAT_STREAM}, {"*-stream", OPERATION_CHAT_STREAM},
};

/* Other ways to the same API, and other APIs of the same provider. */
static const struct {
    const char *api, *host, *path;
} not_the_rows[] = {
    {"ollama.chat", "*", "/api/chat"},                       /* Ollama's own API */
    {"huggingface.chat", "*", "/together/*"},                /* one backend picked by hand */
    {"azure.chat", "*.openai.azure.com", "/openai/deploy*"}, /* the API before v1 */
    {"together.chat", "api.together.ai", "*"},               /* a second name of the host */
    {"azure.responses", "*.services.ai.azure.com", "*"},     /* a second name of the host */
    {"vertex.*", "firebasevertexai.googleapis.com", "*"},    /* for apps, by way of Firebase */
    {"vertex.*", "*", "*<GOOGLE_CLOUD_*"},                   /* whose project was taken out */
    {"vertex.*nerateContent", "*", "/v1/*"},                 /* the same under another version */
    {"gemini.streamGenerateContent", "*", "*:streamGenerateContent"}, /* the array form */
    {"gemini.*", "*", "*enum-encoding*"},
};

struct row {
    struct config_report report;
    struct settings *settings;
    const struct provider *provider;
};

static bool try_row(struct row *row, const char *name, const char *more)
{
    char text[256];
    snprintf(text, sizeof(text), "providers:\n  %s: {api_key: sk-test%s}\n", name, more);
    row->settings = config_read_text(str_c(text), "weir.yaml", NULL, &row->report, NULL);
    for (unsigned i = 0; row->settings != NULL && i < row->settings->provider_count; i++) {
        if (str_eq(row->settings->providers[i].name, str_c(name)))
            row->provider = &row->settings->providers[i];
    }
    return row->provider != NULL;
}

static void row_end(struct row *row)
{
    struct arena *arena = row->report.arena;
    settings_free(row->settings);
    arena_free(arena);
}

static void row_init(struct row *row)
{
    *row = (struct row){.provider = NULL};
    config_report_init(&row->report, arena_new(4096), STR("weir.yaml"));
}

/* The row as a config that only names it sees it; where every account has another address, with
 * one of them, or with what stands in it. */
static void row_begin(struct row *row, const char *name)
{
    static const char *const more[] = {"", ", region: us-east-1", ", resource: REDACTED",
                                       ", project: REDACTED, location: us-east5",
                                       ", base_url: \"https://account.example\""};
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        row_init(row);
        if (try_row(row, name, more[i]))
            return;
        if (i + 1 == ARRAY_LEN(more))
            fail_msg("%s: %.*s", name, STR_ARG(row->report.problems[0].text));
        row_end(row);
    }
}

/* Takes the next row's name from the YAML; false at its end. */
static bool next_name(struct str *yaml, char *name, size_t cap)
{
    struct str line;
    while (str_cut(yaml, '\n', &line)) {
        if (line.len > 0 && line.ptr[0] != ' ' && line.ptr[0] != '#' && str_ends(line, STR(":"))) {
            snprintf(name, cap, "%.*s", STR_ARG(str_head(line, line.len - 1)));
            return true;
        }
    }
    return false;
}

static void every_row_can_be_used(void **state)
{
    (void)state;
    struct str yaml = catalogue_yaml();
    char name[64];
    unsigned rows = 0, openai = 0;
    while (next_name(&yaml, name, sizeof(name))) {
        struct row row;
        row_begin(&row, name);
        const struct provider *provider = row.provider;
        rows++;
        openai += provider->dialect == DIALECT_OPENAI_CHAT && provider->paths[OPERATION_CHAT].len;
        assert_true(provider->title.len > 0);
        assert_true(provider->docs_url.len > 0 || provider->is_simulated);
        /* A key is sent in the clear only to a machine of one's own. */
        if (!provider->url_is_tls && !provider->is_simulated)
            assert_true(provider->host_is_literal && provider->allow_private);
        if (provider->allow_private)
            assert_false(provider->url_is_tls);
        row_end(&row);
    }
    assert_true(rows >= 100);
    assert_true(openai >= 60);
}

static void every_variable_belongs_to_one_row(void **state)
{
    (void)state;
    struct str yaml = catalogue_yaml(), line;
    struct str seen[256];
    unsigned count = 0;
    while (str_cut(&yaml, '\n', &line)) {
        struct str key = str_trim(line), value = key;
        str_cut(&value, ':', &key);
        if (!str_eq(key, STR("env_key")) && !str_eq(key, STR("env_base_url")))
            continue;
        value = str_trim(value);
        for (size_t i = 0; i < value.len; i++) {
            char c = value.ptr[i];
            assert_true((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_');
        }
        for (unsigned i = 0; i < count; i++)
            assert_false(str_eq(seen[i], value));
        assert_true(value.len > 0 && count < ARRAY_LEN(seen));
        seen[count++] = value;
    }
    assert_true(count >= 60);
}

/* --- recordings --------------------------------------------------------------------------------
 */

struct checked {
    unsigned requests, streams;
};

/* One recorded exchange beside the row that is to fit it. */
struct exchange {
    const struct recording *recording;
    struct str host, path, request_body;
    yyjson_val *request_headers;
    char row[32];
};

static struct str text(yyjson_val *value)
{
    return str_n(yyjson_get_str(value), yyjson_get_len(value));
}

static bool is_not_the_rows(const struct exchange *e)
{
    for (size_t i = 0; i < ARRAY_LEN(not_the_rows); i++) {
        if (str_glob(str_c(not_the_rows[i].api), e->recording->api) &&
            str_glob(str_c(not_the_rows[i].host), e->host) &&
            str_glob(str_c(not_the_rows[i].path), e->path))
            return true;
    }
    return false;
}

static void find_row(struct exchange *e)
{
    struct str rest = e->recording->api, name;
    str_cut(&rest, '.', &name);
    for (size_t i = 0; i < ARRAY_LEN(named_otherwise); i++) {
        if (str_eq(e->recording->api, str_c(named_otherwise[i].api)) &&
            str_ends(e->host, str_c(named_otherwise[i].host)))
            name = str_c(named_otherwise[i].row);
    }
    snprintf(e->row, sizeof(e->row), "%.*s", STR_ARG(name));
}

static enum provider_operation operation_of(const struct exchange *e, const char *row)
{
    if (str_eq(e->recording->api, STR("anthropic.messages")) && strcmp(row, "anthropic") != 0)
        return OPERATION_MESSAGES;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        if (str_glob(str_c(operations[i].api), e->recording->api))
            return operations[i].operation;
    }
    return OPERATION_CHAT;
}

/* What stands between two marks of a text, or behind the first one when the second is not there. */
static struct str between(struct str s, const char *before, const char *after)
{
    ptrdiff_t at = str_find(s, str_c(before));
    if (at < 0)
        return STR("");
    s = str_skip(s, (size_t)at + strlen(before));
    ptrdiff_t end = str_find(s, str_c(after));
    return end < 0 ? s : str_head(s, (size_t)end);
}

/* The row for the account that was recorded: its region, its project and so on. */
static void row_of_account(struct row *row, const struct exchange *e)
{
    struct str region = between(e->host, "bedrock-runtime.", ".");
    struct str mantle = between(e->host, "bedrock-mantle.", ".");
    struct str project = between(e->path, "/projects/", "/");
    struct str location = between(e->path, "/locations/", "/");
    char more[160] = "";
    if (region.len + mantle.len > 0)
        snprintf(more, sizeof(more), ", region: %.*s", STR_ARG(region.len > 0 ? region : mantle));
    else if (project.len > 0)
        snprintf(more, sizeof(more), ", project: %.*s, location: %.*s", STR_ARG(project),
                 STR_ARG(location));
    if (more[0] == '\0') {
        row_begin(row, e->row);
        return;
    }
    row_init(row);
    if (!try_row(row, e->row, more))
        fail_msg("%s: %.*s", e->row, STR_ARG(row->report.problems[0].text));
}

/* The path of the operation as a glob: any model. */
static void path_pattern(const struct provider *provider, enum provider_operation operation,
                         char *out, size_t cap)
{
    struct str path = provider->paths[operation];
    if (path.len == 0 && operation == OPERATION_CHAT_STREAM)
        path = provider->paths[OPERATION_CHAT];
    ptrdiff_t at = str_find(path, STR("{model}"));
    struct str before = at < 0 ? path : str_head(path, (size_t)at);
    struct str after = at < 0 ? STR("") : str_skip(path, (size_t)at + strlen("{model}"));
    /* More may stand in the query: a key, say. */
    snprintf(out, cap, "%.*s%.*s%s%.*s%s", STR_ARG(provider->url_path), STR_ARG(before),
             at < 0 ? "" : "*", STR_ARG(after), str_index(path, '?') >= 0 ? "*" : "");
}

static void check_place(const struct exchange *e, const struct provider *provider)
{
    enum provider_operation operation = operation_of(e, e->row);
    char expected[512];
    bool has_port = str_index(e->host, ':') >= 0;
    snprintf(expected, sizeof(expected), "%.*s", STR_ARG(provider->url_host));
    if (has_port)
        snprintf(expected, sizeof(expected), "%.*s:%u", STR_ARG(provider->url_host),
                 provider->url_port);
    struct str host = e->host;
    char local[64];
    if (str_starts(host, STR("localhost:"))) {
        snprintf(local, sizeof(local), "127.0.0.1:%.*s", STR_ARG(str_skip(host, 10)));
        host = str_c(local);
    }
    bool is_of_account = str_eq(provider->url_host, STR("account.example"));
    if (!is_of_account && !str_eq(host, str_c(expected)))
        fail_msg("%s: host %.*s, the row %s says %s", e->recording->path, STR_ARG(e->host), e->row,
                 expected);
    path_pattern(provider, operation, expected, sizeof(expected));
    struct str query = e->path, path;
    str_cut(&query, '?', &path);
    if (strchr(expected, '?') != NULL)
        path = e->path;
    /* One model of the list is asked for as the list's path and its name. */
    bool is_model = operation == OPERATION_MODELS && str_starts(path, str_c(expected)) &&
                    path.len > strlen(expected) && path.ptr[strlen(expected)] == '/';
    if (!str_glob(str_c(expected), path) && !is_model)
        fail_msg("%s: path %.*s, the row %s says %s", e->recording->path, STR_ARG(e->path), e->row,
                 expected);
}

static void check_credential(const struct exchange *e, const struct provider *provider)
{
    static const char *const known[] = {"authorization", "api-key", "x-api-key", "x-goog-api-key"};
    char name[64] = "authorization";
    if (provider->auth == AUTH_HEADER)
        snprintf(name, sizeof(name), "%.*s", STR_ARG(provider->auth_header));
    bool has_any = false;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        has_any |= yyjson_obj_get(e->request_headers, known[i]) != NULL;
    /* Many recordings have lost the header; a local server may have been sent one for nothing. */
    bool is_open = provider->auth == AUTH_NO_CREDENTIAL;
    if (has_any && !is_open && yyjson_obj_get(e->request_headers, name) == NULL)
        fail_msg("%s: its credential is not in %s", e->recording->path, name);
}

/* What the chunks of a stream show. */
struct shown {
    unsigned chunks, with_usage;
    bool is_done, total_is_more;
    const char *reasoning_field;
};

static void look_at_chunk(struct shown *shown, yyjson_val *chunk)
{
    static const char *const fields[] = {"reasoning_content", "reasoning"};
    yyjson_val *usage = yyjson_obj_get(chunk, "usage");
    shown->chunks++;
    if (yyjson_is_obj(usage)) {
        shown->with_usage++;
        int64_t prompt = yyjson_get_sint(yyjson_obj_get(usage, "prompt_tokens"));
        int64_t completion = yyjson_get_sint(yyjson_obj_get(usage, "completion_tokens"));
        int64_t total = yyjson_get_sint(yyjson_obj_get(usage, "total_tokens"));
        shown->total_is_more |= total > prompt + completion;
    }
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(chunk, "choices"));
    yyjson_val *delta = yyjson_obj_get(choice, "delta");
    if (delta == NULL)
        delta = yyjson_obj_get(choice, "message");
    for (size_t i = 0; i < ARRAY_LEN(fields) && shown->reasoning_field == NULL; i++) {
        if (yyjson_get_len(yyjson_obj_get(delta, fields[i])) > 0)
            shown->reasoning_field = fields[i];
    }
}

static struct shown look_at(const struct recording *recording)
{
    struct shown shown = {0};
    struct str rest = recording->body, line;
    bool is_stream = str_eq(recording->framing, STR("sse"));
    for (bool more = rest.len > 0; more;) {
        more = is_stream ? str_cut(&rest, '\n', &line) : false;
        if (!is_stream)
            line = rest;
        else if (!str_starts(line, STR("data:")))
            continue;
        else
            line = str_trim(str_skip(line, 5));
        shown.is_done |= str_starts(line, STR("[DONE]"));
        yyjson_doc *doc = yyjson_read(line.ptr, line.len, 0);
        if (doc != NULL)
            look_at_chunk(&shown, yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
    }
    return shown;
}

static void check_stream(const struct exchange *e, const struct shown *shown,
                         const struct provider_quirks *quirks)
{
    const char *path = e->recording->path;
    bool is_whole = !recording_has(e->recording, "truncated") &&
                    !recording_has(e->recording, "midstream_error") &&
                    !recording_has(e->recording, "spliced");
    if (is_whole && shown->is_done == quirks->ends_without_done)
        fail_msg("%s: [DONE] %s", path, shown->is_done ? "is there" : "is missing");
    bool was_asked = str_find(e->request_body, STR("include_usage")) >= 0;
    if (was_asked && shown->with_usage > 0 && quirks->stream_usage == STREAM_USAGE_NO_OPTION)
        fail_msg("%s: usage was asked for and came", path);
    if (e->request_body.len > 0 && !was_asked && is_whole &&
        (shown->with_usage > 0) != (quirks->stream_usage != STREAM_USAGE_ON_REQUEST))
        fail_msg("%s: usage was not asked for and %s", path,
                 shown->with_usage > 0 ? "came" : "did not come");
    if ((shown->with_usage > 2) != quirks->usage_is_cumulative)
        fail_msg("%s: %u of %u chunks have a usage", path, shown->with_usage, shown->chunks);
}

static void check_answer(const struct exchange *e, const struct provider *provider)
{
    struct shown shown = look_at(e->recording);
    const struct llm_quirks *quirks = &provider->llm_quirks;
    if (shown.total_is_more && !quirks->total_includes_reasoning)
        fail_msg("%s: total_tokens is more than its parts", e->recording->path);
    if (shown.reasoning_field != NULL &&
        !str_eq(quirks->reasoning_field, str_c(shown.reasoning_field)))
        fail_msg("%s: reasoning stands in %s, the row %s says \"%.*s\"", e->recording->path,
                 shown.reasoning_field, e->row, STR_ARG(quirks->reasoning_field));
    if (str_eq(e->recording->framing, STR("sse")))
        check_stream(e, &shown, &provider->quirks);
}

static void check_recording(const struct recording *recording, void *ctx)
{
    struct checked *checked = ctx;
    yyjson_doc *doc = yyjson_read_file(recording->path, 0, NULL, NULL);
    yyjson_val *request = yyjson_obj_get(yyjson_doc_get_root(doc), "request");
    struct exchange e = {
        .recording = recording,
        .host = text(yyjson_obj_get(request, "host")),
        .path = text(yyjson_obj_get(request, "path")),
        .request_body = text(yyjson_obj_get(request, "body")),
        .request_headers = yyjson_obj_get(request, "headers"),
    };
    if (!is_not_the_rows(&e)) {
        find_row(&e);
        struct row row;
        row_of_account(&row, &e);
        check_place(&e, row.provider);
        check_credential(&e, row.provider);
        /* A fixture is what a person wrote, not what the provider sent. */
        if (recording->status == 200 && !str_eq(recording->fidelity, STR("fixture")) &&
            row.provider->dialect == DIALECT_OPENAI_CHAT &&
            str_ends(recording->api, STR(".chat"))) {
            check_answer(&e, row.provider);
            checked->streams += str_eq(recording->framing, STR("sse"));
        }
        checked->requests++;
        row_end(&row);
    }
    yyjson_doc_free(doc);
}

static void the_rows_say_what_was_recorded(void **state)
{
    (void)state;
    static const char *const apis[] = {"*.chat",
                                       "*.completions",
                                       "*.models",
                                       "anthropic.messages",
                                       "*.responses",
                                       "gemini.*okens",
                                       "gemini.*nerateContent",
                                       "vertex.*nerate*",
                                       "vertex.*Predict",
                                       "vertex.countTokens",
                                       "bedrock.converse*",
                                       "bedrock.invoke*",
                                       "anthropic.count_tokens",
                                       NULL};
    struct checked checked = {0};
    if (!recordings_are_here()) {
        print_message("skipped: no recorded traffic (WEIR_WIRE_DIR)\n");
        skip();
    }
    recordings_each(apis, check_recording, &checked);
    assert_true(checked.requests > 0 && checked.streams > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_can_be_used),
        cmocka_unit_test(every_variable_belongs_to_one_row),
        cmocka_unit_test(the_rows_say_what_was_recorded),
    };
    return cmocka_run_group_tests_name("dialect/wire_catalogue", tests, NULL, NULL);
}
