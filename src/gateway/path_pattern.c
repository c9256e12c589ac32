#include "gateway/path_pattern.h"

/* Takes literal text and one-segment places off the front; stops at {model} or at the end. */
static bool match_front(struct str *pattern, struct str *path, struct path_match *match)
{
    while (pattern->len > 0 && !str_starts(*pattern, STR("{model}"))) {
        if (pattern->ptr[0] != '{') {
            if (path->len == 0 || path->ptr[0] != pattern->ptr[0])
                return false;
            *pattern = str_skip(*pattern, 1);
            *path = str_skip(*path, 1);
            continue;
        }
        struct str name = str_head(*pattern, (size_t)str_index(*pattern, '}') + 1);
        ptrdiff_t slash = str_index(*path, '/');
        struct str segment = slash < 0 ? *path : str_head(*path, (size_t)slash);
        if (segment.len == 0)
            return false;
        if (str_eq(name, STR("{publisher}")))
            match->publisher = segment;
        *pattern = str_skip(*pattern, name.len);
        *path = str_skip(*path, segment.len);
    }
    return true;
}

bool path_pattern_matches(struct str pattern, struct str path, struct path_match *match)
{
    *match = (struct path_match){0};
    if (!match_front(&pattern, &path, match))
        return false;
    if (pattern.len == 0)
        return path.len == 0;
    struct str rest = str_skip(pattern, sizeof("{model}") - 1);
    if (path.len <= rest.len || !str_ends(path, rest))
        return false;
    match->model = str_head(path, path.len - rest.len);
    return true;
}
