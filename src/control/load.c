#include "control/load.h"

#include "rt/tls.h"

static void check_files(const struct settings *settings, struct config_report *report)
{
    for (unsigned i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *l = &settings->listeners[i];
        if (!l->has_tls)
            continue;
        struct tls_context *context = tls_server_context_new(&l->tls);
        if (context == NULL)
            config_error(report, CONFIG_NOWHERE, "listen %.*s: %s", STR_ARG(l->text),
                         err_slot()->message);
        tls_context_unref(context);
    }
    for (unsigned i = 0; i < settings->provider_count; i++) {
        const struct provider *p = &settings->providers[i];
        const struct tls_client_settings tls = {
            .ca_file = p->ca_file,
            .cert_file = p->client_cert_file,
            .key_file = p->client_key_file,
        };
        bool has_files = tls.ca_file != NULL || tls.cert_file != NULL || tls.key_file != NULL;
        if (has_files && tls_client_settings_check(&tls) < 0)
            config_error(report, CONFIG_NOWHERE, "provider \"%.*s\": %s", STR_ARG(p->name),
                         err_slot()->message);
    }
}

struct snapshot *load_snapshot(const char *path, const struct config_options *options,
                               uint64_t generation, struct config_report *report,
                               struct config_files *files)
{
    struct settings *settings = path != NULL ? config_read_file(path, options, report, files)
                                             : config_read_environment(options, report);
    if (settings == NULL)
        return NULL;
    check_files(settings, report);
    struct snapshot *snapshot = report->errors == 0 ? snapshot_new(settings, generation) : NULL;
    if (snapshot != NULL)
        return snapshot;
    if (report->errors == 0)
        config_error(report, CONFIG_NOWHERE, "%s", err_slot()->message);
    settings_free(settings);
    return NULL;
}
