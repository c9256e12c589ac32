#include "control/config_fields.h"
#include "control/config_reader.h"

#include "provider/catalogue.h"

/* Errors in it are weir's own and stop everything. */
static bool refuse_catalogue(struct config_reader *reader, const struct config_report *own)
{
    config_error(reader->report, CONFIG_NOWHERE, "the built-in catalogue, line %u: %.*s",
                 own->problems[0].mark.line, STR_ARG(own->problems[0].text));
    return false;
}

bool config_load_catalogue(struct config_reader *reader)
{
    struct arena *arena = reader->report->arena;
    struct config_report own;
    config_report_init(&own, arena, STR("catalogue"));
    reader->catalogue = config_node_parse(arena, catalogue_yaml(), &own);
    unsigned count = reader->catalogue != NULL ? reader->catalogue->count : 0;
    reader->catalogue_names = arena_calloc(arena, (count + 1) * sizeof(char *));
    if (reader->catalogue_names == NULL)
        config_error(&own, CONFIG_NOWHERE, "out of memory");
    if (own.errors > 0 || reader->catalogue == NULL || reader->catalogue_names == NULL)
        return refuse_catalogue(reader, &own);
    unsigned n = 0;
    for (const struct config_node *row = reader->catalogue->first; row != NULL; row = row->next) {
        reader->catalogue_names[n] = arena_cstr(arena, row->key);
        if (reader->catalogue_names[n++] == NULL) {
            config_error(reader->report, CONFIG_NOWHERE, "out of memory");
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
    provider->catalogue = arena_dup(reader->arena, name);
    if (own.errors > 0)
        refuse_catalogue(reader, &own);
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
