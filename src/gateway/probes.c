#include "gateway/probes.h"

#include "gateway/exchange.h"
#include "gateway/resume_producer.h"
#include "rt/helper.h"

YIELDS static void answer(struct exchange *ex, unsigned status, struct str type, struct str body)
{
    exchange_answer_header(ex, STR("Content-Type"), type);
    exchange_answer_header(ex, STR("Cache-Control"), STR("no-store"));
    exchange_answer_header(ex, STR("x-weir-request-id"), ex->record.request_id);
    http_respond(ex->http, status, &ex->answer, body);
}

YIELDS void probe_health(struct exchange *ex)
{
    answer(ex, 200, STR("application/json"), STR("{\"status\":\"ok\"}\n"));
}

YIELDS void probe_ready(struct exchange *ex)
{
    if (gateway_is_draining())
        answer(ex, 503, STR("application/json"), STR("{\"status\":\"draining\"}\n"));
    else if (!ex->ts->shared->is_usable)
        answer(ex, 503, STR("application/json"), STR("{\"status\":\"no usable target\"}\n"));
    else
        answer(ex, 200, STR("application/json"), STR("{\"status\":\"ready\"}\n"));
}

static void write_page(void *page)
{
    struct metrics_journal journal;
    producer_figures(&journal);
    metrics_write(&journal, page);
}

YIELDS void probe_metrics(struct exchange *ex)
{
    struct buf page = BUF_INIT;
    /* With many series the page takes milliseconds: not on a loop. */
    int r = helper_run(write_page, &page);
    if (r == 0 && buf_ok(&page))
        answer(ex, 200, STR("text/plain; version=0.0.4; charset=utf-8"), buf_str(&page));
    else
        refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
    buf_fini(&page);
}
