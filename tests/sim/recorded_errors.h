/*
 * Error answers as providers give them, for each dialect.
 * Any thread; nothing yields.
 * Static data.
 * Cannot fail.
 */
#ifndef WEIR_TESTS_RECORDED_ERRORS_H
#define WEIR_TESTS_RECORDED_ERRORS_H

#include "dialect/dialect.h"

struct recorded_error {
    unsigned status;
    const char *body;
};

enum { ERRORS_OF_DIALECT = 5 };
extern const struct recorded_error recorded_errors[DIALECT_COUNT][ERRORS_OF_DIALECT];

#endif
