#include "control/config_finish.h"

#include "base/clock.h"
#include "control/config_value.h"

#define DEFAULT_LISTEN "127.0.0.1:8080"

/* The n-th child of a list or map; NULL when there is none (or no node at all). */
static const struct config_node *nth(const struct config_node *node, unsigned n)
{
    const struct config_node *child = node != NULL ? node->first : NULL;
    while (child != NULL && n-- > 0)
        child = child->next;
    return child;
}

static struct config_mark mark_or_nowhere(const struct config_node *node)
{
    return node != NULL ? node->mark : CONFIG_NOWHERE;
}

/* --- listeners ---------------------------------------------------------------------------------
 */

static bool add_listener(struct config_reader *reader, struct settings *settings,
                         const struct net_addr *addr, struct str text)
{
    unsigned count = settings->listener_count;
    struct listener_settings *all = arena_calloc(reader->arena, (count + 1) * sizeof(*all));
    struct str copy = arena_dup(reader->arena, text);
    if (all == NULL || copy.ptr == NULL) {
        config_error(reader->report, CONFIG_NOWHERE, "out of memory");
        return false;
    }
    if (count > 0)
        memcpy(all, settings->listeners, count * sizeof(*all));
    all[count] = (struct listener_settings){.addr = *addr, .text = copy};
    settings->listeners = all;
    settings->listener_count = count + 1;
    return true;
}

static void listen_as_told(struct config_reader *reader, struct settings *settings, struct str text,
                           const char *who)
{
    struct listener_settings parsed = {0};
    const char *expected = config_set_listen_address(&parsed, reader->arena, text);
    if (expected != NULL)
        config_error(reader->report, CONFIG_NOWHERE, "%s: found \"%.*s\"; expected %s", who,
                     STR_ARG(str_head(text, 80)), expected);
    else
        add_listener(reader, settings, &parsed.addr, text);
}

static void add_activated(struct config_reader *reader, const struct config_options *options,
                          struct settings *settings)
{
    for (unsigned i = 0; i < options->activated_count; i++) {
        const struct net_addr *addr = &options->activated[i];
        bool is_known = false;
        for (unsigned j = 0; j < settings->listener_count; j++)
            is_known |= net_addr_equal(&settings->listeners[j].addr, addr);
        char text[NET_ADDR_TEXT_BYTES];
        if (!is_known)
            add_listener(reader, settings, addr, str_c(net_addr_format(addr, true, text)));
    }
}

static void finish_listeners(struct config_reader *reader, const struct config_node *list,
                             const struct config_options *options, struct settings *settings)
{
    if (options->listen_count > 0)
        settings->listener_count = 0;
    for (unsigned i = 0; i < options->listen_count; i++)
        listen_as_told(reader, settings, str_c(options->listen[i]), "--listen");
    if (settings->listener_count == 0 && reader->report->errors == 0) {
        if (list != NULL && options->listen_count == 0)
            config_error(reader->report, list->mark,
                         "listen: found nothing; expected at least one address, or no \"listen\" "
                         "at all, which means " DEFAULT_LISTEN);
        else if (options->activated_count == 0)
            listen_as_told(reader, settings, STR(DEFAULT_LISTEN), "listen");
    }
    add_activated(reader, options, settings);
    for (unsigned i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *l = &settings->listeners[i];
        for (unsigned j = 0; j < i; j++) {
            if (net_addr_port(&l->addr) != 0 &&
                net_addr_equal(&l->addr, &settings->listeners[j].addr))
                config_error(reader->report, mark_or_nowhere(nth(list, i)),
                             "listen: found \"%.*s\" twice", STR_ARG(l->text));
        }
    }
}

bool config_is_exposed(const struct settings *settings)
{
    for (unsigned i = 0; i < settings->listener_count; i++) {
        if (net_addr_kind(&settings->listeners[i].addr) != NET_LOOPBACK)
            return true;
    }
    return false;
}

