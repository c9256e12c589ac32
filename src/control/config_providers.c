#include "base/err.h"
#include "control/config_finish.h"
#include "control/config_value.h"

/* The paths of each dialect at its own vendor, after what base_url usually ends with. */
static const struct str dialect_paths[DIALECT_COUNT][OPERATION_COUNT] = {
    [DIALECT_OPENAI_CHAT] = {[OPERATION_CHAT] = STR_INIT("/chat/completions"),
                             [OPERATION_COMPLETIONS] = STR_INIT("/completions"),
                             [OPERATION_MODELS] = STR_INIT("/models"),
                             [OPERATION_REALTIME] = STR_INIT("/realtime?model={model}")},
    [DIALECT_OPENAI_RESPONSES] = {[OPERATION_CHAT] = STR_INIT("/responses"),
                                  [OPERATION_MODELS] = STR_INIT("/models"),
                                  [OPERATION_RESPONSES] = STR_INIT("/responses")},
    [DIALECT_ANTHROPIC] = {[OPERATION_CHAT] = STR_INIT("/v1/messages"),
                           [OPERATION_MODELS] = STR_INIT("/v1/models"),
                           [OPERATION_COUNT_TOKENS] = STR_INIT("/v1/messages/count_tokens")},
    [DIALECT_GEMINI] = {[OPERATION_CHAT] = STR_INIT("/v1beta/models/{model}:generateContent"),
                        [OPERATION_CHAT_STREAM] =
                            STR_INIT("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
                        [OPERATION_MODELS] = STR_INIT("/v1beta/models"),
                        [OPERATION_LIVE] = STR_INIT("/ws/google.ai.generativelanguage.v1beta."
                                                    "GenerativeService.BidiGenerateContent"),
                        [OPERATION_COUNT_TOKENS] = STR_INIT("/v1beta/models/{model}:countTokens")},
    [DIALECT_BEDROCK] = {[OPERATION_CHAT] = STR_INIT("/model/{model}/converse"),
                         [OPERATION_CHAT_STREAM] = STR_INIT("/model/{model}/converse-stream")},
    [DIALECT_COHERE] =
        {[OPERATION_CHAT] = STR_INIT("/v2/chat"), [OPERATION_MODELS] = STR_INIT("/v1/models")},
};

void config_default_paths(struct provider *provider)
{
    for (unsigned i = 0; i < OPERATION_COUNT; i++) {
        if (provider->paths[i].ptr != NULL)
            return; /* what is not written is not offered */
    }
    memcpy(provider->paths, dialect_paths[provider->dialect], sizeof(provider->paths));
}

/* --- places ------------------------------------------------------------------------------------
 */

/* The names that the vendors' SDKs read, in their order. */
const char *const config_place_variables[PLACE_COUNT][2] = {
    [PLACE_REGION] = {"AWS_REGION", "AWS_DEFAULT_REGION"},
    [PLACE_PROJECT] = {"GOOGLE_CLOUD_PROJECT", "ANTHROPIC_VERTEX_PROJECT_ID"},
    [PLACE_LOCATION] = {"GOOGLE_CLOUD_LOCATION", "CLOUD_ML_REGION"},
    [PLACE_RESOURCE] = {"AZURE_RESOURCE_NAME", "AZURE_OPENAI_RESOURCE"},
};

int config_fill_places(struct config_reader *reader, struct provider *provider,
                       enum provider_place *missing)
{
    *missing = PLACE_COUNT;
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        for (unsigned k = 0; k < 2 && provider->places[i].len == 0; k++)
            provider->places[i] =
                arena_dup(reader->arena, config_env_value(config_place_variables[i][k]));
        if (provider->places[i].ptr == NULL)
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
    }
    return provider_fill_places(provider, reader->arena, missing);
}

struct provider *config_add_provider(struct config_reader *reader, struct settings *settings,
                                     struct str name)
{
    unsigned count = settings->provider_count;
    struct provider *all = arena_calloc(reader->arena, (count + 1) * sizeof(*all));
    struct str copy = arena_dup(reader->arena, name);
    if (all == NULL || copy.ptr == NULL) {
        config_error(reader->report, CONFIG_NOWHERE, "out of memory");
        return NULL;
    }
    if (count > 0)
        memcpy(all, settings->providers, count * sizeof(*all));
    all[count].name = copy;
    config_set_defaults(&config_provider, &all[count], reader->arena);
    if (!config_apply_catalogue(reader, copy, &all[count])) {
        config_error(reader->report, CONFIG_NOWHERE, "the built-in catalogue has no row \"%.*s\"",
                     STR_ARG(name));
        return NULL;
    }
    config_default_paths(&all[count]);
    settings->providers = all;
    settings->provider_count = count + 1;
    return &all[count];
}

