#include "base/err.h"
#include "base/json.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

struct json_edit json_edit_replace(struct json_span span, struct str value)
{
    return (struct json_edit){span.offset, span.len, value};
}

struct json_edit json_edit_add(struct arena *arena, struct json_span object, bool is_empty,
                               struct str key, struct str value)
{
    struct str parts[] = {STR("\""), key, STR("\":"), value, is_empty ? STR_EMPTY : STR(",")};
    return (struct json_edit){object.offset + 1, 0, arena_concat(arena, parts, ARRAY_LEN(parts))};
}

struct json_edit json_edit_remove(struct str text, const struct json_found *member)
{
    size_t from = member->key.offset;
    size_t to = member->value.offset + member->value.len;
    size_t next = to;
    while (next < text.len && is_space(text.ptr[next]))
        next++;
    if (next < text.len && text.ptr[next] == ',') {
        to = next + 1;
    } else {
        size_t before = from;
        while (before > 0 && is_space(text.ptr[before - 1]))
            before--;
        if (before > 0 && text.ptr[before - 1] == ',')
            from = before - 1;
    }
    return (struct json_edit){from, to - from, STR("")};
}

/* Order of application: by place, insertions before what they are inserted in front of. */
static bool comes_before(const struct json_edit *edits, unsigned a, unsigned b)
{
    if (edits[a].offset != edits[b].offset)
        return edits[a].offset < edits[b].offset;
    bool a_inserts = edits[a].remove_len == 0, b_inserts = edits[b].remove_len == 0;
    return a_inserts == b_inserts ? a < b : a_inserts;
}

/* The edit that is applied after `last` (n = the first). There are a handful at most. */
static unsigned next_edit(const struct json_edit *edits, unsigned n, unsigned last)
{
    unsigned best = n;
    for (unsigned i = 0; i < n; i++) {
        bool is_later = last == n || comes_before(edits, last, i);
        if (is_later && (best == n || comes_before(edits, i, best)))
            best = i;
    }
    return best;
}

static bool add_part(struct iovec *out, unsigned max, int *count, struct str part)
{
    if (part.len == 0)
        return true;
    if ((unsigned)*count == max)
        return false;
    out[(*count)++] = (struct iovec){(void *)(uintptr_t)part.ptr, part.len};
    return true;
}

int json_splice_iov(struct str text, const struct json_edit *edits, unsigned n, struct iovec *out,
                    unsigned max)
{
    int count = 0;
    size_t at = 0;
    bool fits = true;
    unsigned i = n;
    for (unsigned done = 0; done < n && fits; done++) {
        i = next_edit(edits, n, i);
        const struct json_edit *e = &edits[i];
        if (e->offset < at || e->offset > text.len || e->remove_len > text.len - e->offset)
            return err_set(ERR_INVALID, FAULT_GATEWAY, "edits of a JSON text overlap");
        fits = add_part(out, max, &count, str_n(text.ptr + at, e->offset - at)) &&
               add_part(out, max, &count, e->insert);
        at = e->offset + e->remove_len;
    }
    if (!fits || !add_part(out, max, &count, str_skip(text, at)))
        return err_set(ERR_LIMIT, FAULT_GATEWAY, "too many edits of a JSON text");
    return count;
}
