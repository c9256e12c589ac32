#include "gateway/settings.h"

void settings_free(struct settings *settings)
{
    if (settings != NULL)
        arena_free(settings->arena); /* the struct itself is in it */
}