/* An open gateway that others can reach spends the operator's money: that must be written out. */
static void check_exposure(struct config_reader *reader, const struct config_node *list,
                           const struct config_options *options, const struct settings *settings)
{
    if (settings->auth == AUTH_MODE_NONE || settings->key_count > 0)
        return;
    for (unsigned i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *l = &settings->listeners[i];
        if (net_addr_kind(&l->addr) == NET_LOOPBACK)
            continue;
        bool is_of_file = reader->report->source.len > 0;
        const struct config_node *node = options->listen_count == 0 ? nth(list, i) : NULL;
        config_error(reader->report, mark_or_nowhere(node),
                     "listening on %.*s, where other machines can connect, without a key: whoever "
                     "connects could use your providers' credentials; expected %s, an address of "
                     "loopback such as " DEFAULT_LISTEN ", or %s if that is what you want",
                     STR_ARG(l->text),
                     is_of_file ? "\"keys\" (make one with `weir keys hash --generate`)"
                                : "client keys in WEIR_KEYS",
                     is_of_file ? "\"auth: none\"" : "WEIR_AUTH=none");
        return;
    }
}

/* --- keys --------------------------------------------------------------------------------------
 */

struct key_place {
    const struct virtual_key *key;
    const struct config_node *node; /* NULL = from the environment */
};

static int by_name(const void *a, const void *b)
{
    const struct key_place *x = a, *y = b;
    int order = str_cmp(x->key->name, y->key->name);
    return order != 0 ? order : (x->key > y->key) - (x->key < y->key);
}

static int by_access_key_id(const void *a, const void *b)
{
    const struct key_place *x = a, *y = b;
    int order = str_cmp(x->key->aws_access_key_id, y->key->aws_access_key_id);
    return order != 0 ? order : (x->key > y->key) - (x->key < y->key);
}

static int by_hash(const void *a, const void *b)
{
    const struct key_place *x = a, *y = b;
    if (x->key->is_aws_only != y->key->is_aws_only)
        return x->key->is_aws_only - y->key->is_aws_only;
    int order = memcmp(x->key->sha256, y->key->sha256, KEY_HASH_BYTES);
    return order != 0 ? order : (x->key > y->key) - (x->key < y->key);
}

/* Sorted, because a table of keys may be long. */
static void refuse_twins(struct config_reader *reader, struct key_place *places, unsigned count)
{
    qsort(places, count, sizeof(*places), by_name);
    for (unsigned i = 1; i < count; i++) {
        if (str_eq(places[i].key->name, places[i - 1].key->name))
            config_error(reader->report, mark_or_nowhere(places[i].node),
                         "keys: found the name \"%.*s\" twice", STR_ARG(places[i].key->name));
    }
    qsort(places, count, sizeof(*places), by_access_key_id);
    for (unsigned i = 1; i < count; i++) {
        struct str id = places[i].key->aws_access_key_id;
        if (id.len > 0 && str_eq(id, places[i - 1].key->aws_access_key_id))
            config_error(reader->report, mark_or_nowhere(places[i].node),
                         "keys: \"%.*s\" and \"%.*s\" have the same aws.access_key_id",
                         STR_ARG(places[i - 1].key->name), STR_ARG(places[i].key->name));
    }
    qsort(places, count, sizeof(*places), by_hash);
    for (unsigned i = 1; i < count && !places[i].key->is_aws_only; i++) {
        if (memcmp(places[i].key->sha256, places[i - 1].key->sha256, KEY_HASH_BYTES) == 0)
            config_error(reader->report, mark_or_nowhere(places[i].node),
                         "keys: \"%.*s\" and \"%.*s\" are the same key",
                         STR_ARG(places[i - 1].key->name), STR_ARG(places[i].key->name));
    }
}

static void check_key(struct config_reader *reader, struct virtual_key *key,
                      const struct config_node *node)
{
    bool has_hash = config_node_get(node, STR("hash")) != NULL;
    bool has_value = config_node_get(node, STR("value")) != NULL;
    key->is_aws_only = !has_hash && !has_value && config_node_get(node, STR("aws")) != NULL;
    if (node != NULL && node->kind == NODE_MAP && has_hash == has_value && !key->is_aws_only)
        config_error(reader->report, node->mark, "key \"%.*s\": found %s; expected one of the two",
                     STR_ARG(key->name),
                     has_hash ? "\"hash\" and \"value\"" : "neither \"hash\" nor \"value\"");
    if (key->expires_wall_ns != 0 && key->expires_wall_ns <= clock_wall_ns())
        config_warning(reader->report, mark_or_nowhere(node), "key \"%.*s\" has expired",
                       STR_ARG(key->name));
}

