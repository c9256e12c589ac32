#include "provider/price.h"

#include "base/clock.h"
#include "base/err.h"
#include "weir_embed.h"

#define NANO INT64_C(1000000000)
#define TOKENS_PER_PRICE 1000000

WEIR_EMBED(price_bytes, "provider/prices.yaml");

struct str price_yaml(void)
{
    return str_n(price_bytes, price_bytes_len);
}

/* --- amounts -----------------------------------------------------------------------------------
 */

enum { DECIMALS_MAX = 9 };

bool price_parse_usd(struct str text, int64_t *nano_usd)
{
    struct str whole;
    uint64_t usd, fraction = 0;
    bool has_point = str_cut(&text, '.', &whole);
    if (!str_to_u64(whole, &usd) || usd > PRICE_MAX_NANO_USD / NANO)
        return false;
    if (has_point && (text.len > DECIMALS_MAX || !str_to_u64(text, &fraction)))
        return false;
    for (size_t i = text.len; has_point && i < DECIMALS_MAX; i++)
        fraction *= 10;
    int64_t sum = (int64_t)(usd * (uint64_t)NANO + fraction);
    if (sum > PRICE_MAX_NANO_USD)
        return false;
    *nano_usd = sum;
    return true;
}

/* --- finding -----------------------------------------------------------------------------------
 */

static bool is_about(const struct price *row, const struct provider *provider)
{
    bool is_row = provider->catalogue.len > 0 && str_glob(row->provider, provider->catalogue);
    if (!is_row && !str_glob(row->provider, provider->name))
        return false;
    return row->location.len == 0 || str_glob(row->location, provider->places[PLACE_LOCATION]) ||
           str_glob(row->location, provider->places[PLACE_REGION]);
}

