/*
 * What a config means as a whole, once each of its values has been read.
 * The thread that reads the config.
 * Nothing yields.
 * As config_reader.h.
 * Errors go to the report with the place of what they are about.
 */
#ifndef WEIR_CONTROL_CONFIG_FINISH_H
#define WEIR_CONTROL_CONFIG_FINISH_H

#include "control/config_fields.h"
#include "control/config_reader.h"

/* Drops what is switched off, adds `sim`, finds credentials, resolves URLs. `map` is the node that
 * settings->providers was read from, or NULL. */
void config_finish_providers(struct config_reader *reader, const struct config_node *map,
                             struct settings *settings);
/* Fills in the paths of a dialect where none was written. */
void config_default_paths(struct provider *provider);
/* The environment variables that tell a place, first come. */
extern const char *const config_place_variables[PLACE_COUNT][2];
/* Takes the places that the row does not tell from the environment, and puts them into its URLs; as
 * provider_fill_places. */
int config_fill_places(struct config_reader *reader, struct provider *provider,
                       enum provider_place *missing);
/* Appends a provider that starts from the catalogue row of its name; NULL after an error was
 * reported. */
struct provider *config_add_provider(struct config_reader *reader, struct settings *settings,
                                     struct str name);

/* Checks routes and `routing`, and makes the routes ready. */
void config_finish_routes(struct config_reader *reader, const struct config_node *root,
                          struct settings *settings);

/* Checks `prices` (NULL: there are none), and gives them and those built in to the providers. */
void config_finish_prices(struct config_reader *reader, const struct config_node *list,
                          struct settings *settings);

/* The variable's value without the spaces and line breaks around it; empty when it is not set. */
struct str config_env_value(const char *name);

/* True when others than this machine can connect to a listener. */
bool config_is_exposed(const struct settings *settings);

#endif
