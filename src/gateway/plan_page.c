#include "base/err.h"
#include "dialect/dialect.h"
#include "gateway/admin.h"
#include "gateway/exchange.h"
#include "gateway/fallbacks.h"
#include "gateway/planning.h"
#include "gateway/query.h"

/* The dialect that the body is in; NULL after an answer. */
YIELDS static const struct dialect *dialect_asked(struct exchange *ex)
{
    struct str name = query_value(ex->http->query, STR("dialect"), ex->arena);
    if (name.len == 0)
        return dialect_of(DIALECT_OPENAI_CHAT);
    for (unsigned i = 0; i < DIALECT_COUNT; i++) {
        if (str_eq(str_c(dialect_names[i]), name))
            return dialect_of((enum dialect_id)i);
    }
    refuse(ex, REFUSE_BODY, STR("dialect"),
           "There is no dialect `%.*s`; expected openai_chat, openai_responses, anthropic, gemini, "
           "bedrock or cohere.",
           STR_ARG(str_head(name, 40)));
    return NULL;
}

/* The request as it would come: what stands in the path elsewhere is asked for in the query. */
YIELDS static int read_request(struct exchange *ex)
{
    if (exchange_read_body(ex) < 0)
        return -ERR_INVALID;
    ex->client = dialect_asked(ex);
    if (ex->client == NULL)
        return -ERR_INVALID;
    if (ex->client->scan(buf_str(&ex->body), ex->settings->json_depth, ex->arena, &ex->scan) < 0) {
        refuse(ex, REFUSE_BODY, ex->scan.bad_param, "%s", err_slot()->message);
        return -ERR_INVALID;
    }
    struct str model = query_value(ex->http->query, STR("model"), ex->arena);
    struct str stream = query_value(ex->http->query, STR("stream"), ex->arena);
    ex->asked = model.len > 0 ? model : ex->scan.model;
    ex->is_stream = ex->scan.is_stream || str_eq(stream, STR("true"));
    ex->record.model_asked = ex->asked;
    if (ex->asked.len > 0)
        return fallbacks_take(ex);
    refuse(ex, REFUSE_BODY, STR("model"),
           "You must provide a model: \"model\" is missing in the body and in the query.");
    return -ERR_INVALID;
}

/* In whose name the request would come: ?key=NAME, else who asks. */
YIELDS static int take_key(struct exchange *ex)
{
    struct str name = query_value(ex->http->query, STR("key"), ex->arena);
    if (name.len == 0)
        return 0;
    for (unsigned i = 0; i < ex->settings->key_count; i++) {
        if (str_eq(ex->settings->keys[i].name, name)) {
            ex->key = &ex->settings->keys[i];
            return 0;
        }
    }
    refuse(ex, REFUSE_BODY, STR("key"), "The config has no key of the name `%.*s`.",
           STR_ARG(str_head(name, 64)));
    return -ERR_INVALID;
}

YIELDS void plan_page_post(struct exchange *ex)
{
    if (admin_check(ex) < 0 || take_key(ex) < 0 || read_request(ex) < 0)
        return;
    struct plan plan = {0};
    struct buf out = BUF_INIT;
    if (planning_foresee(ex, &plan) == 0) {
        plan_explain_json(&plan, &ex->ts->shared->world, &out);
        BUF_LIT(&out, "\n");
    }
    if (buf_ok(&out) && out.len > 0) {
        exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
        exchange_answer_header(ex, STR("Cache-Control"), STR("no-store"));
        exchange_add_own_headers(ex);
        http_respond(ex->http, 200, &ex->answer, buf_str(&out));
    } else {
        refuse_no_memory(ex);
    }
    buf_fini(&out);
}
