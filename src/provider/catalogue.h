/*
 * The catalogue of providers that are known without configuration, compiled in as YAML.
 * Any thread; nothing yields; the text is static.
 * The config reader parses it with the same key table as the `providers:` section, so a row here
 * and a row there have the same keys, and a config's row is laid over the catalogue's row of the
 * same name.
 * No errors: a test parses every row.
 */
#ifndef WEIR_PROVIDER_CATALOGUE_H
#define WEIR_PROVIDER_CATALOGUE_H

#include "base/str.h"

/* A YAML mapping: name -> row, see the config reference under providers. */
struct str catalogue_yaml(void);

#endif
