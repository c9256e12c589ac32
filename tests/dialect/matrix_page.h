/*
 * docs/dialects.md, from what the tests have found.
 * One thread; nothing yields.
 * The caller owns the cells and the buf.
 * Fails by the buf's own flag only.
 */
#ifndef WEIR_TESTS_MATRIX_PAGE_H
#define WEIR_TESTS_MATRIX_PAGE_H

#include "base/buf.h"
#include "dialect/request.h"

enum matrix_feature {
    FEATURE_TEXT,
    FEATURE_STREAM,
    FEATURE_TOOLS,
    FEATURE_TOOLS_STREAM,
    FEATURE_PARALLEL,
    FEATURE_IMAGES,
    FEATURE_DOCUMENTS,
    FEATURE_THINKING,
    FEATURE_STRUCTURED,
    FEATURE_CACHE,
    FEATURE_ERRORS,
    FEATURE_COUNT
};

/* From good to bad. */
enum matrix_state {
    MATRIX_YES,
    MATRIX_PARTLY,
    MATRIX_NO,
    MATRIX_UNSAYABLE, /* the client's dialect has no words for it */
};

struct matrix_cell {
    enum matrix_state state;
    struct buf reasons; /* what is lost, joined by ", " */
};

/* `cells`: by client, provider, feature; it points to the first row of the first pair. */
void matrix_write_page(struct matrix_cell (*cells)[FEATURE_COUNT], struct buf *out);

#endif
