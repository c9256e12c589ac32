/*
 * What the simulated provider says: the text of an answer, the arguments of a tool call, and an
 * instance of a JSON schema. The same request always gives the same answer.
 * Any thread; nothing yields.
 * Texts live in the arena or are static.
 * ptr NULL when there is no memory.
 */
#ifndef WEIR_PROVIDER_SIM_ANSWER_H
#define WEIR_PROVIDER_SIM_ANSWER_H

#include "base/buf.h"
#include "provider/sim_request.h"

struct sim_answer {
    struct str text; /* what is said, or a call's arguments */
    uint64_t tokens; /* of the text, as far as it is sent */
    bool is_tool_call;
    const char *finish; /* "stop", "length", "tool_calls" */
};

/* False when there is no memory. */
bool sim_answer_make(const struct sim_request *request, struct arena *arena,
                     struct sim_answer *answer);

/*
 * Appends a small JSON value that fits the schema as far as it names types, enum, const, default,
 * required, properties, items, bounds, anyOf and local $ref; {} where it says nothing. Bounded in
 * depth, size and time whatever the schema.
 */
void sim_schema_instance(struct buf *out, struct str schema);

#endif
