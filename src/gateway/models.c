#include "gateway/models.h"

#include "base/json.h"
#include "base/percent.h"
#include "gateway/exchange.h"
#include "gateway/model_fetch.h"

/* The list as it grows, in the form that the client's SDK reads. */
struct listing {
    struct exchange *ex;
    const struct list_form *form;
    struct buf out;
    bool has_any;
};

struct list_form {
    struct str head, tail;
    void (*write_name)(struct buf *out, struct str id, struct str owner);
};

static void write_openai_name(struct buf *out, struct str id, struct str owner)
{
    BUF_LIT(out, "{\"id\":");
    buf_add_json(out, id);
    BUF_LIT(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":");
    buf_add_json(out, owner);
    buf_add_char(out, '}');
}

static void write_anthropic_name(struct buf *out, struct str id, struct str owner)
{
    (void)owner;
    BUF_LIT(out, "{\"type\":\"model\",\"id\":");
    buf_add_json(out, id);
    BUF_LIT(out, ",\"display_name\":");
    buf_add_json(out, id);
    BUF_LIT(out, ",\"created_at\":\"1970-01-01T00:00:00Z\"}");
}

static void write_gemini_name(struct buf *out, struct str id, struct str owner)
{
    BUF_LIT(out, "{\"name\":\"models/");
    text_write_inside(out, text_plain(id));
    BUF_LIT(out, "\",\"displayName\":");
    buf_add_json(out, id);
    BUF_LIT(out, ",\"description\":");
    buf_add_json(out, owner);
    BUF_LIT(out, ",\"supportedGenerationMethods\":[\"generateContent\","
                 "\"streamGenerateContent\",\"countTokens\"]}");
}

static const struct list_form openai_form = {STR_INIT("{\"object\":\"list\",\"data\":["),
                                             STR_INIT("]}"), write_openai_name};
static const struct list_form anthropic_form = {
    STR_INIT("{\"data\":["), STR_INIT("],\"has_more\":false,\"first_id\":null,\"last_id\":null}"),
    write_anthropic_name};
static const struct list_form gemini_form = {STR_INIT("{\"models\":["), STR_INIT("]}"),
                                             write_gemini_name};

static const struct list_form *form_for(enum dialect_id client)
{
    if (client == DIALECT_ANTHROPIC)
        return &anthropic_form;
    return client == DIALECT_GEMINI ? &gemini_form : &openai_form;
}

static bool may_list(const struct exchange *ex, struct str id)
{
    return ex->key == NULL || virtual_key_allows(ex->key, id, id);
}

static void separate(struct listing *list)
{
    if (list->has_any)
        buf_add_char(&list->out, ',');
    list->has_any = true;
}

/* A model that we know by its name alone. */
static void list_name(struct listing *list, struct str id, struct str owner)
{
    if (!may_list(list->ex, id))
        return;
    separate(list);
    list->form->write_name(&list->out, id, owner);
}

/* The id in an item: "id", or "name", which Gemini writes as models/ID. */
static struct str id_of_item(struct str item, const struct json_scan *scan, struct arena *arena)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct json_found *found = &scan->found[i];
        struct json_value value = {found->kind, json_span_str(item, found->value)};
        struct str id;
        if (found->kind != JSON_STRING || json_unescape(arena, json_string_raw(value), &id) < 0)
            continue;
        return str_starts(id, STR("models/")) ? str_skip(id, sizeof("models/") - 1) : id;
    }
    return STR_EMPTY;
}

/* A model as its provider describes it, under the name that it has here. The description is kept
 * where the client reads the provider's own form. */
static void list_item(struct listing *list, const struct provider *provider, struct str item)
{
    static const struct json_want wants[] = {{{STR_INIT("id")}}, {{STR_INIT("name")}}};
    struct json_scan scan;
    struct arena *arena = list->ex->arena;
    if (json_scan_object(item, JSON_DEPTH_DEFAULT, wants, ARRAY_LEN(wants), &scan) < 0)
        return;
    struct arena_mark mark = arena_mark(arena);
    struct str id = id_of_item(item, &scan, arena);
    struct str parts[] = {provider->name, STR("/"), id};
    struct str full = id.len > 0 ? arena_concat(arena, parts, ARRAY_LEN(parts)) : STR_EMPTY;
    bool is_own_form = list->form == &openai_form && provider->dialect == DIALECT_OPENAI_CHAT &&
                       scan.found[0].kind == JSON_STRING;
    if (full.len > 0 && may_list(list->ex, full)) {
        if (is_own_form) {
            struct json_span span = scan.found[0].value;
            separate(list);
            buf_add_str(&list->out, str_head(item, span.offset));
            buf_add_json(&list->out, full);
            buf_add_str(&list->out, str_skip(item, span.offset + span.len));
        } else {
            list_name(list, full, provider->name);
        }
    }
    arena_rewind(arena, mark);
}

/* {"data": [...]}, {"models": [...]} or the bare array: providers differ. */
static struct str items_of(struct str body)
{
    static const char *const paths[] = {"data", "models"};
    struct json_value value;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (json_find(body, paths[i], &value) && value.kind == JSON_ARRAY)
            return value.text;
    }
    return body;
}

