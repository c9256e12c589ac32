/*
 * Whether two JSON texts say the same: up to the order of members, null the same as not there,
 * numbers by their text.
 * One thread; nothing yields.
 * Nothing is kept.
 * Text that is no JSON is not equal to anything.
 */
#ifndef WEIR_TESTS_JSON_EQUAL_H
#define WEIR_TESTS_JSON_EQUAL_H

#include "base/str.h"

/* Where they differ first, as a path, goes to `where`, with both values' beginnings. */
bool json_equal(struct str a, struct str b, char *where, size_t cap);

#endif
