#include "base/defs.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "weir: check failed: %s at %s:%d\n", expr, file, line);
    fflush(stderr);
    abort();
}
