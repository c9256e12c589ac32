/*
 * An answer in a given form from a model that has no such form: a tool whose arguments are the
 * answer.
 * Any thread; nothing yields.
 * What is added lives in the arena.
 * -ERR_INVALID with words for the client, -ERR_NOMEM.
 */
#ifndef WEIR_DIALECT_STRUCTURED_H
#define WEIR_DIALECT_STRUCTURED_H

#include "dialect/target.h"

/*
 * By the target's traits: nothing; or the tool instead of the format, forced unless the model
 * thinks (Claude takes no forced tool then); or a refusal. *tool is the tool's name, empty where
 * there is none.
 */
int structured_settle(struct llm_request *request, enum dialect_id dialect,
                      const struct llm_target *target, struct arena *arena, struct str *tool);

#endif