static bool is_switched_off(struct config_reader *reader, const struct config_node *node)
{
    const struct config_node *enabled = config_node_get(node, STR("enabled"));
    bool is_changed, is_enabled = true;
    if (enabled == NULL || enabled->kind != NODE_SCALAR)
        return false;
    struct str text = config_expand(reader, enabled->text, enabled->mark, &is_changed);
    return text.ptr != NULL && config_parse_bool(text, &is_enabled) == NULL && !is_enabled;
}

static void check_has_url(struct config_reader *reader, const struct config_node *node,
                          const struct provider *provider)
{
    if (provider->base_url.len > 0 || provider->is_simulated ||
        config_node_get(node, STR("base_url")) != NULL)
        return;
    if (config_node_get(reader->catalogue, provider->name) != NULL ||
        config_node_get(node, STR("catalogue")) != NULL) {
        config_error(reader->report, node->key_mark,
                     "provider \"%.*s\" has no \"base_url\"; expected one, as it is another for "
                     "every account",
                     STR_ARG(provider->name));
        return;
    }
    const char *nearest = str_nearest(provider->name, reader->catalogue_names);
    config_error(reader->report, node->key_mark,
                 "provider \"%.*s\" is not in the built-in catalogue; expected \"base_url\" (and "
                 "\"dialect\" unless it speaks OpenAI's), or a name that is%s%s%s",
                 STR_ARG(provider->name), nearest != NULL ? "; did you mean \"" : "",
                 nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "");
}

/* The credential from the environment, when the file says neither a credential nor a place. */
static void find_credential(struct config_reader *reader, const struct config_node *node,
                            struct provider *provider)
{
    bool is_fetched =
        provider->auth == AUTH_AWS || provider->auth == AUTH_GOOGLE || provider->auth == AUTH_ENTRA;
    if (provider->auth == AUTH_NO_CREDENTIAL || provider->is_simulated ||
        (is_fetched && config_node_get(node, STR("auth")) != NULL) || provider->api_key.len > 0 ||
        config_node_get(node, STR("api_key")) != NULL ||
        config_node_get(node, STR("keys")) != NULL ||
        config_node_get(node, STR("base_url")) != NULL)
        return;
    /* The catalogue names a variable for one row only; this one serves all of Bedrock's. */
    struct str variable = provider->env_key;
    if (variable.len == 0 && provider->auth == AUTH_AWS && provider->auth_settings.service.len == 0)
        variable = STR("AWS_BEARER_TOKEN_BEDROCK");
    const char *name = variable.len > 0 ? arena_cstr(reader->arena, variable) : NULL;
    struct str value = name != NULL ? config_env_value(name) : STR_EMPTY;
    if (value.len > 0) {
        provider->api_key = arena_dup(reader->arena, value);
        return;
    }
    if (is_fetched)
        return;
    config_error(
        reader->report, node->key_mark, "provider \"%.*s\" has no \"api_key\"; expected one%s%s%s",
        STR_ARG(provider->name), name != NULL ? " here, or in the environment variable " : "",
        name != NULL ? name : "",
        name != NULL ? "" : ", or \"auth: {kind: none}\" when it needs no credential");
}

static void check_pool_twins(struct config_reader *reader, const struct config_node *list,
                             const struct provider *provider)
{
    const struct config_node *entry = list->first;
    for (unsigned i = 0; i < provider->key_count; i++, entry = entry->next) {
        const struct provider_key *key = &provider->keys[i];
        for (unsigned j = 0; j < i; j++) {
            if (str_eq(key->name, provider->keys[j].name))
                config_error(reader->report, entry->mark,
                             "provider \"%.*s\": found the key name \"%.*s\" twice",
                             STR_ARG(provider->name), STR_ARG(key->name));
            else if (str_eq_secret(key->api_key, provider->keys[j].api_key))
                config_error(reader->report, entry->mark,
                             "provider \"%.*s\": the keys \"%.*s\" and \"%.*s\" are the same",
                             STR_ARG(provider->name), STR_ARG(provider->keys[j].name),
                             STR_ARG(key->name));
        }
    }
}

