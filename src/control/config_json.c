#include "base/err.h"
#include "control/config_reader.h"
#include "route/condition.h"
#include "route/route.h"

/* --- YAML's core schema (YAML 1.2.2, section 10.3.2) -------------------------------------------
 */

static size_t digits_at(struct str s, size_t at)
{
    size_t n = 0;
    while (at + n < s.len && s.ptr[at + n] >= '0' && s.ptr[at + n] <= '9')
        n++;
    return n;
}

static bool is_one_of(struct str s, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (str_eq(s, str_c(*words)))
            return true;
    }
    return false;
}

/* 0x1F and 0o17. */
static bool write_based(struct str s, struct buf *out)
{
    unsigned base = str_starts(s, STR("0x")) ? 16 : str_starts(s, STR("0o")) ? 8 : 0;
    if (base == 0 || s.len < 3 || s.len > 2 + 15)
        return false;
    uint64_t value = 0;
    for (size_t i = 2; i < s.len; i++) {
        char c = (char)(s.ptr[i] | 0x20);
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit >= base)
            return false;
        value = value * base + digit;
    }
    buf_add_u64(out, value);
    return true;
}

/* A decimal number, written as JSON wants it: no "+", no zeros in front, digits on both sides of
 * the point. */
static bool write_number(struct str s, struct buf *out)
{
    size_t at = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+');
    bool is_negative = at > 0 && s.ptr[0] == '-';
    size_t whole = digits_at(s, at);
    struct str front = str_n(s.ptr + at, whole);
    at += whole;
    struct str fraction = STR("");
    if (at < s.len && s.ptr[at] == '.') {
        fraction = str_n(s.ptr + at + 1, digits_at(s, at + 1));
        at += 1 + fraction.len;
    }
    if (front.len + fraction.len == 0)
        return false;
    struct str power = STR("");
    if (at < s.len && (s.ptr[at] | 0x20) == 'e') {
        size_t sign = at + 1 < s.len && (s.ptr[at + 1] == '-' || s.ptr[at + 1] == '+');
        size_t digits = digits_at(s, at + 1 + sign);
        if (digits == 0)
            return false;
        power = str_n(s.ptr + at, 1 + sign + digits);
        at += power.len;
    }
    if (at != s.len)
        return false;
    while (front.len > 1 && front.ptr[0] == '0')
        front = str_skip(front, 1);
    buf_add_str(out, str_c(is_negative ? "-" : ""));
    buf_add_str(out, front.len > 0 ? front : STR("0"));
    buf_add_str(out, str_c(fraction.len > 0 ? "." : ""));
    buf_add_str(out, fraction);
    buf_add_str(out, power);
    return true;
}

static bool write_scalar(struct config_reader *reader, const struct config_node *node,
                         struct buf *out)
{
    static const char *const yes[] = {"true", "True", "TRUE", NULL};
    static const char *const no[] = {"false", "False", "FALSE", NULL};
    static const char *const endless[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
                                          "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
                                          ".NaN",  ".NAN",  NULL};
    bool is_changed;
    struct str text = config_expand(reader, node->text, node->mark, &is_changed);
    if (text.ptr == NULL)
        return false;
    if (!node->is_plain) {
        buf_add_json(out, text);
    } else if (config_node_is_null(node)) {
        BUF_LIT(out, "null");
    } else if (is_one_of(text, yes)) {
        BUF_LIT(out, "true");
    } else if (is_one_of(text, no)) {
        BUF_LIT(out, "false");
    } else if (is_one_of(text, endless)) {
        config_error(reader->report, node->mark,
                     "found \"%.*s\", a number that JSON cannot say; expected one that is finite",
                     STR_ARG(text));
        return false;
    } else if (!write_based(text, out) && !write_number(text, out)) {
        buf_add_json(out, text);
    }
    return true;
}

bool config_write_json(struct config_reader *reader, const struct config_node *node,
                       struct buf *out)
{
    if (node->kind == NODE_SCALAR)
        return write_scalar(reader, node, out);
    bool is_map = node->kind == NODE_MAP;
    buf_add_char(out, is_map ? '{' : '[');
    for (const struct config_node *n = node->first; n != NULL; n = n->next) {
        if (n != node->first)
            BUF_LIT(out, ",");
        if (is_map) {
            buf_add_json(out, n->key);
            BUF_LIT(out, ":");
        }
        /* As deep as the tree, which the parser bounds. */
        if (!config_write_json(reader, n, out))
            return false;
    }
    buf_add_char(out, is_map ? '}' : ']');
    return true;
}

/* --- keys of these types -----------------------------------------------------------------------
 */

/* The node's JSON in the arena; ptr NULL after an error was reported. */
static struct str json_of(struct config_reader *reader, const struct config_node *node)
{
    struct buf text = BUF_INIT;
    struct str json = STR_EMPTY;
    if (config_write_json(reader, node, &text)) {
        if (buf_ok(&text))
            json = arena_dup(reader->arena, buf_str(&text));
        if (json.ptr == NULL)
            config_error(reader->report, node->mark, "out of memory");
    }
    buf_fini(&text);
    return json;
}

static bool is_map(struct config_reader *reader, const struct config_key *key,
                   const struct config_node *node)
{
    if (node->kind != NODE_MAP && !config_node_is_null(node))
        config_error(reader->report, node->mark, "%s: found %s; expected a %s", key->name,
                     config_node_what(node), config_type_name(key->type));
    return node->kind == NODE_MAP;
}

/* A dotted name leads to a member: none of its parts is empty. */
static bool is_member_name(struct str name)
{
    return name.len > 0 && name.ptr[0] != '.' && !str_ends(name, STR(".")) &&
           str_find(name, STR("..")) < 0;
}

void config_read_params(struct config_reader *reader, const struct config_key *key,
                        const struct config_node *node, void *object)
{
    if (!is_map(reader, key, node))
        return;
    struct route_param *params = arena_calloc(reader->arena, node->count * sizeof(*params));
    if (params == NULL) {
        config_error(reader->report, node->mark, "out of memory");
        return;
    }
    unsigned count = 0;
    for (const struct config_node *n = node->first; n != NULL; n = n->next) {
        if (!is_member_name(n->key)) {
            config_error(reader->report, n->key_mark,
                         "%s: found the name \"%.*s\"; expected that of a member, with single dots "
                         "between the parts of its path",
                         key->name, STR_ARG(str_head(n->key, 80)));
            continue;
        }
        params[count] = (struct route_param){arena_dup(reader->arena, n->key), json_of(reader, n)};
        if (params[count].name.ptr == NULL)
            config_error(reader->report, n->mark, "out of memory");
        else if (params[count].json.ptr != NULL)
            count++;
    }
    memcpy((char *)object + key->offset, &params, sizeof(params));
    memcpy((char *)object + key->count_offset, &count, sizeof(count));
}

void config_read_condition(struct config_reader *reader, const struct config_key *key,
                           const struct config_node *node, void *object)
{
    struct str json = is_map(reader, key, node) ? json_of(reader, node) : STR_EMPTY;
    if (json.ptr == NULL)
        return;
    const struct condition *condition = condition_parse(reader->arena, json);
    if (condition == NULL)
        config_error(reader->report, node->mark, "%s: %s", key->name, err_slot()->message);
    memcpy((char *)object + key->offset, &condition, sizeof(condition));
}
