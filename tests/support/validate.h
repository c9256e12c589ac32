/*
 * What is legal in each dialect, written apart from the code that reads and writes them: requests,
 * whole answers, errors, and the grammar of streams. As strict as the official SDKs' models are.
 * One thread; nothing yields.
 * A validator owns nothing but its why; documents are freed before a call returns.
 * False = it is not legal: `why` has the words.
 * Sources: the providers' API references.
 */
#ifndef WEIR_TESTS_VALIDATE_H
#define WEIR_TESTS_VALIDATE_H

#include <yyjson.h>

#include "dialect/request.h"

enum { VALIDATE_CHOICES = 8, VALIDATE_ITEMS = 64 };

struct validator {
    enum dialect_id id;
    char why[400];
    unsigned events;
    bool has_begun, is_over, has_error;
    /* The block (item) that is open, by the dialect's own index and kind. */
    bool is_open, is_part_open;
    int64_t next_block;
    char kind[32];
    char item_id[160];
    int64_t sequence_number;
    bool has_finish, has_usage;
    bool choice_begun[VALIDATE_CHOICES], choice_finished[VALIDATE_CHOICES];
    int64_t next_call[VALIDATE_CHOICES];
    struct buf text; /* of the open part */
};

void validator_init(struct validator *v, enum dialect_id id);
void validator_fini(struct validator *v);
/* One event of a stream. After an error event only what ends a stream may come. */
bool validator_event(struct validator *v, struct str type, struct str data);
/* The stream has ended: was that its end? */
bool validator_end(struct validator *v);

bool validate_request(struct validator *v, struct str body);
bool validate_answer(struct validator *v, struct str body);
bool validate_error(struct validator *v, struct str body);

/* --- for the files of the dialects --- */

/* "id:s created:i choices:a usage?:o object=chat.completion": members by name; '?' may be absent;
 * s string, z string or null, i integer, n number, b true or false, o object, p object or null,
 * a array, x array or null, * anything; '=' a string with that value. */
bool valid_members(struct validator *v, const char *where, yyjson_val *object, const char *spec);
/* No member but those named in the list (separated by spaces). */
bool valid_names(struct validator *v, const char *where, yyjson_val *object, const char *names);
/* The string is one of the list (separated by spaces). */
bool valid_word(struct validator *v, const char *where, yyjson_val *string, const char *words);
bool invalid(struct validator *v, const char *format, ...) PRINTF_LIKE(2, 3);
/* The only member of the object that is named in the list; NULL unless there is exactly one. */
const char *valid_only(struct validator *v, const char *where, yyjson_val *object,
                       const char *names);
const char *valid_string(yyjson_val *object, const char *name);

struct validation {
    bool (*event)(struct validator *v, struct str type, yyjson_val *data, struct str text);
    bool (*end)(struct validator *v);
    bool (*request)(struct validator *v, yyjson_val *root);
    bool (*answer)(struct validator *v, yyjson_val *root);
    bool (*error)(struct validator *v, yyjson_val *root);
};
extern const struct validation validation_openai_chat, validation_anthropic, validation_gemini,
    validation_bedrock, validation_cohere, validation_openai_responses;

#endif
