/*
 * Gemini's Schema message (a subset of OpenAPI 3.0: types in capitals, nullable, counts that may be
 * strings) as JSON Schema, which is what the neutral form holds, and the other way for models that
 * know nothing else.
 * Any thread; nothing yields.
 * Appends to a buf; fails by its flag only.
 * Source: ai.google.dev/api/caching#Schema.
 */
#ifndef WEIR_DIALECT_GEMINI_SCHEMA_H
#define WEIR_DIALECT_GEMINI_SCHEMA_H

#include "base/buf.h"
#include "base/json.h"

/* `schema` is the text of an object. */
void gemini_schema_to_json(struct buf *out, struct str schema);
/* What the subset has no word for is left out; true when that was so. References are not followed:
 * where one stands any value is taken. */
bool gemini_schema_from_json(struct buf *out, struct str schema);

#endif