static void list_fetched(struct listing *list, const struct provider *provider, struct str body)
{
    struct json_cursor cursor;
    struct json_value item;
    json_cursor_init(&cursor, items_of(body));
    while (json_iter_array(&cursor, &item) == 1)
        list_item(list, provider, item.text);
}

static void list_provider(struct listing *list, unsigned index, struct str *missing)
{
    struct exchange *ex = list->ex;
    const struct provider *p = ex->ts->upstreams[index].provider;
    const struct buf *body = &ex->ts->model_lists[index].body;
    if (!model_list_is_fetched(p)) {
        for (unsigned i = 0; i < p->model_count; i++) {
            struct str parts[] = {p->name, STR("/"), p->models[i]};
            if (str_index(p->models[i], '*') < 0)
                list_name(list, arena_concat(ex->arena, parts, ARRAY_LEN(parts)), p->name);
        }
    } else if (body->len > 0) {
        list_fetched(list, p, buf_str(body));
    } else {
        struct str parts[] = {*missing, missing->len > 0 ? STR(", ") : STR_EMPTY, p->name};
        *missing = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
    }
}

YIELDS static void answer_list(struct exchange *ex)
{
    struct listing list = {.ex = ex, .form = form_for(ex->error_dialect), .out = BUF_INIT};
    struct str missing = STR_EMPTY;
    buf_add_str(&list.out, list.form->head);
    for (unsigned i = 0; i < ex->settings->route_count; i++)
        list_name(&list, ex->settings->routes[i].name, STR("weir"));
    for (unsigned i = 0; i < ex->settings->alias_count; i++)
        list_name(&list, ex->settings->aliases[i].name, STR("weir"));
    for (unsigned i = 0; i < ex->settings->provider_count; i++)
        list_provider(&list, i, &missing);
    buf_add_str(&list.out, list.form->tail);
    if (!buf_ok(&list.out)) {
        refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
    } else {
        if (missing.len > 0)
            exchange_answer_header(ex, STR("x-weir-partial"), missing);
        exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
        exchange_add_own_headers(ex);
        http_respond(ex->http, 200, &ex->answer, buf_str(&list.out));
    }
    buf_fini(&list.out);
}

/* The provider of that name, or NULL after a refusal. */
YIELDS static const struct upstream *find_provider(struct exchange *ex, struct str name)
{
    for (unsigned i = 0; i < ex->settings->provider_count; i++) {
        const struct upstream *u = &ex->ts->upstreams[i];
        if (str_eq(u->provider->name, name) && u->provider->paths[OPERATION_MODELS].len > 0)
            return u;
    }
    refuse(ex, REFUSE_OPERATION, STR("provider"),
           "There is no configured provider '%.*s' with a model list.", STR_ARG(name));
    return NULL;
}

/* Sends GET to `path` of the upstream and passes the answer on as it comes. */
YIELDS static void pass_on(struct exchange *ex, const struct upstream *upstream, struct str path)
{
    ex->upstream = upstream;
    ex->upstream_path = path;
    ex->record.provider = upstream->provider->name;
    ex->record.is_simulated = upstream->provider->is_simulated;
    if (path.ptr == NULL) {
        refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
        return;
    }
    if (exchange_attempt(ex) == 0)
        exchange_relay(ex);
}

YIELDS void models_list(struct exchange *ex)
{
    struct str wanted = ex->http->query;
    bool sees_all = ex->key == NULL || ex->key->model_count == 0;
    if (str_starts(wanted, STR("provider=")) && sees_all) {
        const struct upstream *upstream = find_provider(ex, str_skip(wanted, 9));
        if (upstream != NULL)
            pass_on(ex, upstream,
                    upstream_target(upstream, 0, ex->head_arena, OPERATION_MODELS, STR_EMPTY));
        return;
    }
    http_request_watch_hangup(ex->http, ex->task);
    exchange_wait_begins(ex);
    int r = model_lists_refresh(ex);
    exchange_wait_ended(ex);
    if (r == 0)
        answer_list(ex);
}

/* The one model by its name: what its provider says of it is read by another dialect's SDK. */
YIELDS static void answer_name(struct exchange *ex)
{
    struct listing one = {.ex = ex, .form = form_for(ex->error_dialect), .out = BUF_INIT};
    list_name(&one, ex->asked, ex->upstream->provider->name);
    exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
    exchange_add_own_headers(ex);
    http_respond(ex->http, 200, &ex->answer, buf_str(&one.out));
    buf_fini(&one.out);
}

YIELDS void models_get(struct exchange *ex)
{
    /* One path segment that an SDK may have encoded, or the slashes as they are. */
    ex->asked = percent_decode(ex->arena, ex->path.model);
    ex->record.model_asked = ex->asked;
    if (exchange_plan(ex) < 0)
        return;
    const struct provider *p = ex->upstream->provider;
    if (!model_list_is_fetched(p) || p->dialect != ex->error_dialect) {
        answer_name(ex);
        return;
    }
    pass_on(ex, ex->upstream,
            upstream_target(ex->upstream, ex->key_index, ex->head_arena, OPERATION_MODELS,
                            ex->target.model));
}
