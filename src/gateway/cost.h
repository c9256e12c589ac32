/*
 * What a request cost: the price of who answered times what the provider counted.
 * The request's task.
 * Nothing yields.
 * Writes into the exchange's record and head.
 * No errors: without a price or a count the record says so.
 */
#ifndef WEIR_GATEWAY_COST_H
#define WEIR_GATEWAY_COST_H

#include "provider/price.h"

struct exchange;

/*
 * What the usage cost at the provider; -1 = not known. The model is looked for as it was asked for,
 * then as the provider called it in its answer (an alias, a deployment). *is_unpriced tells that
 * neither has a price.
 */
int64_t cost_of(const struct provider *provider, struct str model, struct str model_answered,
                const struct token_usage *usage, bool *is_unpriced);

/* An attempt gave a part of the answer and broke off: what is known of its usage is paid, too. */
void exchange_add_part_cost(struct exchange *ex, const struct token_usage *usage);

/* Puts cost_nano_usd and is_unpriced into the record, by the usage that is in it now. Called again
 * when more is known, it replaces what it said. */
void exchange_note_cost(struct exchange *ex);

/* x-weir-cost-usd, where the cost is known before the head leaves: whole answers. */
void exchange_add_cost_header(struct exchange *ex);

#endif
