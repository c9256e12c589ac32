#include "gateway/cost.h"

#include "gateway/exchange.h"
#include "gateway/operation.h"

int64_t cost_of(const struct provider *provider, struct str model, struct str model_answered,
                const struct token_usage *usage, bool *is_unpriced)
{
    int64_t nano_usd;
    const struct price *price = price_find(provider, model);
    if (price == NULL && model_answered.len > 0)
        price = price_find(provider, model_answered);
    *is_unpriced = price == NULL;
    return price != NULL && price_cost(price, usage, &nano_usd) ? nano_usd : -1;
}

/* An answer was given for which providers ask money. Counting tokens is free everywhere. */
static bool has_cost(const struct exchange *ex)
{
    const struct request_record *rec = &ex->record;
    bool is_answered =
        rec->upstream_status == 101 || (rec->upstream_status >= 200 && rec->upstream_status < 300);
    return ex->upstream != NULL && ex->provider != NULL && is_answered &&
           ex->operation->upstream != OPERATION_COUNT_TOKENS;
}

void exchange_add_part_cost(struct exchange *ex, const struct token_usage *usage)
{
    bool is_unpriced;
    const struct request_record *rec = &ex->record;
    int64_t nano_usd =
        cost_of(ex->upstream->provider, rec->model, rec->model_answered, usage, &is_unpriced);
    if (nano_usd > 0)
        ex->spent_nano_usd += nano_usd;
}

void exchange_note_cost(struct exchange *ex)
{
    struct request_record *rec = &ex->record;
    rec->cost_nano_usd = -1;
    rec->is_unpriced = false;
    bool has_parts = rec->continued > 0 || ex->spent_nano_usd > 0;
    if (has_parts)
        rec->cost_nano_usd = ex->spent_nano_usd;
    if (!has_cost(ex))
        return;
    const struct token_usage *usage = has_parts ? &ex->part_usage : &rec->usage;
    int64_t nano_usd =
        cost_of(ex->upstream->provider, rec->model, rec->model_answered, usage, &rec->is_unpriced);
    if (nano_usd >= 0)
        rec->cost_nano_usd = ex->spent_nano_usd + nano_usd;
}

void exchange_add_cost_header(struct exchange *ex)
{
    char digits[STR_BILLIONTHS_BYTES];
    exchange_note_cost(ex);
    if (ex->record.cost_nano_usd < 0)
        return;
    size_t len = str_put_billionths(digits, (uint64_t)ex->record.cost_nano_usd);
    exchange_answer_header(ex, STR("x-weir-cost-usd"),
                           arena_dup(ex->head_arena, str_n(digits, len)));
}
