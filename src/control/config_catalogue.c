#include "control/config_reader.h"

#include "provider/catalogue.h"

bool config_load_catalogue(struct config_reader *reader)
{
    struct config_report *report = reader->report;
    struct config_report own;
    config_report_init(&own, report->arena, STR("catalogue"));
    reader->catalogue = config_node_parse(report->arena, catalogue_yaml(), &own);
    if (own.errors == 0) {
        reader->catalogue_names =
            arena_calloc(report->arena, (reader->catalogue->count + 1) * sizeof(char *));
        if (reader->catalogue_names == NULL)
            config_error(report, CONFIG_NOWHERE, "out of memory");
    } else {
        config_error(report, CONFIG_NOWHERE, "the built-in catalogue, line %u: %.*s",
                     own.problems[0].mark.line, STR_ARG(own.problems[0].text));
        reader->catalogue = NULL;
    }
    if (report->errors > 0)
        return false;
    unsigned n = 0;
    for (const struct config_node *row = reader->catalogue->first; row != NULL; row = row->next) {
        reader->catalogue_names[n] = arena_cstr(report->arena, row->key);
        if (reader->catalogue_names[n++] == NULL) {
            config_error(report, CONFIG_NOWHERE, "out of memory");
            return false;
        }
    }
    return true;
}

bool config_apply_catalogue(struct config_reader *reader, struct str name,
                            struct provider *provider)
{
    const struct config_node *row = config_node_get(reader->catalogue, name);
    if (row == NULL)
        return false;
    struct config_report own;
    config_report_init(&own, reader->report->arena, STR("catalogue"));
    struct config_reader plain = {.arena = reader->arena, .report = &own};
    config_read_section(&plain, &config_provider, row, provider);
    if (own.errors > 0)
        config_error(reader->report, CONFIG_NOWHERE, "the built-in catalogue, line %u: %.*s",
                     own.problems[0].mark.line, STR_ARG(own.problems[0].text));
    return true;
}

void config_provider_begin(struct config_reader *reader, void *object,
                           const struct config_node *node)
{
    struct provider *provider = object;
    const struct config_node *row = config_node_get(node, STR("catalogue"));
    if (row == NULL || row->kind != NODE_SCALAR) { /* another kind is reported with its key */
        config_apply_catalogue(reader, provider->name, provider);
        return;
    }
    bool is_changed;
    struct str name = config_expand(reader, row->text, row->mark, &is_changed);
    if (name.ptr == NULL || config_apply_catalogue(reader, name, provider))
        return;
    const char *nearest = str_nearest(name, reader->catalogue_names);
    config_error(reader->report, row->mark,
                 "catalogue: found \"%.*s\"; expected the name of a row of the built-in catalogue"
                 "%s%s%s",
                 STR_ARG(str_head(row->text, 80)), nearest != NULL ? "; did you mean \"" : "",
                 nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "");
}
