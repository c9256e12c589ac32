/*
 * Predicates on requests: `when` of a route's target.
 * Parsing: one thread. An immutable condition: any thread at a time.
 * Nothing yields. Neither clock nor I/O.
 * A condition lives in the arena that it was parsed into, compiled patterns included.
 * Only parsing fails: NULL, and the error slot says what and where.
 *
 * {"model": "gpt-4o", "headers.x-tier": {"$in": ["gold", "team"]}, "$or": [...], "$not": {...}}
 * Members of one object must all hold. Fields: model, user, session, stream, input_tokens,
 * headers.NAME, metadata.NAME, key.name, key.team. Operators: $eq $ne $in $nin $regex $gt $lt $gte
 * $lte $exists, and $not around operators; a bare value is $eq.
 * What is missing (absent, empty or null) makes every comparison false but $exists: false, $ne and
 * $nin. A number in the condition is compared with text as a number where the text is one, else
 * they differ; text is ordered by its bytes.
 */
#ifndef WEIR_ROUTE_CONDITION_H
#define WEIR_ROUTE_CONDITION_H

#include "route/facts.h"

enum {
    CONDITION_DEPTH_MAX = 16, /* $and, $or and $not inside each other */
    CONDITION_PATTERN_MAX = 512,
    CONDITION_SUBJECT_MAX = 8192, /* longer text matches no pattern */
};

struct condition;

/*
 * `json` is one JSON object; it is copied. $regex takes a POSIX extended regular expression that
 * may match anywhere (anchor it with ^ and $), without back references: those take exponential
 * time. NULL: -ERR_INVALID or -ERR_NOMEM in the error slot.
 */
const struct condition *condition_parse(struct arena *arena, struct str json);

/* Does it hold? The arena is touched only for patterns and to read strings that are written with
 * escapes. Patterns are matched by libc, which takes memory of its own for the time and one lock a
 * pattern. NULL holds always. */
bool condition_holds(const struct condition *condition, const struct route_facts *facts,
                     struct arena *arena);

#endif
