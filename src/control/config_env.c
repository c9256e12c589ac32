#include "control/config_finish.h"

#include "base/err.h"

static const struct config_options no_options;

struct str config_env_value(const char *name)
{
    struct str value = str_c(getenv(name));
    while (value.len > 0 && (unsigned char)value.ptr[0] <= ' ')
        value = str_skip(value, 1);
    while (value.len > 0 && (unsigned char)value.ptr[value.len - 1] <= ' ')
        value.len--;
    return value;
}

static void oom(struct config_reader *reader)
{
    config_error(reader->report, CONFIG_NOWHERE, "out of memory");
}

/* The scalar under a key of a catalogue row, as a C string; NULL when there is none. */
static const char *row_text(struct config_reader *reader, const struct config_node *row,
                            const char *key)
{
    const struct config_node *node = config_node_get(row, str_c(key));
    if (node == NULL || node->kind != NODE_SCALAR || node->text.len == 0)
        return NULL;
    return arena_cstr(reader->arena, node->text);
}

/* --- base URLs ---------------------------------------------------------------------------------
 */

/* The path of a URL with its first slash, or empty. */
static struct str path_of(struct str url)
{
    ptrdiff_t scheme = str_find(url, STR("://"));
    struct str rest = scheme < 0 ? url : str_skip(url, (size_t)scheme + 3);
    ptrdiff_t slash = str_index(rest, '/');
    return slash < 0 ? STR("") : str_skip(rest, (size_t)slash);
}

/*
 * A variable such as OLLAMA_HOST names a server, not an API: "host", "host:port", ":port" or a URL,
 * port 11434 when neither scheme nor port is there, and 0.0.0.0 (what the server listens on) means
 * this machine. The API's path comes from the catalogue.
 */
static struct str url_of_host(struct arena *arena, struct str host, struct str catalogue_url)
{
    struct str path = path_of(catalogue_url);
    while (str_ends(host, STR("/")))
        host = str_head(host, host.len - 1);
    if (str_find(host, STR("://")) >= 0) {
        const struct str parts[] = {host, path_of(host).len == 0 ? path : STR("")};
        return arena_concat(arena, parts, ARRAY_LEN(parts));
    }
    ptrdiff_t colon = str_rindex(host, ':');
    bool has_port = colon >= 0 && str_index(str_skip(host, (size_t)colon), ']') < 0 &&
                    (str_starts(host, STR("[")) || str_index(host, ':') == colon);
    struct str port = has_port ? str_skip(host, (size_t)colon + 1) : STR("11434");
    struct str name = has_port ? str_head(host, (size_t)colon) : host;
    if (name.len == 0 || str_eq(name, STR("0.0.0.0")) || str_eq(name, STR("[::]")) ||
        str_eq(name, STR("::")))
        name = STR("127.0.0.1");
    bool needs_brackets = str_index(name, ':') >= 0 && !str_starts(name, STR("["));
    return arena_printf(arena, "http://%s%.*s%s:%.*s%.*s", needs_brackets ? "[" : "", STR_ARG(name),
                        needs_brackets ? "]" : "", STR_ARG(port), STR_ARG(path));
}

static void move_provider(struct config_reader *reader, struct provider *provider,
                          const char *variable, struct str value)
{
    if (str_ends(str_c(variable), STR("_HOST")))
        value = url_of_host(reader->arena, value, provider->base_url);
    if (value.ptr == NULL || config_set_base_url(provider, reader->arena, value) != NULL)
        oom(reader);
}

/* --- providers ---------------------------------------------------------------------------------
 */

static void add_row(struct config_reader *reader, const struct config_node *row,
                    struct settings *settings)
{
    const char *key_variable = row_text(reader, row, "env_key");
    const char *url_variable = row_text(reader, row, "env_base_url");
    struct str key = key_variable != NULL ? config_env_value(key_variable) : STR_EMPTY;
    struct str url = url_variable != NULL ? config_env_value(url_variable) : STR_EMPTY;
    bool is_sim = str_eq(row->key, STR("sim"));
    if (key.len == 0 && url.len == 0 && !is_sim)
        return;
    struct provider *provider = config_add_provider(reader, settings, row->key);
    if (provider == NULL)
        return;
    if (key.len > 0) {
        provider->api_key = arena_dup(reader->arena, key);
        if (provider->api_key.ptr == NULL)
            oom(reader);
    }
    if (url.len > 0)
        move_provider(reader, provider, url_variable, url);
    enum provider_place missing;
    int r = config_fill_places(reader, provider, &missing);
    if ((provider->base_url.len == 0 && !is_sim) || missing < PLACE_COUNT) {
        const char *place =
            missing < PLACE_COUNT ? config_place_variables[missing][0] : url_variable;
        config_warning(reader->report, CONFIG_NOWHERE,
                       "%s is set, but provider %.*s needs to be told where it is%s%s: left out",
                       key_variable != NULL && key.len > 0 ? key_variable : url_variable,
                       STR_ARG(row->key), place != NULL ? ", in " : "", place != NULL ? place : "");
        settings->provider_count--;
        return;
    }
    if (r == 0)
        r = provider_merge_traits(provider, reader->arena);
    if (r < 0 || provider_resolve(provider) < 0)
        config_error(reader->report, CONFIG_NOWHERE, "environment variable %s: %s",
                     url.len > 0            ? url_variable
                     : key_variable != NULL ? key_variable
                                            : "(none)",
                     err_slot()->message);
}

