/*
 * Members of protobuf messages in JSON, as Google's APIs read and write them: each name may be
 * spelled in camelCase or in snake_case, null is the same as not there, a list of one may stand
 * without its brackets, 64-bit numbers may be strings.
 * Any thread; nothing yields.
 * Values point into the text.
 * Cannot fail.
 * Source: protobuf.dev/programming-guides/json and recorded requests.
 */
#ifndef WEIR_DIALECT_GEMINI_MEMBER_H
#define WEIR_DIALECT_GEMINI_MEMBER_H

#include "base/json.h"

/* True when `key` is `name` (camelCase) in either spelling. */
bool gemini_is(struct str key, const char *name);
/* Its place among `names`, which end with NULL; -1 when it is none of them. */
int gemini_index(struct str key, const char *const *names);
/* The first member of that name that is not null; false leaves kind JSON_NONE. */
bool gemini_find(struct str object, const char *name, struct json_value *value);
/* The next member that is not null. */
bool gemini_next(struct json_cursor *cursor, struct str *key, struct json_value *value);

/* Goes through a list, or through the one value that stands for a list of one. */
struct gemini_list {
    struct json_cursor cursor;
    struct json_value single;
    bool is_single;
};
void gemini_list_init(struct gemini_list *list, struct json_value value);
bool gemini_list_next(struct gemini_list *list, struct json_value *value);

/* The text of a number, also of one in a string; empty when it is none. */
struct str gemini_number(struct json_value value);
/* As above, as a count; -1 when it is none. */
int64_t gemini_count(struct json_value value);

#endif
