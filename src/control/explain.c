#include "control/explain.h"

#include <errno.h>

#include "control/load.h"
#include "dialect/dialect.h"
#include "gateway/planning.h"
#include "gateway/request_facts.h"
#include "gateway/settings.h"

/* What is at hand while a plan is explained. */
struct explanation {
    const struct explain_options *options;
    const struct settings *settings;
    const struct virtual_key *key; /* NULL = nobody's */
    struct arena *arena;
    struct buf body;
    struct http_headers headers;
    struct route_facts facts;
    struct plan_world world;
    struct plan plan;
};

static bool tell(const char *what, const char *about, const char *why)
{
    fprintf(stderr, "weir plan: %s \"%s\"%s%s\n", what, about, why[0] != '\0' ? ": " : "", why);
    return false;
}

static bool read_body(struct explanation *e)
{
    const char *path = e->options->request;
    bool is_stdin = path == NULL || strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    if (file == NULL)
        return tell("cannot open", path, strerror(errno));
    e->body.limit = e->settings->limits.body_bytes;
    char chunk[2048];
    size_t n;
    while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
        buf_add(&e->body, chunk, n);
    bool is_read = ferror(file) == 0 && buf_ok(&e->body);
    if (!is_stdin)
        fclose(file);
    return is_read || tell("cannot read", is_stdin ? "the standard input" : path,
                           "it breaks off, or is larger than limits.body");
}

static const struct dialect *find_dialect(const char *name)
{
    for (unsigned i = 0; i < DIALECT_COUNT; i++) {
        if (name == NULL || strcmp(dialect_names[i], name) == 0)
            return dialect_of(name == NULL ? DIALECT_OPENAI_CHAT : (enum dialect_id)i);
    }
    fprintf(stderr, "weir plan: there is no dialect \"%s\"; expected one of", name);
    for (unsigned i = 0; i < DIALECT_COUNT; i++)
        fprintf(stderr, "%s %s", i > 0 ? "," : "", dialect_names[i]);
    fputs("\n", stderr);
    return NULL;
}

static bool add_headers(struct explanation *e)
{
    for (unsigned i = 0; i < e->options->header_count; i++) {
        struct str value = str_c(e->options->headers[i]), name;
        if (!str_cut(&value, ':', &name) || !http_name_is_safe(name))
            return tell("expected name:value instead of", e->options->headers[i], "");
        if (!http_headers_add(&e->headers, e->arena, name, str_trim(value)))
            return tell("out of memory at", e->options->headers[i], "");
    }
    return true;
}

static bool find_key(struct explanation *e)
{
    const char *name = e->options->key;
    for (unsigned i = 0; name != NULL && i < e->settings->key_count; i++) {
        const struct virtual_key *key = &e->settings->keys[i];
        if (!str_eq(key->name, str_c(name)))
            continue;
        e->key = key;
        e->facts.key_name = key->name;
        e->facts.key_team = key->team;
        return true;
    }
    return name == NULL || tell("the config has no key", name, "");
}

static bool add_fallbacks(struct explanation *e, const struct llm_scan *scan)
{
    const struct json_found *found = &scan->json.found[LLM_WANT_FALLBACKS];
    struct str wish = http_headers_get(&e->headers, STR("x-weir-fallback"));
    struct route_names names = {NULL, 0};
    e->facts.is_fallback_off = str_ieq(str_trim(wish), STR("off"));
    if (found->kind == JSON_NONE || found->kind == JSON_NULL)
        return true;
    struct str list = json_span_str(buf_str(&e->body), found->value);
    if (request_fallbacks_read(list, e->arena, &names) < 0)
        return tell("expected a list of names instead of", "fallbacks", "");
    e->facts.fallbacks = names.names;
    e->facts.fallback_count = names.count;
    return true;
}

static bool read_facts(struct explanation *e)
{
    const struct dialect *dialect = find_dialect(e->options->dialect);
    if (dialect == NULL || !read_body(e) || !add_headers(e) || !find_key(e))
        return false;
    struct llm_scan scan;
    if (dialect->scan(buf_str(&e->body), e->settings->json_depth, e->arena, &scan) < 0)
        return tell("no request of the dialect", dialect->name, err_slot()->message);
    e->facts.model = e->options->model != NULL ? str_c(e->options->model) : scan.model;
    if (e->facts.model.len == 0)
        return tell("the request names no model; write", "--model", "");
    e->facts.is_stream = scan.is_stream || e->options->is_stream;
    e->facts.headers = &e->headers;
    e->facts.input_tokens = request_tokens(e->body.len);
    e->facts.output_tokens = -1;
    request_facts_read(buf_str(&e->body), &e->headers, e->arena, &e->facts);
    return add_fallbacks(e, &scan);
}

/* Prices are all that is known. */
static void look(void *ctx, unsigned provider, struct str model, struct plan_health *out)
{
    const struct explanation *e = ctx;
    out->price_per_request =
        request_price(&e->settings->providers[provider], model, e->facts.input_tokens);
}

static void write_names(const struct explanation *e, struct buf *out)
{
    for (unsigned i = 0; i < e->plan.step_count; i++) {
        const struct plan_step *step = &e->plan.steps[i];
        if (!step->is_out && step->part <= PLAN_FALLBACK_GENERAL)
            buf_printf(out, "%.*s/%.*s\n", STR_ARG(e->world.providers[step->provider].name),
                       STR_ARG(step->model));
    }
}

/* The plan of the first request that there is: seed and turn are always the same. */
static int write_plan(struct explanation *e)
{
    const struct plan_view view = {.look = look, .ctx = e};
    if (!settings_world(e->settings, &e->world) ||
        plan_make(&e->world, &e->facts, &view, 0, 1, e->arena, &e->plan) < 0) {
        fputs("weir plan: out of memory\n", stderr);
        return 1;
    }
    if (e->key != NULL)
        planning_forbid(&e->plan, &e->world, e->key, e->facts.fallback_count > 0, e->arena);
    struct buf text = BUF_INIT;
    bool is_planned = e->plan.verdict == PLAN_OK;
    if (e->options->is_json) {
        plan_explain_json(&e->plan, &e->world, &text);
        buf_add_char(&text, '\n');
    } else if (e->options->wants_reason || !is_planned) {
        plan_explain(&e->plan, &e->world, &text);
    } else {
        write_names(e, &text);
    }
    bool is_written = buf_ok(&text) && fwrite(text.ptr, 1, text.len, stdout) == text.len;
    buf_fini(&text);
    return is_written && is_planned ? 0 : 1;
}

int explain_plan(const struct explain_options *options)
{
    static const struct config_options no_options;
    struct config_report report;
    struct explanation e = {.options = options, .arena = arena_new(4096)};
    if (e.arena == NULL) {
        fputs("weir plan: out of memory\n", stderr);
        return 1;
    }
    const char *source = options->config != NULL ? options->config : "environment";
    config_report_init(&report, e.arena, str_c(source));
    struct snapshot *snapshot = load_snapshot(options->config, &no_options, 1, &report, NULL);
    struct buf text = BUF_INIT;
    config_report_write(&report, &text);
    fwrite(text.ptr != NULL ? text.ptr : "", 1, text.len, stderr);
    buf_fini(&text);
    int status = 1;
    if (snapshot != NULL) {
        e.settings = snapshot_settings(snapshot);
        status = read_facts(&e) ? write_plan(&e) : 1;
    }
    snapshot_unref(snapshot);
    buf_fini(&e.body);
    arena_free(e.arena);
    return status;
}
