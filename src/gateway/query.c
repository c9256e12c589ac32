#include "gateway/query.h"

#include "base/percent.h"

struct str query_value(struct str query, struct str name, struct arena *arena)
{
    struct str item;
    while (str_next(&query, '&', &item)) {
        struct str key;
        if (str_cut(&item, '=', &key) && str_eq(key, name))
            return percent_decode(arena, item);
    }
    return STR_EMPTY;
}

struct str query_without(struct str query, struct str name, struct arena *arena)
{
    struct str kept = STR_EMPTY;
    struct str item;
    while (str_next(&query, '&', &item)) {
        struct str rest = item;
        struct str key;
        str_cut(&rest, '=', &key);
        if (item.len == 0 || str_eq(key, name))
            continue;
        struct str parts[] = {kept, kept.len > 0 ? STR("&") : STR_EMPTY, item};
        kept = arena_concat(arena, parts, ARRAY_LEN(parts));
    }
    return kept;
}
