#include "gateway/responses.h"

#include "dialect/openai_responses/state.h"
#include "gateway/operation.h"
#include "gateway/query.h"
#include "gateway/relay_stream.h"
#include "gateway/response_store.h"

/*
 * Ids of responses are long random texts: asking every provider that has the API tells nobody
 * anything, and needs no memory that a restart would lose. ?provider=NAME asks one.
 */

static bool may_ask(const struct exchange *ex, const struct provider *p, struct str wanted)
{
    if (p->paths[OPERATION_RESPONSES].len == 0 || p->is_simulated)
        return false;
    if (wanted.len > 0 && !str_eq(wanted, p->name))
        return false;
    struct str any[] = {p->name, STR("/*")};
    struct str name = arena_concat(ex->arena, any, ARRAY_LEN(any));
    return ex->key == NULL || virtual_key_allows(ex->key, name, name);
}

/* The path after /v1/responses as the client wrote it. */
static struct str path_of(struct exchange *ex, const struct upstream *upstream)
{
    struct str base = upstream_target(upstream, 0, ex->head_arena, OPERATION_RESPONSES, STR_EMPTY);
    ptrdiff_t at = str_find(ex->http->path, STR("/responses/"));
    struct str rest = str_skip(ex->http->path, (size_t)at + sizeof("/responses") - 1);
    struct str query = query_without(ex->http->query, STR("provider"), ex->head_arena);
    ptrdiff_t mark = str_index(base, '?');
    struct str own = mark < 0 ? STR_EMPTY : str_skip(base, (size_t)mark + 1);
    struct str parts[] = {mark < 0 ? base : str_head(base, (size_t)mark),      rest,
                          own.len > 0 || query.len > 0 ? STR("?") : STR_EMPTY, own,
                          own.len > 0 && query.len > 0 ? STR("&") : STR_EMPTY, query};
    return base.ptr == NULL ? STR_EMPTY : arena_concat(ex->head_arena, parts, ARRAY_LEN(parts));
}

/* 1 = answered, 0 = this provider does not know it. */
YIELDS static int ask(struct exchange *ex, const struct upstream *upstream, bool is_last)
{
    ex->upstream = upstream;
    ex->record.provider = upstream->provider->name;
    ex->upstream_path = path_of(ex, upstream);
    if (ex->upstream_path.ptr == NULL) {
        refuse_no_memory(ex);
        return 1;
    }
    if (ex->has_call) {
        http_call_finish(&ex->call);
        ex->has_call = false;
    }
    if (exchange_attempt(ex) < 0)
        return 1;
    if (ex->call.head.status == 404 && !is_last)
        return 0;
    exchange_relay(ex);
    return 1;
}

/* An id is one segment that says nothing else: what it becomes part of is our path upstream. */
static bool is_id(struct str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        if (!is_alnum && c != '_' && c != '-')
            return false;
    }
    return id.len > 0;
}

/* --- what weir keeps itself --- */

static struct str owner(const struct exchange *ex)
{
    return ex->key != NULL ? ex->key->name : STR_EMPTY;
}

/* True when the request goes on from an answer before it. */
static bool has_previous(struct exchange *ex, struct str *id)
{
    struct json_value previous;
    if (!json_find(buf_str(&ex->body), "previous_response_id", &previous) ||
        previous.kind != JSON_STRING)
        return false;
    if (json_unescape(ex->arena, json_string_raw(previous), id) < 0)
        *id = STR_EMPTY;
    return true;
}

int response_expanded(struct exchange *ex, struct str *body)
{
    struct buf items = BUF_INIT, expanded = BUF_INIT;
    struct str id;
    *body = buf_str(&ex->body);
    if (!has_previous(ex, &id))
        return 0;
    if (!response_store_is_on() || !response_store_get(id, owner(ex), NULL, &items))
        return err_set(ERR_INVALID, FAULT_CLIENT, "only the provider knows what came before");
    int r = openai_responses_expand(buf_str(&items), *body, ex->arena, &expanded);
    *body = arena_dup(ex->arena, buf_str(&expanded));
    bool is_ok = buf_ok(&expanded) && body->ptr != NULL;
    buf_fini(&items);
    buf_fini(&expanded);
    return r < 0 || is_ok ? r : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
}

