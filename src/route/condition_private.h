/*
 * How a parsed condition looks: for condition.c and condition_parse.c alone.
 * See condition.h.
 * Nothing yields.
 * Lives in the arena that it was parsed into.
 * No errors.
 */
#ifndef WEIR_ROUTE_CONDITION_PRIVATE_H
#define WEIR_ROUTE_CONDITION_PRIVATE_H

#include <regex.h>

#include "base/json.h"
#include "route/condition.h"

enum condition_op {
    CONDITION_AND,
    CONDITION_OR,
    CONDITION_NOT,
    CONDITION_EQ,
    CONDITION_NE,
    CONDITION_IN,
    CONDITION_NIN,
    CONDITION_REGEX,
    CONDITION_GT,
    CONDITION_LT,
    CONDITION_GTE,
    CONDITION_LTE,
    CONDITION_EXISTS,
};

enum condition_field {
    FIELD_MODEL,
    FIELD_USER,
    FIELD_SESSION,
    FIELD_STREAM,
    FIELD_INPUT_TOKENS,
    FIELD_KEY_NAME,
    FIELD_KEY_TEAM,
    FIELD_HEADERS,  /* .NAME */
    FIELD_METADATA, /* .NAME */
};

/* What a field is compared with. */
struct condition_operand {
    bool is_number;
    double number;
    struct str text; /* as a string says it, or as a number or boolean is written */
};

struct condition {
    enum condition_op op;
    enum condition_field field;
    struct str name; /* behind "headers." and "metadata." */
    struct condition_operand *operands;
    unsigned operand_count;
    bool wanted;    /* CONDITION_EXISTS */
    regex_t *regex; /* CONDITION_REGEX */
    /* CONDITION_AND, _OR, _NOT: the first of the conditions below; they are chained by `next`. */
    struct condition *first;
    struct condition *next;
};

#endif