/* --- keys and listeners ------------------------------------------------------------------------
 */

/* "name=key", unless what is before the "=" is no name or nothing but padding comes after it. */
static bool split_named_key(struct str item, struct str *name, struct str *key)
{
    ptrdiff_t equals = str_index(item, '=');
    if (equals <= 0)
        return false;
    *name = str_head(item, (size_t)equals);
    *key = str_skip(item, (size_t)equals + 1);
    for (size_t i = 0; i < key->len; i++) {
        if (key->ptr[i] != '=')
            return true;
    }
    return false;
}

static void read_keys(struct config_reader *reader, struct settings *settings)
{
    struct str list = config_env_value("WEIR_KEYS"), item;
    unsigned most = 1;
    for (size_t i = 0; i < list.len; i++)
        most += list.ptr[i] == ',';
    settings->keys = arena_calloc(reader->arena, most * sizeof(*settings->keys));
    if (settings->keys == NULL) {
        oom(reader);
        return;
    }
    while (str_next(&list, ',', &item)) {
        struct str name, value;
        item = str_trim(item);
        if (item.len == 0)
            continue;
        struct virtual_key *key = &settings->keys[settings->key_count++];
        if (!split_named_key(item, &name, &value)) {
            name = arena_printf(reader->arena, "key-%u", settings->key_count);
            value = item;
        }
        const char *expected = config_set_key_name(key, reader->arena, name);
        if (expected == NULL)
            expected = config_set_key_value(key, reader->arena, value);
        if (expected != NULL)
            config_error(reader->report, CONFIG_NOWHERE,
                         "environment variable WEIR_KEYS, entry %u: expected %s",
                         settings->key_count, expected);
    }
}

static void read_listen(struct config_reader *reader, struct settings *settings)
{
    struct str list = config_env_value("WEIR_LISTEN"), item;
    unsigned most = 1;
    for (size_t i = 0; i < list.len; i++)
        most += list.ptr[i] == ',';
    settings->listeners = arena_calloc(reader->arena, most * sizeof(*settings->listeners));
    if (settings->listeners == NULL) {
        oom(reader);
        return;
    }
    while (str_next(&list, ',', &item)) {
        item = str_trim(item);
        if (item.len == 0)
            continue;
        const char *expected = config_set_listen_address(
            &settings->listeners[settings->listener_count++], reader->arena, item);
        if (expected != NULL)
            config_error(reader->report, CONFIG_NOWHERE,
                         "environment variable WEIR_LISTEN: found \"%.*s\"; expected %s",
                         STR_ARG(str_head(item, 80)), expected);
    }
}

static void read_auth(struct config_reader *reader, struct settings *settings)
{
    struct str mode = config_env_value("WEIR_AUTH");
    if (str_eq(mode, STR("none")))
        settings->auth = AUTH_MODE_NONE;
    else if (mode.len > 0 && !str_eq(mode, STR("keys")))
        config_error(reader->report, CONFIG_NOWHERE,
                     "environment variable WEIR_AUTH: found \"%.*s\"; expected keys or none",
                     STR_ARG(str_head(mode, 80)));
}

struct settings *config_read_environment(const struct config_options *options,
                                         struct config_report *report)
{
    struct settings *settings = config_settings_new(report, STR("environment"));
    if (settings == NULL)
        return NULL;
    struct config_reader reader = {.arena = settings->arena, .report = report};
    if (config_load_catalogue(&reader)) {
        for (const struct config_node *row = reader.catalogue->first; row != NULL; row = row->next)
            add_row(&reader, row, settings);
        read_keys(&reader, settings);
        read_listen(&reader, settings);
        read_auth(&reader, settings);
        config_finish(&reader, NULL, options != NULL ? options : &no_options, settings);
    }
    if (report->errors == 0)
        return settings;
    settings_free(settings);
    return NULL;
}