int price_attach(struct provider *provider, const struct price *rows, unsigned count,
                 struct arena *arena)
{
    unsigned n = provider->price_count;
    for (unsigned i = 0; i < count; i++)
        n += is_about(&rows[i], provider);
    const struct price **all = arena_alloc(arena, (n + 1) * sizeof(struct price *));
    if (all == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for prices");
    if (provider->price_count > 0)
        memcpy(all, provider->prices, provider->price_count * sizeof(struct price *));
    for (unsigned i = 0; i < count; i++) {
        if (is_about(&rows[i], provider))
            all[provider->price_count++] = &rows[i];
    }
    provider->prices = all;
    return 0;
}

/* The length of what stands before `digits` digits and dashes at the end, "20250929" as "dddddddd";
 * the whole length when the end is not like that. */
static size_t before_shape(struct str id, const char *shape)
{
    size_t len = strlen(shape);
    if (id.len <= len)
        return id.len;
    struct str end = str_skip(id, id.len - len);
    for (size_t i = 0; i < len; i++) {
        bool is_digit = end.ptr[i] >= '0' && end.ptr[i] <= '9';
        if (shape[i] == 'd' ? !is_digit : shape[i] != end.ptr[i])
            return id.len;
    }
    return id.len - len;
}

/*
 * The plain form without what only says which issue of the model it is: a date, Bedrock's version
 * and context length, Vertex AI's "@default". Four digits stay: "mistral-large-2407" costs
 * something else than "mistral-large-2411".
 */
static struct str without_issue(struct str id)
{
    static const char *const shapes[] = {
        ":ddk", ":dddk", ":mm",         "-vd:d",    "-vd",       ":d",        "-d:d",
        "-ddd", "@ddd",  "-dddd-dd-dd", "-dd-dddd", "-20dddddd", "@20dddddd", "@default",
    };
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        id = str_head(id, before_shape(id, shapes[i]));
    return id;
}

static bool is_in_force(const struct price *price)
{
    return price->from_wall_ns == 0 || price->from_wall_ns <= clock_wall_ns();
}

/* The forms of an id that a row may be about; those that are the same are looked at once. */
struct forms {
    struct str of[4];
    unsigned count;
};

static void add_form(struct forms *forms, struct str form)
{
    for (unsigned i = 0; i < forms->count; i++) {
        if (str_eq(forms->of[i], form))
            return;
    }
    forms->of[forms->count++] = form;
}

const struct price *price_find(const struct provider *provider, struct str model)
{
    char buffer[PROVIDER_PLAIN_ID_BYTES];
    struct forms forms = {0};
    if (provider->price_count == 0)
        return NULL;
    struct str plain = provider_plain_id(model, buffer);
    add_form(&forms, plain);
    add_form(&forms, without_issue(plain));
    add_form(&forms, model);
    add_form(&forms, without_issue(model));
    for (unsigned i = 0; i < provider->price_count; i++) {
        const struct price *price = provider->prices[i];
        for (unsigned k = 0; k < forms.count; k++) {
            if (str_glob(price->model, forms.of[k]) && is_in_force(price))
                return price;
        }
    }
    return NULL;
}

/* --- reckoning ---------------------------------------------------------------------------------
 */

/* The rate of a class among these rates, or of the class that stands in for it. */
static int64_t rate_of(const struct price_rates *rates, enum price_class class)
{
    static const enum price_class stands_in[PRICE_CLASS_COUNT] = {
        [PRICE_INPUT] = PRICE_INPUT,
        [PRICE_OUTPUT] = PRICE_OUTPUT,
        [PRICE_CACHE_READ] = PRICE_INPUT,
        [PRICE_CACHE_WRITE_5M] = PRICE_INPUT,
        [PRICE_CACHE_WRITE_1H] = PRICE_CACHE_WRITE_5M,
        [PRICE_REASONING] = PRICE_OUTPUT,
        [PRICE_AUDIO_INPUT] = PRICE_INPUT,
        [PRICE_AUDIO_OUTPUT] = PRICE_OUTPUT,
        [PRICE_IMAGE_INPUT] = PRICE_INPUT,
    };
    while (rates->nano_usd[class] == PRICE_NOT_TOLD && stands_in[class] != class)
        class = stands_in[class];
    return rates->nano_usd[class];
}

/* The rates that hold for a request with that much input. */
static struct price_rates rates_at(const struct price *price, int64_t input)
{
    struct price_rates rates = price->rates;
    for (unsigned i = 0; i < price->tier_count; i++) {
        const struct price_tier *tier = &price->tiers[i];
        if (input <= 0 || (uint64_t)input <= tier->above)
            break;
        for (unsigned k = 0; k < PRICE_CLASS_COUNT; k++) {
            if (tier->rates.nano_usd[k] != PRICE_NOT_TOLD)
                rates.nano_usd[k] = tier->rates.nano_usd[k];
        }
    }
    return rates;
}

static int64_t told(int64_t count)
{
    return count > 0 ? count : 0;
}

/* Takes up to `count` out of *from: what providers tell apart is part of the whole, and must not be
 * charged twice where their counts overlap. */
static int64_t take(int64_t *from, int64_t count)
{
    int64_t taken = MIN(told(count), *from);
    *from -= taken;
    return taken;
}

static bool sum_up(const struct price_rates *rates, const int64_t counts[PRICE_CLASS_COUNT],
                   int64_t *nano_usd)
{
    __int128 sum = 0;
    for (unsigned i = 0; i < PRICE_CLASS_COUNT; i++) {
        int64_t rate = counts[i] > 0 ? rate_of(rates, (enum price_class)i) : 0;
        if (rate == PRICE_NOT_TOLD)
            return false;
        sum += (__int128)counts[i] * rate;
    }
    sum = (sum + TOKENS_PER_PRICE / 2) / TOKENS_PER_PRICE;
    if (sum > INT64_MAX)
        return false;
    *nano_usd = (int64_t)sum;
    return true;
}

bool price_cost(const struct price *price, const struct token_usage *usage, int64_t *nano_usd)
{
    int64_t cached =
        told(usage->cache_read) + told(usage->cache_write_5m) + told(usage->cache_write_1h);
    int64_t input = told(usage->input), output = told(usage->output);
    int64_t all_input = usage->input_includes_cached ? MAX(input, cached) : input + cached;
    struct price_rates rates = rates_at(price, all_input);
    if ((usage->input < 0 && rate_of(&rates, PRICE_INPUT) != 0) ||
        (usage->output < 0 && rate_of(&rates, PRICE_OUTPUT) != 0))
        return false;
    int64_t counts[PRICE_CLASS_COUNT] = {
        [PRICE_CACHE_READ] = told(usage->cache_read),
        [PRICE_CACHE_WRITE_5M] = told(usage->cache_write_5m),
        [PRICE_CACHE_WRITE_1H] = told(usage->cache_write_1h),
    };
    input = all_input - cached;
    counts[PRICE_AUDIO_INPUT] = take(&input, usage->audio_input);
    counts[PRICE_IMAGE_INPUT] = take(&input, usage->image_input);
    counts[PRICE_INPUT] = input;
    counts[PRICE_REASONING] = take(&output, usage->reasoning);
    counts[PRICE_AUDIO_OUTPUT] = take(&output, usage->audio_output);
    counts[PRICE_OUTPUT] = output;
    return sum_up(&rates, counts, nano_usd);
}

int64_t price_estimate(const struct price *price, int64_t input_tokens, int64_t output_tokens)
{
    struct price_rates rates = rates_at(price, input_tokens);
    int64_t counts[PRICE_CLASS_COUNT] = {
        [PRICE_INPUT] = told(input_tokens),
        [PRICE_OUTPUT] = told(output_tokens),
    };
    int64_t nano_usd = INT64_MAX;
    sum_up(&rates, counts, &nano_usd);
    return nano_usd;
}
