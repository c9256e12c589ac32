/*
 * Members of a request's objects, read by tables: each with its name, its kind and its place.
 * One request; nothing yields.
 * What is read points into the body or lives in the reader's arena.
 * -ERR_INVALID names the member by its path and says what it must be; -ERR_NOMEM.
 */
#ifndef WEIR_DIALECT_BEDROCK_MEMBER_H
#define WEIR_DIALECT_BEDROCK_MEMBER_H

#include "dialect/request.h"

enum { BEDROCK_PATH_BYTES = 256 };

struct bedrock_reader {
    struct arena *arena;
    struct llm_request *request;
    size_t path_len;
    char path[BEDROCK_PATH_BYTES]; /* "messages[0].content[2].image" */
};

typedef int bedrock_member_fn(struct bedrock_reader *reader, struct json_value value, void *into);

/*
 * JSON_TRUE stands for both booleans, JSON_NONE for any kind. With a `read` the value goes there.
 * Otherwise it is put at `offset` of what is read: a string as struct text, a boolean as bool, all
 * else as struct str with its JSON text.
 */
struct bedrock_member {
    const char *name;
    enum json_kind kind;
    bedrock_member_fn *read;
    size_t offset;
};

/* Reads an object; members that are not in the table (it ends with a NULL name) become extras. */
int bedrock_read_object(struct bedrock_reader *reader, struct json_value value,
                        const struct bedrock_member *members, void *into);
/* Calls `read` for each element of an array of objects (kind JSON_OBJECT) or of any (JSON_NONE). */
int bedrock_read_array(struct bedrock_reader *reader, struct json_value value, enum json_kind kind,
                       bedrock_member_fn *read, void *into);
/* An extra below the present path; of the path itself where the key is empty. */
int bedrock_keep_extra(struct bedrock_reader *reader, struct str key, struct json_value value,
                       bool is_taken);
/* -ERR_INVALID: what is at the present path "must be " what. */
int bedrock_wrong(const struct bedrock_reader *reader, const char *what);
int bedrock_no_memory(void);

/* The single member of an object that stands for one of several things; a null is none. False when
 * there is none or the object is broken. */
bool bedrock_first_member(struct json_value object, struct str *key, struct json_value *value);

#endif
