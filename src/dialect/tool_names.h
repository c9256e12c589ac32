/*
 * Names of tools that the target's dialect does not take, as names that it does, and back.
 * One exchange's task; nothing yields.
 * The table and the new names live in the arena.
 * -ERR_NOMEM.
 *
 * A new name is the old one with '_' for what is not allowed, cut, and a hash of the old one
 * behind: the same in every turn and for every exchange, so that a conversation's history fits its
 * tools.
 */
#ifndef WEIR_DIALECT_TOOL_NAMES_H
#define WEIR_DIALECT_TOOL_NAMES_H

#include "dialect/dialect.h"

struct translation_names {
    struct translation_names *next;
    struct text from; /* the client's */
    struct str to;    /* the target's */
};

/* Changes the names in tools, the choice, and the calls and results of all messages. *names is
 * appended to. */
int tool_names_map(struct llm_request *request, const struct dialect *target, struct arena *arena,
                   struct translation_names **names);
/* The client's name for one that the target has answered with. */
struct text tool_names_back(const struct translation_names *names, struct text name);

#endif
