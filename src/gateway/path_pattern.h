/*
 * Patterns of endpoint paths: literal text with {model} and {any} in it.
 * Any thread; nothing yields.
 * What {model} stood for is a part of the path, as it was sent (percent-encoded).
 * Cannot fail.
 *
 * {any}        one segment
 * {publisher}  one segment, kept
 * {model}      one segment or more, as short as the rest of the pattern allows; names of models
 * have slashes and colons in them, and clients do not always encode these
 */
#ifndef WEIR_GATEWAY_PATH_PATTERN_H
#define WEIR_GATEWAY_PATH_PATTERN_H

#include "base/str.h"

struct path_match {
    struct str model;
    struct str publisher;
};

bool path_pattern_matches(struct str pattern, struct str path, struct path_match *match);

#endif
