#include "control/config_node.h"

#include <yaml.h>

#include "base/mem.h"

struct builder {
    struct arena *arena;
    struct config_report *report;
    struct config_node *stack[CONFIG_DEPTH_MAX];
    unsigned depth;
    struct config_node *root;
    /* The key that was read and waits for its value. */
    bool has_key;
    struct str key;
    struct config_mark key_mark;
    unsigned documents;
};

static struct config_mark mark_of(yaml_mark_t mark)
{
    return (struct config_mark){(uint32_t)MIN(mark.line, UINT32_MAX - 1) + 1,
                                (uint32_t)MIN(mark.column, UINT32_MAX - 1) + 1};
}

struct config_node *config_node_get(const struct config_node *map, struct str key)
{
    if (map == NULL || map->kind != NODE_MAP)
        return NULL;
    for (struct config_node *n = map->first; n != NULL; n = n->next) {
        if (str_eq(n->key, key))
            return n;
    }
    return NULL;
}

bool config_node_is_null(const struct config_node *node)
{
    return node->kind == NODE_SCALAR && node->is_plain &&
           (node->text.len == 0 || str_eq(node->text, STR("~")) ||
            str_ieq(node->text, STR("null")));
}

const char *config_node_what(const struct config_node *node)
{
    if (node->kind == NODE_MAP)
        return "a mapping";
    if (node->kind == NODE_LIST)
        return "a list";
    return config_node_is_null(node) ? "nothing" : "text";
}

/* --- duplicate keys --------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    const struct config_node *x = *(struct config_node *const *)a;
    const struct config_node *y = *(struct config_node *const *)b;
    int order = str_cmp(x->key, y->key);
    if (order != 0)
        return order;
    if (x->key_mark.line != y->key_mark.line)
        return x->key_mark.line < y->key_mark.line ? -1 : 1;
    return x->key_mark.column < y->key_mark.column ? -1 : 1;
}

/* Takes those that come again out of the map: only the first is looked at from here on. */
static void drop_marked(struct config_node *map)
{
    struct config_node **at = &map->first;
    map->last = NULL;
    while (*at != NULL) {
        struct config_node *child = *at;
        if (child->is_duplicate) {
            *at = child->next;
            map->count--;
        } else {
            map->last = child;
            at = &child->next;
        }
    }
}

/* Sorted rather than compared each with each: a hostile file may hold a million keys. */
static void refuse_duplicates(struct builder *b, struct config_node *map)
{
    if (map->count < 2)
        return;
    struct config_node **sorted = mem_alloc(map->count * sizeof(struct config_node *));
    if (sorted == NULL) {
        config_error(b->report, map->mark, "out of memory");
        return;
    }
    unsigned n = 0;
    for (struct config_node *child = map->first; child != NULL; child = child->next)
        sorted[n++] = child;
    qsort(sorted, n, sizeof(struct config_node *), by_key);
    for (unsigned i = 1, first = 0; i < n; i++) {
        if (!str_eq(sorted[i]->key, sorted[first]->key)) {
            first = i;
            continue;
        }
        sorted[i]->is_duplicate = true;
        config_error(b->report, sorted[i]->key_mark,
                     "key \"%.*s\" is written a second time; it stands in line %u already",
                     STR_ARG(str_head(sorted[i]->key, 100)), sorted[first]->key_mark.line);
    }
    mem_free(sorted);
    drop_marked(map);
}

/* --- building --------------------------------------------------------------------------------- */

static struct config_node *node_new(struct builder *b, enum config_node_kind kind, yaml_mark_t mark)
{
    struct config_node *node = ARENA_NEW(b->arena, struct config_node);
    if (node == NULL) {
        config_error(b->report, mark_of(mark), "out of memory");
        return NULL;
    }
    node->kind = kind;
    node->mark = mark_of(mark);
    return node;
}

static struct config_node *parent_of_next(const struct builder *b)
{
    return b->depth > 0 ? b->stack[b->depth - 1] : NULL;
}

static bool expects_key(const struct builder *b)
{
    const struct config_node *parent = parent_of_next(b);
    return parent != NULL && parent->kind == NODE_MAP && !b->has_key;
}

/* Hangs the node under the open list or map. */
static void attach(struct builder *b, struct config_node *node)
{
    struct config_node *parent = parent_of_next(b);
    if (parent == NULL) {
        b->root = node;
        return;
    }
    if (parent->kind == NODE_MAP) {
        node->key = b->key;
        node->key_mark = b->key_mark;
        b->has_key = false;
    }
    if (parent->last == NULL)
        parent->first = node;
    else
        parent->last->next = node;
    parent->last = node;
    parent->count++;
}

static void refuse_marks(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag,
                         yaml_mark_t mark)
{
    if (anchor != NULL)
        config_error(b->report, mark_of(mark),
                     "an anchor (&name); a config says everything where it stands");
    if (tag != NULL)
        config_error(b->report, mark_of(mark),
                     "a tag (!type); the type of a value follows from its key");
}

