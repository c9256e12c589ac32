/*
 * Members of a request's query.
 * Any thread; nothing yields.
 * The decoded value lives in the arena.
 * Empty when it is not there, or without memory.
 */
#ifndef WEIR_GATEWAY_QUERY_H
#define WEIR_GATEWAY_QUERY_H

#include "base/arena.h"

struct str query_value(struct str query, struct str name, struct arena *arena);
/* The query without the members of that name: a credential that must not go on. */
struct str query_without(struct str query, struct str name, struct arena *arena);

#endif
