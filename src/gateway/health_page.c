#include "base/clock.h"
#include "gateway/admin.h"
#include "gateway/exchange.h"
#include "gateway/query.h"
#include "route/health.h"
#include "rt/helper.h"

/* Where a row stands, for the order of the page. */
struct place {
    struct str provider, model;
    unsigned key, row;
};

struct page {
    const struct settings *settings;
    struct str provider; /* only this one's; empty = all */
    int64_t now_ns, now_wall_ns;
    struct buf out;
};

/* --- JSON --- */

static void add_name(struct buf *out, const char *name)
{
    char last = out->len > 0 ? out->ptr[out->len - 1] : '{';
    if (last != '{' && last != '[')
        buf_add_char(out, ',');
    buf_add_json(out, str_c(name));
    buf_add_char(out, ':');
}

static void add_text(struct buf *out, const char *name, struct str value)
{
    add_name(out, name);
    if (value.len > 0)
        buf_add_json(out, value);
    else
        BUF_LIT(out, "null");
}

static void add_number(struct buf *out, const char *name, uint64_t value)
{
    add_name(out, name);
    buf_add_u64(out, value);
}

/* Negative: not known. */
static void add_ms(struct buf *out, const char *name, int64_t ns)
{
    add_name(out, name);
    if (ns >= 0)
        buf_printf(out, "%.1f", (double)ns / (double)NS_PER_MS);
    else
        BUF_LIT(out, "null");
}

/* A moment of the monotonic clock in seconds since 1970; 0 = none. */
static void add_moment(const struct page *page, struct buf *out, const char *name, int64_t at_ns)
{
    add_name(out, name);
    if (at_ns > 0 && at_ns != CLOCK_NEVER)
        buf_printf(out, "%.3f",
                   (double)(page->now_wall_ns - (page->now_ns - at_ns)) / (double)NS_PER_SEC);
    else
        BUF_LIT(out, "null");
}

/* --- a row --- */

static struct str key_name(const struct page *page, const struct health_row *row)
{
    for (unsigned i = 0; i < page->settings->provider_count; i++) {
        const struct provider *p = &page->settings->providers[i];
        if (str_eq(p->name, row->provider))
            return row->key < p->key_count ? p->keys[row->key].name : STR_EMPTY;
    }
    return STR_EMPTY;
}

static void add_outcomes(struct buf *out, const struct health_row *row)
{
    add_name(out, "outcomes");
    buf_add_char(out, '{');
    for (unsigned i = 0; i < OUTCOME_CLASS_COUNT; i++) {
        if (row->outcomes[i] > 0)
            add_number(out, outcome_rules[i].name, row->outcomes[i]);
    }
    buf_add_char(out, '}');
    const struct breaker_counts *recent = &row->recent;
    add_name(out, "recent");
    buf_printf(out, "{\"attempts\":%u,\"failures\":%u,\"error_ratio\":", recent->attempts,
               recent->failures);
    if (recent->attempts > 0)
        buf_printf(out, "%.3f}", (double)recent->failures / recent->attempts);
    else
        BUF_LIT(out, "null}");
}

static void add_limits(const struct page *page, struct buf *out, const struct health_row *row)
{
    const struct limits *limits = &row->limits;
    int64_t until_ns = 0;
    bool is_benched = limits_is_benched(limits, page->now_ns, &until_ns);
    add_name(out, "limits");
    buf_add_char(out, '{');
    for (unsigned i = 0; i < LIMITS_KIND_COUNT; i++) {
        const struct limits_window *window = &limits->windows[i];
        if (!window->is_known)
            continue;
        int64_t left = limits_remaining(limits, i, page->now_ns);
        add_name(out, limits_kind_names[i]);
        buf_add_char(out, '{');
        if (window->limit >= 0)
            add_number(out, "limit", (uint64_t)window->limit);
        if (left >= 0)
            add_number(out, "remaining", (uint64_t)left);
        add_moment(page, out, "reset", window->reset_ns);
        buf_add_char(out, '}');
    }
    buf_add_char(out, '}');
    add_text(out, "benched_why",
             is_benched ? str_c(bench_why_names[limits->bench_why]) : STR_EMPTY);
    add_moment(page, out, "benched_until", is_benched ? until_ns : 0);
    add_moment(page, out, "key_refused_until", row->key_bench_until_ns);
}

