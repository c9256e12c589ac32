/*
 * What a model's tokens cost, and what an answer cost: exact, in whole numbers of nano-dollars.
 * Prices belong to a provider of a snapshot and are immutable there; any thread.
 * Nothing yields.
 * Rows live in the settings' arena.
 * No errors: a model without a row is unpriced (NULL), a count that was not told makes the cost
 * unknown (false). Neither is ever zero.
 */
#ifndef WEIR_PROVIDER_PRICE_H
#define WEIR_PROVIDER_PRICE_H

#include "base/str.h"
#include "dialect/usage.h"
#include "provider/provider.h"

/* What tokens are told apart by. A class without a rate has that of the class behind the arrow. */
enum price_class {
    PRICE_INPUT,          /* beside the cached ones */
    PRICE_OUTPUT,         /* beside reasoning and audio */
    PRICE_CACHE_READ,     /* -> input */
    PRICE_CACHE_WRITE_5M, /* -> input */
    PRICE_CACHE_WRITE_1H, /* -> cache_write_5m */
    PRICE_REASONING,      /* -> output */
    PRICE_AUDIO_INPUT,    /* -> input */
    PRICE_AUDIO_OUTPUT,   /* -> output */
    PRICE_IMAGE_INPUT,    /* -> input */
    PRICE_CLASS_COUNT
};

#define PRICE_NOT_TOLD INT64_C(-1)
/* A million dollars. */
#define PRICE_MAX_NANO_USD INT64_C(1000000000000000)

struct price_rates {
    int64_t nano_usd[PRICE_CLASS_COUNT]; /* a million tokens; PRICE_NOT_TOLD */
};

/* Rates of requests with more than `above` tokens of input, cached ones included; they hold for all
 * of the request. What a tier does not tell is as in the tiers below it. */
struct price_tier {
    struct price_rates rates;
    uint64_t above;
};

struct price {
    struct price_rates rates;
    struct price_tier *tiers; /* sorted by `above` */
    unsigned tier_count;
    struct str provider;  /* glob: the provider's name, or the catalogue row it started from */
    struct str location;  /* glob: its location of Google Cloud or region of AWS; empty = any */
    struct str model;     /* glob: the id as the provider writes it, or its plain form */
    int64_t from_wall_ns; /* holds from then on; 0 = always */
    /* For people. */
    int64_t as_of_wall_ns; /* when it was read; 0 = not told */
    struct str source;     /* where */
};

/* A nano-dollar is 1e-9 USD. "2.5", "0", "1200.000000001": no sign, no exponent, at most nine
 * decimals and a million dollars. False, and *nano_usd untouched, for everything else. */
bool price_parse_usd(struct str text, int64_t *nano_usd);

/* The prices built in, as YAML: what a config with `prices` alone would say. */
struct str price_yaml(void);

/*
 * Gives each row to the providers that it is about, in the order of the rows, behind those that the
 * providers have. The rows must live as long as the provider. 0 or -ERR_NOMEM.
 */
int price_attach(struct provider *provider, const struct price *rows, unsigned count,
                 struct arena *arena);

/*
 * The price of a model by its id as the provider writes it: the first row in force that fits the
 * id, its plain form (provider_plain_id), or one of the two without date and version. NULL:
 * unpriced.
 */
const struct price *price_find(const struct provider *provider, struct str model);

/*
 * What the usage costs, rounded once to the nearest nano-dollar. False when a class that has a
 * price was not told: input or output.
 */
bool price_cost(const struct price *price, const struct token_usage *usage, int64_t *nano_usd);

/* What that many tokens would cost, nothing cached; in nano-dollars. For planning; negative counts
 * are zero. */
int64_t price_estimate(const struct price *price, int64_t input_tokens, int64_t output_tokens);

#endif
