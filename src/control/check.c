#include "control/load.h"
#include "control/server.h"

static void write_names(struct buf *out, const char *what, unsigned count)
{
    buf_printf(out, "%s%s", what, count == 0 ? "none" : "");
}

static void write_listeners(struct buf *out, const struct settings *s)
{
    write_names(out, "listen     ", s->listener_count);
    for (unsigned i = 0; i < s->listener_count; i++) {
        const struct listener_settings *l = &s->listeners[i];
        char text[NET_ADDR_TEXT_BYTES];
        buf_printf(out, "%s%s://%s", i > 0 ? ", " : "", l->has_tls ? "https" : "http",
                   net_addr_format(&l->addr, true, text));
    }
    BUF_LIT(out, "\n");
}

static void write_routes(struct buf *out, const struct settings *s)
{
    write_names(out, "routes     ", s->route_count);
    for (unsigned i = 0; i < s->route_count; i++) {
        const struct route *route = &s->routes[i];
        buf_printf(out, "%s%.*s -> ", i > 0 ? "\n           " : "", STR_ARG(route->name));
        for (unsigned k = 0; k < route->target_count; k++)
            buf_printf(out, "%s%.*s", k > 0 ? ", " : "", STR_ARG(route->targets[k].target));
        buf_printf(out, " (%s)", route_strategy_names[route->strategy]);
    }
    BUF_LIT(out, "\n");
}

/* Names only: no key, no hash, no address with a password in it. */
static void write_summary(struct buf *out, const struct settings *s)
{
    write_listeners(out, s);
    write_names(out, "providers  ", s->provider_count);
    for (unsigned i = 0; i < s->provider_count; i++)
        buf_printf(out, "%s%.*s", i > 0 ? ", " : "", STR_ARG(s->providers[i].name));
    if (s->auth == AUTH_MODE_NONE) {
        BUF_LIT(out, "\nkeys       not asked for (auth: none)");
    } else {
        write_names(out, "\nkeys       ", s->key_count);
        for (unsigned i = 0; i < s->key_count; i++)
            buf_printf(out, "%s%.*s%s", i > 0 ? ", " : "", STR_ARG(s->keys[i].name),
                       s->keys[i].is_disabled ? " (disabled)" : "");
    }
    write_names(out, "\nmodels     ", s->alias_count);
    for (unsigned i = 0; i < s->alias_count; i++)
        buf_printf(out, "%s%.*s -> %.*s", i > 0 ? ", " : "", STR_ARG(s->aliases[i].name),
                   STR_ARG(s->aliases[i].target));
    BUF_LIT(out, "\n");
    write_routes(out, s);
}

int server_check(const char *config)
{
    static const struct config_options options;
    struct arena *arena = arena_new(4096);
    if (arena == NULL) {
        fputs("weir: out of memory\n", stderr);
        return 1;
    }
    struct config_report report;
    struct buf text = BUF_INIT;
    config_report_init(&report, arena, str_c(config));
    struct snapshot *snapshot = load_snapshot(config, &options, 1, &report, NULL);
    config_report_write(&report, &text);
    fwrite(text.ptr != NULL ? text.ptr : "", 1, text.len, stderr);
    if (snapshot != NULL) {
        buf_clear(&text);
        buf_printf(&text, "%s is right\n", config);
        write_summary(&text, snapshot_settings(snapshot));
        fwrite(text.ptr, 1, text.len, stdout);
    }
    int status = snapshot != NULL ? 0 : 1;
    snapshot_unref(snapshot);
    buf_fini(&text);
    arena_free(arena);
    return status;
}