static void add_error(const struct page *page, struct buf *out, const struct health_row *row)
{
    add_name(out, "last_error");
    if (row->last_error == OUTCOME_OK) {
        BUF_LIT(out, "null");
        return;
    }
    buf_add_char(out, '{');
    add_text(out, "class", str_c(outcome_rules[row->last_error].name));
    if (row->last_error_status > 0)
        add_number(out, "status", row->last_error_status);
    add_moment(page, out, "at", row->last_error_ns);
    buf_add_char(out, '}');
}

static void add_row(struct page *page, const struct health_row *row)
{
    struct buf *out = &page->out;
    const struct breaker *breaker = &row->breaker;
    if (out->ptr[out->len - 1] == '}')
        buf_add_char(out, ',');
    buf_add_char(out, '{');
    add_text(out, "provider", row->provider);
    add_text(out, "model", row->model);
    add_text(out, "key", key_name(page, row));
    add_text(out, "verdict", str_c(health_verdict_names[row->verdict]));
    add_text(out, "state", str_c(breaker_state_names[row->state]));
    add_text(out, "why",
             breaker->why != BREAKER_WHY_NONE ? str_c(breaker_why_names[breaker->why]) : STR_EMPTY);
    add_moment(page, out, "since", breaker->since_ns);
    add_moment(page, out, "probe_at", row->state == BREAKER_OPEN ? breaker->until_ns : 0);
    add_number(out, "openings", breaker->openings);
    add_number(out, "in_flight", row->in_flight);
    add_number(out, "attempts", row->attempts);
    add_outcomes(out, row);
    add_error(page, out, row);
    add_moment(page, out, "last_used", row->last_used_ns);
    add_name(out, "first_token_ms");
    buf_add_char(out, '{');
    add_ms(out, "p50", row->ttft_p50_ns);
    add_ms(out, "p95", row->ttft_p95_ns);
    add_number(out, "samples", row->ttft_samples);
    BUF_LIT(out, "}");
    add_name(out, "duration_ms");
    buf_add_char(out, '{');
    add_ms(out, "p50", row->duration_p50_ns);
    add_ms(out, "p95", row->duration_p95_ns);
    BUF_LIT(out, "}");
    add_limits(page, out, row);
    buf_add_char(out, '}');
}

/* --- the page --- */

static int by_name(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int order = str_cmp(x->provider, y->provider);
    if (order == 0)
        order = str_cmp(x->model, y->model);
    return order != 0 ? order : (x->key > y->key) - (x->key < y->key);
}

static void write_rows(struct page *page, struct arena *arena)
{
    unsigned count = health_rows(), found = 0;
    struct place *places = arena_alloc(arena, count * sizeof(*places));
    struct health_row row;
    for (unsigned i = 0; places != NULL && i < count; i++) {
        if (!health_row(i, page->now_ns, arena, &row) ||
            (page->provider.len > 0 && !str_eq(page->provider, row.provider)))
            continue;
        places[found++] = (struct place){row.provider, row.model, row.key, i};
    }
    page->out.failed |= places == NULL;
    if (found > 0)
        qsort(places, found, sizeof(*places), by_name);
    for (unsigned i = 0; i < found; i++) {
        struct arena_mark mark = arena_mark(arena);
        /* It may have made room for another meanwhile: then that one is shown here. */
        if (health_row(places[i].row, page->now_ns, arena, &row))
            add_row(page, &row);
        arena_rewind(arena, mark);
    }
}

static void write_page(void *arg)
{
    struct page *page = arg;
    struct arena *arena = arena_new(16384);
    BUF_LIT(&page->out, "{\"object\":\"list\",\"data\":[");
    if (arena != NULL && buf_ok(&page->out))
        write_rows(page, arena);
    else
        page->out.failed = true;
    BUF_LIT(&page->out, "]}\n");
    arena_free(arena);
}

YIELDS void health_page_get(struct exchange *ex)
{
    if (admin_check(ex) < 0)
        return;
    struct page page = {.settings = ex->settings,
                        .provider = query_value(ex->http->query, STR("provider"), ex->arena),
                        .now_ns = clock_mono_ns(),
                        .now_wall_ns = clock_wall_ns(),
                        .out = BUF_INIT};
    /* With thousands of targets the page takes milliseconds: not on a loop. */
    int r = helper_run(write_page, &page);
    if (r == 0 && buf_ok(&page.out)) {
        exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
        exchange_answer_header(ex, STR("Cache-Control"), STR("no-store"));
        exchange_add_own_headers(ex);
        http_respond(ex->http, 200, &ex->answer, buf_str(&page.out));
    } else {
        refuse_no_memory(ex);
    }
    buf_fini(&page.out);
}
