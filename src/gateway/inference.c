#include "gateway/inference.h"

#include "base/clock.h"
#include "base/percent.h"
#include "gateway/attempts.h"
#include "gateway/detached.h"
#include "gateway/exchange.h"
#include "gateway/fallbacks.h"
#include "gateway/hedge.h"
#include "gateway/mirror.h"
#include "gateway/operation.h"
#include "gateway/resume.h"

YIELDS int exchange_read_body(struct exchange *ex)
{
    uint64_t limit = ex->settings->limits.body_bytes;
    if (ex->has_body)
        return 0;
    exchange_wait_begins(ex);
    int r = http_request_collect(ex->http, limit, CLOCK_NEVER, &ex->body);
    exchange_wait_ended(ex);
    switch (-r) {
    case ERR_NONE:
        ex->has_body = true;
        return 0;
    case ERR_LIMIT:
        refuse(ex, REFUSE_BODY_TOO_LARGE, STR_EMPTY,
               "The request body is larger than the limit of %llu bytes (limits.request_body).",
               (unsigned long long)limit);
        break;
    case ERR_INVALID:
        refuse(ex, REFUSE_BODY_ENCODING, STR_EMPTY, "%s", err_slot()->message);
        break;
    case ERR_TIMEOUT:
        refuse(ex, REFUSE_BODY_TIMEOUT, STR_EMPTY,
               "The request body did not arrive in time (timeouts.client_body).");
        break;
    case ERR_NOMEM:
        refuse_no_memory(ex);
        break;
    default:
        refuse(ex, REFUSE_BODY, STR_EMPTY, "The request body could not be read: %s",
               err_slot()->message);
    }
    return r;
}

/*
 * The model that the path names. Vertex AI's paths have a publisher: the vendors' own names say no
 * more than the model does, any other is the provider.
 */
static struct str model_of_path(struct exchange *ex)
{
    struct str model = percent_decode(ex->arena, ex->path.model);
    struct str publisher = ex->path.publisher;
    if (publisher.len == 0 || str_eq(publisher, STR("google")) ||
        str_eq(publisher, STR("anthropic")))
        return model;
    struct str parts[] = {percent_decode(ex->arena, publisher), STR("/"), model};
    return arena_concat(ex->arena, parts, ARRAY_LEN(parts));
}

static bool wants_stream(const struct exchange *ex)
{
    switch (ex->operation->stream) {
    case STREAM_BY_BODY:
        return ex->scan.is_stream;
    case STREAM_ALWAYS:
    case STREAM_GEMINI:
        return true;
    case STREAM_NEVER:
        break;
    }
    return false;
}

YIELDS int exchange_scan(struct exchange *ex)
{
    ex->client = dialect_of(ex->operation->dialect);
    int r = ex->client->scan(buf_str(&ex->body), ex->settings->json_depth, ex->arena, &ex->scan);
    if (r < 0) {
        refuse(ex, REFUSE_BODY, ex->scan.bad_param, "%s", err_slot()->message);
        return r;
    }
    ex->asked = ex->path.model.len > 0 ? model_of_path(ex) : ex->scan.model;
    ex->is_stream = wants_stream(ex);
    ex->record.model_asked = ex->asked;
    ex->record.is_stream = ex->is_stream;
    if (ex->asked.len > 0)
        return 0;
    refuse(ex, REFUSE_BODY, STR("model"), "You must provide a model: \"model\" is missing.");
    return -ERR_INVALID;
}

/* Copies of requests: what they are for says what is done with them. */
YIELDS static bool detached_runs(struct exchange *ex)
{
    const struct detached *detached = detached_of(ex->http);
    if (detached == NULL || detached->sink->serve == NULL)
        return false;
    detached->sink->serve(ex);
    return true;
}

YIELDS static void run_plan(struct exchange *ex)
{
    mirror_copy(ex);
    if (!hedge_run(ex))
        attempts_run(ex);
}

YIELDS void inference_run(struct exchange *ex)
{
    if (exchange_read_body(ex) < 0)
        return;
    if (exchange_scan(ex) < 0)
        return;
    if (detached_runs(ex))
        return;
    if (resume_takes(ex))
        resume_run(ex);
    else if (fallbacks_take(ex) == 0 && exchange_plan(ex) == 0)
        run_plan(ex);
}
