/*
 * What Bedrock calls a file's format, and the media type of it.
 * Any thread; nothing yields.
 * Static strings.
 * What is not known gives an empty str.
 * Source: ImageFormat, DocumentFormat, AudioFormat and VideoFormat of the bedrock-runtime API.
 */
#ifndef WEIR_DIALECT_BEDROCK_FORMAT_H
#define WEIR_DIALECT_BEDROCK_FORMAT_H

#include "dialect/request.h"

/* "png" -> "image/png". Formats without a media type of their own give e.g. "image/xyz". */
struct text bedrock_type_of_format(struct arena *arena, enum llm_block_kind kind,
                                   struct text format);
/* "image/jpg; x=y" -> "jpeg"; where the type says nothing, by the end of `name` ("a.pdf"). */
struct str bedrock_format_of_type(struct arena *arena, enum llm_block_kind kind, struct text type,
                                  struct text name);

#endif
