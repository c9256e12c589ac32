#include "base/err.h"
#include "control/config_finish.h"
#include "control/config_keys.h"
#include "provider/price.h"

/* --- before an entry is read -------------------------------------------------------------------
 */

static void forget_rates(struct price_rates *rates)
{
    for (unsigned i = 0; i < PRICE_CLASS_COUNT; i++)
        rates->nano_usd[i] = PRICE_NOT_TOLD;
}

void config_price_begin(struct config_reader *reader, void *object, const struct config_node *node)
{
    (void)reader;
    (void)node;
    forget_rates(&((struct price *)object)->rates);
}

void config_tier_begin(struct config_reader *reader, void *object, const struct config_node *node)
{
    (void)reader;
    (void)node;
    forget_rates(&((struct price_tier *)object)->rates);
}

/* --- what is built in --------------------------------------------------------------------------
 */

struct built_in {
    struct price *rows;
    unsigned count;
};

static const struct config_key built_in_keys[] = {
    {"prices", CONFIG_LIST, .offset = offsetof(struct built_in, rows),
     .width = sizeof(struct price *), .count_offset = offsetof(struct built_in, count),
     .stride = sizeof(struct price), .section = &config_price},
};
static const struct config_section built_in_section = {.keys = built_in_keys,
                                                       .count = ARRAY_LEN(built_in_keys)};

/* Errors in it are weir's own and stop everything. */
static bool read_built_in(struct config_reader *reader, struct built_in *built_in)
{
    struct config_report own;
    config_report_init(&own, reader->report->arena, STR("prices"));
    struct config_reader plain = {.arena = reader->arena, .report = &own};
    const struct config_node *root = config_node_parse(reader->report->arena, price_yaml(), &own);
    if (root != NULL)
        config_read_section(&plain, &built_in_section, root, built_in);
    if (own.errors == 0 && root != NULL)
        return true;
    config_error(reader->report, CONFIG_NOWHERE, "the built-in prices, line %u: %.*s",
                 own.problems[0].mark.line, STR_ARG(own.problems[0].text));
    return false;
}

/* --- checks ------------------------------------------------------------------------------------
 */

static int by_above(const void *a, const void *b)
{
    uint64_t x = ((const struct price_tier *)a)->above, y = ((const struct price_tier *)b)->above;
    return (x > y) - (x < y);
}

static void check_tiers(struct config_reader *reader, const struct config_node *node,
                        struct price *price)
{
    if (price->tier_count == 0)
        return;
    qsort(price->tiers, price->tier_count, sizeof(*price->tiers), by_above);
    for (unsigned i = 1; i < price->tier_count; i++) {
        if (price->tiers[i].above == price->tiers[i - 1].above)
            config_error(reader->report, config_node_get(node, STR("tiers"))->mark,
                         "prices: found two tiers above %llu; expected one",
                         (unsigned long long)price->tiers[i].above);
    }
}

/* A price that is nobody's is most likely misspelt, and its models would stay unpriced. */
static void check_is_used(struct config_reader *reader, const struct config_node *node,
                          const struct price *price, const struct settings *settings)
{
    for (unsigned i = 0; i < settings->provider_count; i++) {
        const struct provider *provider = &settings->providers[i];
        if (str_glob(price->provider, provider->name) ||
            (provider->catalogue.len > 0 && str_glob(price->provider, provider->catalogue)))
            return;
    }
    config_warning(reader->report, config_node_get(node, STR("provider"))->mark,
                   "prices: found \"%.*s\", which is no configured provider",
                   STR_ARG(str_head(price->provider, 80)));
}

void config_finish_prices(struct config_reader *reader, const struct config_node *list,
                          struct settings *settings)
{
    const struct config_node *node = list != NULL ? list->first : NULL;
    for (unsigned i = 0; i < settings->price_count; i++, node = node->next) {
        check_tiers(reader, node, &settings->prices[i]);
        check_is_used(reader, node, &settings->prices[i], settings);
    }
    struct built_in built_in = {0};
    if (!read_built_in(reader, &built_in))
        return;
    for (unsigned i = 0; i < built_in.count; i++) {
        if (built_in.rows[i].tier_count > 0) /* qsort takes no NULL */
            qsort(built_in.rows[i].tiers, built_in.rows[i].tier_count, sizeof(struct price_tier),
                  by_above);
    }
    for (unsigned i = 0; i < settings->provider_count; i++) {
        struct provider *provider = &settings->providers[i];
        if (price_attach(provider, settings->prices, settings->price_count, reader->arena) < 0 ||
            price_attach(provider, built_in.rows, built_in.count, reader->arena) < 0) {
            config_error(reader->report, CONFIG_NOWHERE, "out of memory");
            return;
        }
    }
}
