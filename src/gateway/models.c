#include "gateway/models.h"

#include "base/json.h"
#include "base/percent.h"
#include "gateway/exchange.h"
#include "gateway/model_fetch.h"

/* The list as it grows: {"object":"list","data":[ ... */
struct listing {
    struct exchange *ex;
    struct buf out;
    bool has_any;
};

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
    BUF_LIT(&list->out, "{\"id\":");
    buf_add_json(&list->out, id);
    BUF_LIT(&list->out, ",\"object\":\"model\",\"created\":0,\"owned_by\":");
    buf_add_json(&list->out, owner);
    buf_add_char(&list->out, '}');
}

/* A model as its provider describes it, under the name that it has here. */
static void list_item(struct listing *list, struct str provider, struct str item)
{
    static const struct json_want wants[] = {{{STR_INIT("id")}}};
    struct json_scan scan;
    struct arena *arena = list->ex->arena;
    struct str id;
    if (json_scan_object(item, JSON_DEPTH_DEFAULT, wants, 1, &scan) < 0 ||
        scan.found[0].kind != JSON_STRING)
        return;
    struct json_value value = {JSON_STRING, json_span_str(item, scan.found[0].value)};
    struct arena_mark mark = arena_mark(arena);
    if (json_unescape(arena, json_string_raw(value), &id) == 0) {
        struct str parts[] = {provider, STR("/"), id};
        struct str full = arena_concat(arena, parts, ARRAY_LEN(parts));
        if (full.ptr != NULL && may_list(list->ex, full)) {
            struct json_span span = scan.found[0].value;
            separate(list);
            buf_add_str(&list->out, str_head(item, span.offset));
            buf_add_json(&list->out, full);
            buf_add_str(&list->out, str_skip(item, span.offset + span.len));
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

static void list_fetched(struct listing *list, struct str provider, struct str body)
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
        list_fetched(list, p->name, buf_str(body));
    } else {
        struct str parts[] = {*missing, missing->len > 0 ? STR(", ") : STR_EMPTY, p->name};
        *missing = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
    }
}

YIELDS static void answer_list(struct exchange *ex)
{
    struct listing list = {.ex = ex, .out = BUF_INIT};
    struct str missing = STR_EMPTY;
    BUF_LIT(&list.out, "{\"object\":\"list\",\"data\":[");
    for (unsigned i = 0; i < ex->settings->alias_count; i++)
        list_name(&list, ex->settings->aliases[i].name, STR("weir"));
    for (unsigned i = 0; i < ex->settings->provider_count; i++)
        list_provider(&list, i, &missing);
    BUF_LIT(&list.out, "]}");
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
                    upstream_target(upstream, ex->head_arena, OPERATION_MODELS, STR_EMPTY));
        return;
    }
    http_request_watch_hangup(ex->http, ex->task);
    exchange_wait_begins(ex);
    int r = model_lists_refresh(ex);
    exchange_wait_ended(ex);
    if (r == 0)
        answer_list(ex);
}

YIELDS void models_get(struct exchange *ex)
{
    /* One path segment that an SDK may have encoded, or the slashes as they are. */
    ex->asked = percent_decode(ex->arena, ex->path_tail);
    ex->record.model_asked = ex->asked;
    if (exchange_plan(ex) < 0)
        return;
    const struct provider *p = ex->upstream->provider;
    if (!model_list_is_fetched(p)) {
        struct listing one = {.ex = ex, .out = BUF_INIT};
        list_name(&one, ex->asked, p->name);
        exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
        exchange_add_own_headers(ex);
        http_respond(ex->http, 200, &ex->answer, buf_str(&one.out));
        buf_fini(&one.out);
        return;
    }
    pass_on(ex, ex->upstream,
            upstream_target(ex->upstream, ex->head_arena, OPERATION_MODELS, ex->target.model));
}