static bool on_scalar(struct builder *b, const yaml_event_t *event)
{
    refuse_marks(b, event->data.scalar.anchor, event->data.scalar.tag, event->start_mark);
    struct str text = str_n((const char *)event->data.scalar.value, event->data.scalar.length);
    struct config_mark mark = mark_of(event->start_mark);
    if (str_index(text, '\0') >= 0) {
        config_error(b->report, mark, "text with a zero byte in it");
        text = STR("");
    }
    text = arena_dup(b->arena, text);
    if (text.ptr == NULL) {
        config_error(b->report, mark, "out of memory");
        return false;
    }
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (expects_key(b)) {
        if (is_plain && str_eq(text, STR("<<")))
            config_error(b->report, mark,
                         "a merge key (<<); a config says everything where it stands");
        b->has_key = true;
        b->key = text;
        b->key_mark = mark;
        return true;
    }
    struct config_node *node = node_new(b, NODE_SCALAR, event->start_mark);
    if (node == NULL)
        return false;
    node->text = text;
    node->is_plain = is_plain;
    attach(b, node);
    return true;
}

static bool on_open(struct builder *b, enum config_node_kind kind, const yaml_event_t *event)
{
    bool is_map = kind == NODE_MAP;
    refuse_marks(b, is_map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor,
                 is_map ? event->data.mapping_start.tag : event->data.sequence_start.tag,
                 event->start_mark);
    if (expects_key(b)) {
        config_error(b->report, mark_of(event->start_mark), "%s as a key; a key is plain text",
                     is_map ? "a mapping" : "a list");
        return false;
    }
    if (b->depth == CONFIG_DEPTH_MAX) {
        config_error(b->report, mark_of(event->start_mark), "nested deeper than %d levels",
                     CONFIG_DEPTH_MAX);
        return false;
    }
    struct config_node *node = node_new(b, kind, event->start_mark);
    if (node == NULL)
        return false;
    attach(b, node);
    b->stack[b->depth++] = node;
    return true;
}

static bool on_alias(struct builder *b, const yaml_event_t *event)
{
    config_error(b->report, mark_of(event->start_mark),
                 "an alias (*name); a config says everything where it stands");
    return false;
}

/* False ends the parse: what follows could not be understood any more. */
static bool on_event(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++b->documents > 1) {
            config_error(b->report, mark_of(event->start_mark),
                         "a second document (---); a config file is one document");
            return false;
        }
        return true;
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(b, NODE_LIST, event);
    case YAML_MAPPING_START_EVENT:
        return on_open(b, NODE_MAP, event);
    case YAML_MAPPING_END_EVENT:
        CHECK(b->depth > 0 && b->stack[b->depth - 1] != NULL);
        refuse_duplicates(b, b->stack[--b->depth]);
        return true;
    case YAML_SEQUENCE_END_EVENT:
        b->depth--;
        return true;
    case YAML_ALIAS_EVENT:
        return on_alias(b, event);
    default:
        return true;
    }
}

/* --- the parser's own errors -------------------------------------------------------------------
 */

/* libyaml tells only the offset of a byte that it cannot read. */
static struct config_mark mark_of_offset(struct str text, size_t offset)
{
    struct config_mark mark = {1, 1};
    for (size_t i = 0; i < MIN(offset, text.len); i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '\n') {
            mark.line++;
            mark.column = 1;
        } else if ((c & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

static void report_parser_error(struct config_report *report, const yaml_parser_t *parser,
                                struct str text)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        config_error(report, CONFIG_NOWHERE, "out of memory");
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        config_error(report, mark_of_offset(text, parser->problem_offset),
                     "not YAML: %s; expected UTF-8 text", parser->problem);
        return;
    }
    const char *problem = parser->problem != NULL ? parser->problem : "syntax error";
    if (parser->context != NULL)
        config_error(report, mark_of(parser->problem_mark), "not YAML: %s %s (line %zu)", problem,
                     parser->context, parser->context_mark.line + 1);
    else
        config_error(report, mark_of(parser->problem_mark), "not YAML: %s", problem);
}

static bool parse_events(struct builder *b, yaml_parser_t *parser, struct str text)
{
    for (bool is_end = false; !is_end;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            report_parser_error(b->report, parser, text);
            return false;
        }
        is_end = event.type == YAML_STREAM_END_EVENT;
        bool goes_on = on_event(b, &event);
        yaml_event_delete(&event);
        if (!goes_on)
            return false;
    }
    return true;
}

struct config_node *config_node_parse(struct arena *arena, struct str text,
                                      struct config_report *report)
{
    if (text.len > CONFIG_BYTES_MAX) {
        config_error(report, CONFIG_NOWHERE, "larger than %d MiB", CONFIG_BYTES_MAX >> 20);
        return NULL;
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        config_error(report, CONFIG_NOWHERE, "out of memory");
        return NULL;
    }
    /* Said beforehand: a file in UTF-16 is refused, not guessed at. */
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    if (text.ptr == NULL) /* an empty file; libyaml wants a pointer all the same */
        text = STR("");
    if (str_starts(text, STR("\xef\xbb\xbf")))
        text = str_skip(text, 3);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    struct builder b = {.arena = arena, .report = report};
    bool is_parsed = parse_events(&b, &parser, text);
    yaml_parser_delete(&parser);
    if (!is_parsed)
        return NULL;
    if (b.root == NULL || config_node_is_null(b.root)) {
        b.root = ARENA_NEW(arena, struct config_node);
        if (b.root == NULL)
            config_error(report, CONFIG_NOWHERE, "out of memory");
        else
            *b.root = (struct config_node){.kind = NODE_MAP, .mark = {1, 1}};
    }
    return b.root;
}
