#include <unistd.h>

#include "base/log.h"
#include "control/server_private.h"
#include "weir_version.h"

static void write_url(struct buf *out, const struct server *server, unsigned n)
{
    char text[NET_ADDR_TEXT_BYTES];
    bool has_tls;
    const struct net_addr *addr = listening_address(server->listening, n, &has_tls);
    buf_printf(out, "%s://%s", has_tls ? "https" : "http", net_addr_format(addr, true, text));
}

static void write_urls(struct buf *out, const struct server *server)
{
    for (unsigned i = 0; i < listening_count(server->listening); i++) {
        if (i > 0)
            BUF_LIT(out, ", ");
        write_url(out, server, i);
    }
}

static bool has_real_provider(const struct settings *settings)
{
    for (unsigned i = 0; i < settings->provider_count; i++) {
        if (!settings->providers[i].is_simulated)
            return true;
    }
    return false;
}

static void write_providers(struct buf *out, const struct settings *settings)
{
    for (unsigned i = 0; i < settings->provider_count; i++)
        buf_printf(out, "%s%.*s", i > 0 ? ", " : "", STR_ARG(settings->providers[i].name));
}

/* For a person at a terminal. */
static void write_greeting(struct buf *out, const struct server *server)
{
    const struct settings *settings = snapshot_settings(server->snapshot);
    buf_printf(out, "weir %s\n", WEIR_VERSION);
    for (unsigned i = 0; i < listening_count(server->listening); i++) {
        BUF_LIT(out, "  listening on ");
        write_url(out, server, i);
        BUF_LIT(out, "\n");
    }
    buf_printf(out, "  config       %.*s\n  providers    ", STR_ARG(settings->source));
    write_providers(out, settings);
    BUF_LIT(out, "\n");
    if (has_real_provider(settings) || listening_count(server->listening) == 0)
        return;
    BUF_LIT(out, "No provider key found (OPENAI_API_KEY and others). Try the simulated one:\n"
                 "  curl ");
    write_url(out, server, 0);
    BUF_LIT(out,
            "/v1/chat/completions -H 'content-type: application/json' \\\n"
            "    -d '{\"model\": \"sim/echo\", \"messages\": [{\"role\": \"user\", \"content\": "
            "\"Hello\"}]}'\n");
}

void server_say_hello(const struct server *server)
{
    const struct settings *settings = snapshot_settings(server->snapshot);
    struct buf text = BUF_INIT;
    if (isatty(STDERR_FILENO)) {
        write_greeting(&text, server);
        fwrite(text.ptr, 1, text.len, stderr);
    } else {
        BUF_LIT(&text, "listening on ");
        write_urls(&text, server);
        BUF_LIT(&text, "; providers ");
        write_providers(&text, settings);
        log_event(LOG_INFO, "process", "weir %s (%s), config %.*s, %u threads, %.*s", WEIR_VERSION,
                  WEIR_VERSION_GIT, STR_ARG(settings->source), server->threads,
                  STR_ARG(buf_str(&text)));
    }
    buf_fini(&text);
}

void server_status(const struct server *server, char *out, size_t cap)
{
    struct buf text = BUF_INIT;
    BUF_LIT(&text, "serving on ");
    write_urls(&text, server);
    snprintf(out, cap, "%.*s, generation %llu", STR_ARG(buf_str(&text)),
             (unsigned long long)snapshot_generation(server->snapshot));
    buf_fini(&text);
}