/* The pool of keys; its first one is the provider's api_key as well. */
static void finish_pool(struct config_reader *reader, const struct config_node *node,
                        struct provider *provider)
{
    const struct config_node *list = config_node_get(node, STR("keys"));
    if (list == NULL || list->kind != NODE_LIST)
        return;
    if (config_node_get(node, STR("api_key")) != NULL)
        config_error(reader->report, list->mark,
                     "provider \"%.*s\": found \"api_key\" and \"keys\"; expected one of the two",
                     STR_ARG(provider->name));
    uint64_t sum = 0;
    unsigned errors = reader->report->errors;
    for (unsigned i = 0; i < provider->key_count; i++) {
        struct provider_key *key = &provider->keys[i];
        if (key->name.len == 0)
            key->name = arena_printf(reader->arena, "key-%u", i + 1);
        sum += key->weight;
        if (!http_value_is_safe(key->api_key))
            config_error(reader->report, list->mark,
                         "provider \"%.*s\": the key \"%.*s\" holds a line break or another "
                         "control character",
                         STR_ARG(provider->name), STR_ARG(key->name));
    }
    if (sum == 0)
        config_error(reader->report, list->mark,
                     "provider \"%.*s\": found no key with a \"weight\" above 0; expected at "
                     "least one",
                     STR_ARG(provider->name));
    check_pool_twins(reader, list, provider);
    if (provider->key_count > 0 && errors == reader->report->errors)
        provider->api_key = provider->keys[0].api_key;
}

static void check_tls(struct config_reader *reader, const struct config_node *node,
                      const struct provider *provider)
{
    if ((provider->client_cert_file == NULL) != (provider->client_key_file == NULL))
        config_error(reader->report, node->key_mark,
                     "provider \"%.*s\": found one of tls.cert_file and tls.key_file; expected "
                     "both or neither",
                     STR_ARG(provider->name));
}

/* The place of the key with which a message about a provider begins, as in "base_url: ..." */
static struct config_mark place_of(const struct config_node *node, struct str message)
{
    size_t len = 0;
    while (len < message.len &&
           ((message.ptr[len] >= 'a' && message.ptr[len] <= 'z') || message.ptr[len] == '_'))
        len++;
    const struct config_node *value = config_node_get(node, str_head(message, len));
    return value != NULL ? value->mark : node->key_mark;
}

static void finish_provider(struct config_reader *reader, const struct config_node *node,
                            struct provider *provider)
{
    err_clear();
    enum provider_place missing;
    check_has_url(reader, node, provider);
    check_tls(reader, node, provider);
    config_default_paths(provider);
    finish_pool(reader, node, provider);
    unsigned errors = reader->report->errors;
    find_credential(reader, node, provider);
    if (errors != reader->report->errors ||
        (provider->base_url.len == 0 && !provider->is_simulated))
        return;
    int r = config_fill_places(reader, provider, &missing);
    if (missing < PLACE_COUNT) {
        config_error(reader->report, node->key_mark,
                     "provider \"%.*s\" has no \"%s\"; expected one here, or in the environment "
                     "variable %s",
                     STR_ARG(provider->name), provider_place_names[missing],
                     config_place_variables[missing][0]);
        return;
    }
    if (r == 0)
        r = provider_merge_traits(provider, reader->arena);
    if (r < 0 || provider_resolve(provider) < 0)
        config_error(reader->report, place_of(node, str_c(err_slot()->message)),
                     "provider \"%.*s\": %s", STR_ARG(provider->name), err_slot()->message);
}

void config_finish_providers(struct config_reader *reader, const struct config_node *map,
                             struct settings *settings)
{
    /* Names and kinds were reported while they were read; then the rows may not fit the nodes. */
    const struct config_node *node = settings->provider_count > 0 ? map->first : NULL;
    unsigned kept = 0;
    for (unsigned i = 0; i < settings->provider_count; i++, node = node->next) {
        if (is_switched_off(reader, node))
            continue;
        if (node->kind == NODE_MAP || config_node_is_null(node))
            finish_provider(reader, node, &settings->providers[i]);
        settings->providers[kept++] = settings->providers[i];
    }
    settings->provider_count = kept;
    if (config_node_get(map, STR("sim")) != NULL)
        return;
    struct provider *sim = config_add_provider(reader, settings, STR("sim"));
    if (sim != NULL && provider_resolve(sim) < 0)
        config_error(reader->report, CONFIG_NOWHERE, "provider \"sim\": %s", err_slot()->message);
}
