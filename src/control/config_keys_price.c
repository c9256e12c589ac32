#include "control/config_fields.h"
#include "control/config_keys.h"
#include "provider/price.h"

/* `prices` of a config, and of what is built in. */

#define AT(type, member) .offset = offsetof(type, member), .width = sizeof(((type *)0)->member)
/* One class of tokens; both structs have their rates. */
#define RATE(type, name_, class_, ...)                                   \
    {                                                                    \
        name_, CONFIG_USD, AT(type, rates.nano_usd[class_]), __VA_ARGS__ \
    }
/* Those that may be left out. */
#define FINE_RATES(type)                                                                        \
    RATE(type, "cache_read", PRICE_CACHE_READ, .fallback_note = "`input`",                      \
         .help = "input read from the prompt cache", .example = "0.25"),                        \
        RATE(type, "cache_write_5m", PRICE_CACHE_WRITE_5M, .fallback_note = "`input`",          \
             .help = "input written to the prompt cache, kept for minutes"),                    \
        RATE(type, "cache_write_1h", PRICE_CACHE_WRITE_1H, .fallback_note = "`cache_write_5m`", \
             .help = "input written to the prompt cache, kept for an hour"),                    \
        RATE(type, "reasoning", PRICE_REASONING, .fallback_note = "`output`",                   \
             .help = "reasoning inside the output"),                                            \
        RATE(type, "audio_input", PRICE_AUDIO_INPUT, .fallback_note = "`input`",                \
             .help = "audio inside the input"),                                                 \
        RATE(type, "audio_output", PRICE_AUDIO_OUTPUT, .fallback_note = "`output`",             \
             .help = "audio inside the output"),                                                \
        RATE(type, "image_input", PRICE_IMAGE_INPUT, .fallback_note = "`input`",                \
             .help = "pictures inside the input")

static const struct config_key tier_keys[] = {
    {"above", CONFIG_INTEGER, AT(struct price_tier, above), .is_required = true, .min = 1,
     .max = 1000000000,
     .help = "the tier is for requests with more tokens of input than this, cached ones included",
     .example = "200000"},
    RATE(struct price_tier, "input", PRICE_INPUT, .fallback_note = "as without the tier",
         .help = "input"),
    RATE(struct price_tier, "output", PRICE_OUTPUT, .fallback_note = "as without the tier",
         .help = "output"),
    FINE_RATES(struct price_tier),
};
static const struct config_section tier = {
    .keys = tier_keys, .count = ARRAY_LEN(tier_keys), .begin = config_tier_begin};

static const struct config_key price_keys[] = {
    {"provider", CONFIG_STRING, AT(struct price, provider), .is_required = true,
     .help = "whose price it is",
     .detail = "Name of a provider, or of the catalogue's row that it started from, with `*` for "
               "any run of characters.",
     .example = "openai"},
    {"model", CONFIG_STRING, AT(struct price, model), .is_required = true,
     .help = "models that the entry is about",
     .detail = "The id as the provider writes it or its plain form (no region, no publisher, small "
               "letters, `-` for `.`), with or without date and version; `*` stands for any run "
               "of characters.",
     .example = "my-finetune-*"},
    {"location", CONFIG_STRING, AT(struct price, location), .fallback_note = "everywhere",
     .help = "only where the provider's `location` or `region` is this one",
     .detail = "With `*` for any run of characters.", .example = "europe-*"},
    {"from", CONFIG_TIME, AT(struct price, from_wall_ns), .fallback_note = "always",
     .help = "when the price begins to hold",
     .detail = "Write the later one first: until then the next entry that fits counts.",
     .example = "2027-01-01"},
    RATE(struct price, "input", PRICE_INPUT, .is_required = true,
         .help = "input, in US dollars a million tokens", .example = "2.5"),
    RATE(struct price, "output", PRICE_OUTPUT, .is_required = true,
         .help = "output, in US dollars a million tokens", .example = "10"),
    FINE_RATES(struct price),
    {"tiers", CONFIG_LIST, AT(struct price, tiers),
     .count_offset = offsetof(struct price, tier_count), .stride = sizeof(struct price_tier),
     .section = &tier, .help = "other prices for long inputs",
     .detail = "A tier's prices hold for all tokens of the request.",
     .example = "[{above: 200000, input: 5, output: 15}]"},
    {"as_of", CONFIG_TIME, AT(struct price, as_of_wall_ns),
     .help = "when the price was read, for people", .example = "2026-11-01"},
    {"source", CONFIG_STRING, AT(struct price, source), .help = "where it was read, for people"},
};
const struct config_section config_price = {
    .keys = price_keys, .count = ARRAY_LEN(price_keys), .begin = config_price_begin};