YIELDS int response_expand(struct exchange *ex)
{
    struct buf items = BUF_INIT, body = BUF_INIT;
    struct str id;
    if (!has_previous(ex, &id))
        return 0;
    int r = -ERR_INVALID;
    if (!response_store_is_on())
        refuse(
            ex, REFUSE_BODY, STR("previous_response_id"),
            "'%.*s' keeps no responses, and neither does this gateway (responses.store). Send the "
            "whole conversation as `input`.",
            STR_ARG(ex->record.provider));
    else if (!response_store_get(id, owner(ex), NULL, &items))
        refuse(ex, REFUSE_RESPONSE_UNKNOWN, STR("previous_response_id"),
               "Previous response with id '%.*s' not found.", STR_ARG(id));
    else
        r = openai_responses_expand(buf_str(&items), buf_str(&ex->body), ex->arena, &body);
    buf_fini(&items);
    if (r == 0 && buf_ok(&body)) {
        buf_fini(&ex->body);
        ex->body = body;
        /* Another try may splice into it. */
        r = ex->client->scan(buf_str(&ex->body), ex->settings->json_depth, ex->arena, &ex->scan);
        if (r < 0)
            refuse(ex, REFUSE_BODY, ex->scan.bad_param, "%s", err_slot()->message);
        return r;
    }
    buf_fini(&body);
    if (ex->http->status == 0)
        return refuse_no_memory(ex);
    return r;
}

void response_keep(struct exchange *ex, struct str response)
{
    struct json_value id, store;
    struct buf items = BUF_INIT;
    if (!response_store_is_on() || ex->record.is_mirror || ex->body.len == 0 ||
        !json_find(response, "id", &id) ||
        (json_find(buf_str(&ex->body), "store", &store) && store.kind == JSON_FALSE))
        return;
    if (openai_responses_items_of(buf_str(&ex->body), response, &items) == 0 && buf_ok(&items)) {
        struct stored_response stored = {
            .id = json_string_raw(id),
            .key = owner(ex),
            .response = response,
            .items = buf_str(&items),
        };
        response_store_put(&stored);
    }
    buf_fini(&items);
}

YIELDS static void answer_json(struct exchange *ex, struct str body)
{
    exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
    exchange_add_own_headers(ex);
    http_respond(ex->http, 200, &ex->answer, body);
}

/* True when weir keeps it and has answered. */
YIELDS static bool serve_stored(struct exchange *ex, struct str id)
{
    struct buf response = BUF_INIT, items = BUF_INIT, out = BUF_INIT;
    bool is_list = str_ends(ex->http->path, STR("/input_items"));
    bool is_found = response_store_get(id, owner(ex), &response, &items);
    if (is_found && ex->http->method == METHOD_DELETE) {
        response_store_delete(id, owner(ex));
        BUF_LIT(&out, "{\"id\":");
        buf_add_json(&out, id);
        BUF_LIT(&out, ",\"object\":\"response\",\"deleted\":true}");
    } else if (is_found && is_list) {
        BUF_LIT(&out, "{\"object\":\"list\",\"data\":");
        buf_add_str(&out, buf_str(&items));
        BUF_LIT(&out, ",\"first_id\":null,\"last_id\":null,\"has_more\":false}");
    } else if (is_found) {
        buf_add_str(&out, buf_str(&response));
    }
    if (is_found && buf_ok(&out))
        answer_json(ex, buf_str(&out));
    else if (is_found)
        refuse_no_memory(ex);
    buf_fini(&response);
    buf_fini(&items);
    buf_fini(&out);
    return is_found;
}

YIELDS void responses_pass_on(struct exchange *ex)
{
    struct str wanted = query_value(ex->http->query, STR("provider"), ex->arena);
    const struct upstream *waiting = NULL;
    if (!is_id(ex->path.model)) {
        refuse(ex, REFUSE_BODY, STR("response_id"), "This is no id of a response.");
        return;
    }
    if (exchange_read_body(ex) < 0 || serve_stored(ex, ex->path.model))
        return;
    for (unsigned i = 0; i < ex->settings->provider_count; i++) {
        const struct upstream *upstream = &ex->ts->upstreams[i];
        if (!may_ask(ex, upstream->provider, wanted))
            continue;
        if (waiting != NULL && ask(ex, waiting, false) == 1)
            return;
        waiting = upstream;
    }
    if (waiting != NULL)
        ask(ex, waiting, true);
    else
        refuse(ex, REFUSE_RESPONSE_UNKNOWN, STR("response_id"),
               "Response with id '%.*s' not found.", STR_ARG(ex->path.model));
}
