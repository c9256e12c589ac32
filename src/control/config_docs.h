/*
 * What the key table says, for people and for editors: the reference page and the JSON schema.
 * Any thread.
 * Nothing yields.
 * The text goes into the caller's buf.
 * Out of memory shows in the buf.
 */
#ifndef WEIR_CONTROL_CONFIG_DOCS_H
#define WEIR_CONTROL_CONFIG_DOCS_H

#include "base/buf.h"

/* Markdown: docs/reference/config.md. */
void config_write_reference(struct buf *out);
/* JSON Schema, draft 2020-12. */
void config_write_schema(struct buf *out);

#endif