static void finish_keys(struct config_reader *reader, const struct config_node *list,
                        struct settings *settings)
{
    struct key_place *places =
        arena_alloc(reader->report->arena, settings->key_count * sizeof(*places));
    if (places == NULL) {
        config_error(reader->report, CONFIG_NOWHERE, "out of memory");
        return;
    }
    const struct config_node *node = list != NULL ? list->first : NULL;
    for (unsigned i = 0; i < settings->key_count; i++) {
        places[i] = (struct key_place){&settings->keys[i], node};
        check_key(reader, &settings->keys[i], node);
        node = node != NULL ? node->next : NULL;
    }
    if (reader->report->errors == 0)
        refuse_twins(reader, places, settings->key_count);
}

/* --- aliases -----------------------------------------------------------------------------------
 */

static const char *nearest_provider(struct config_reader *reader, const struct settings *settings,
                                    struct str name)
{
    const char **names =
        arena_calloc(reader->report->arena, (settings->provider_count + 1) * sizeof(char *));
    for (unsigned i = 0; names != NULL && i < settings->provider_count; i++) {
        names[i] = arena_cstr(reader->report->arena, settings->providers[i].name);
        if (names[i] == NULL)
            return NULL;
    }
    return names != NULL ? str_nearest(name, names) : NULL;
}

static void check_alias(struct config_reader *reader, const struct config_node *node,
                        const struct alias_settings *alias, const struct settings *settings)
{
    struct str model = alias->target, provider;
    if (!str_cut(&model, '/', &provider) || model.len == 0) {
        config_error(reader->report, node->key_mark,
                     "model \"%.*s\": found no \"/\" in what is behind it; expected "
                     "provider/model",
                     STR_ARG(alias->name));
        return;
    }
    for (unsigned i = 0; i < settings->provider_count; i++) {
        if (str_eq(settings->providers[i].name, provider))
            return;
    }
    const struct config_node *target = config_node_get(node, STR("target"));
    struct str written = target != NULL ? target->text : node->text;
    const char *nearest = nearest_provider(reader, settings, provider);
    config_error(reader->report, node->key_mark,
                 "model \"%.*s\": the provider of \"%.*s\" is not configured; expected one of "
                 "\"providers\"%s%s%s",
                 STR_ARG(alias->name), STR_ARG(str_head(written, 80)),
                 nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                 nearest != NULL ? "\"?" : "");
}

static void finish_aliases(struct config_reader *reader, const struct config_node *map,
                           const struct settings *settings)
{
    const struct config_node *node = settings->alias_count > 0 ? map->first : NULL;
    for (unsigned i = 0; i < settings->alias_count; i++, node = node->next)
        check_alias(reader, node, &settings->aliases[i], settings);
}

/* --- the whole ---------------------------------------------------------------------------------
 */

void config_finish(struct config_reader *reader, const struct config_node *root,
                   const struct config_options *options, struct settings *settings)
{
    const struct config_node *listen = config_node_get(root, STR("listen"));
    if (options->threads > 0)
        settings->threads = options->threads;
    finish_listeners(reader, listen, options, settings);
    if (root != NULL)
        config_finish_providers(reader, config_node_get(root, STR("providers")), settings);
    finish_keys(reader, config_node_get(root, STR("keys")), settings);
    /* What follows from the rest would only repeat its errors in other words. */
    if (reader->report->errors > 0)
        return;
    finish_aliases(reader, config_node_get(root, STR("models")), settings);
    config_finish_prices(reader, config_node_get(root, STR("prices")), settings);
    config_finish_routes(reader, root, settings);
    check_exposure(reader, listen, options, settings);
    if (config_node_get(config_node_get(root, STR("metrics")), STR("require_key")) == NULL)
        settings->metrics_need_key = settings->auth == AUTH_MODE_KEYS && settings->key_count > 0 &&
                                     config_is_exposed(settings);
}
