#include "control/config_value.h"

#include "control/config_reader.h"
#include "http/message.h"

/* --- messages ----------------------------------------------------------------------------------
 */

static const char *type_phrase(const struct config_key *key)
{
    static const char *const phrases[CONFIG_TYPE_COUNT] = {
        [CONFIG_STRING] = "text",
        [CONFIG_SECRET] = "a secret as text, or {file: PATH}",
        [CONFIG_PATH] = "the path of a file",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_INTEGER] = "an integer",
        [CONFIG_DURATION] = "a duration like \"30s\"",
        [CONFIG_SIZE] = "a size like \"64KiB\"",
        [CONFIG_ENUM] = "a word",
        [CONFIG_TIME] = "a date or a time",
        [CONFIG_USD] = "an amount in US dollars like \"2.5\"",
        [CONFIG_STRINGS] = "a list of texts, as in [one, two]",
        [CONFIG_PAIRS] = "a mapping of names to texts",
        [CONFIG_PERCENT] = "a percentage like \"2.5\"",
        [CONFIG_PARAMS] = "a mapping of names to values",
        [CONFIG_CONDITION] = "a mapping of conditions",
        [CONFIG_SECTION] = "a mapping of keys to values",
        [CONFIG_LIST] = "a list, one \"- \" an entry",
        [CONFIG_MAP] = "a mapping of names to entries",
    };
    return phrases[key->type];
}

static void wrong_kind(struct config_reader *reader, const struct config_key *key,
                       const struct config_node *node)
{
    config_error(reader->report, node->mark, "%s: found %s; expected %s", key->name,
                 config_node_what(node), type_phrase(key));
}

/* Text that may be repeated in a message: no secret, no URL with a password, not from the
 * environment. */
static bool may_be_shown(const struct config_key *key, struct str written)
{
    return key->type != CONFIG_SECRET && key->type != CONFIG_PAIRS &&
           !(str_find(written, STR("://")) >= 0 && str_index(written, '@') >= 0);
}

static void wrong_value(struct config_reader *reader, const struct config_key *key,
                        const struct config_node *node, bool is_expanded, const char *expected)
{
    if (may_be_shown(key, node->text))
        config_error(reader->report, node->mark, "%s: found \"%.*s\"%s; expected %s", key->name,
                     STR_ARG(str_head(node->text, 80)),
                     is_expanded ? " (its value is not shown)" : "", expected);
    else
        config_error(reader->report, node->mark, "%s: found a value that is not shown; expected %s",
                     key->name, expected);
}

/* The section in which a key of that name stands, as "a.b", searched below `section`. */
static bool find_elsewhere(const struct config_section *section, struct str name, const char *path,
                           char out[128])
{
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->type != CONFIG_SECTION)
            continue;
        char below[128];
        snprintf(below, sizeof(below), "%s%s%s", path, path[0] ? "." : "", key->name);
        if (config_key_find(key->section, name) != NULL) {
            memcpy(out, below, sizeof(below));
            return true;
        }
        if (find_elsewhere(key->section, name, below, out))
            return true;
    }
    return false;
}

static void unknown_key(struct config_reader *reader, const struct config_section *section,
                        const struct config_node *node)
{
    enum { NAMES_MAX = 64 };
    if (reader->report->errors >= CONFIG_PROBLEMS_MAX) { /* counted, but not told any more */
        config_error(reader->report, node->key_mark, "unknown key");
        return;
    }
    const char *names[NAMES_MAX];
    CHECK(section->count < NAMES_MAX);
    struct buf list = BUF_INIT;
    for (uint32_t i = 0; i < section->count; i++) {
        names[i] = section->keys[i].name;
        buf_printf(&list, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    names[section->count] = NULL;
    struct str name = str_head(node->key, 80);
    const char *nearest = str_nearest(name, names);
    char elsewhere[128];
    if (nearest != NULL)
        config_error(reader->report, node->key_mark, "unknown key \"%.*s\"; did you mean \"%s\"?",
                     STR_ARG(name), nearest);
    else if (find_elsewhere(section, name, "", elsewhere) ||
             find_elsewhere(&config_root, name, "", elsewhere))
        config_error(reader->report, node->key_mark,
                     "unknown key \"%.*s\" here; expected it under \"%s\"", STR_ARG(name),
                     elsewhere);
    else
        config_error(reader->report, node->key_mark, "unknown key \"%.*s\"; expected one of %.*s",
                     STR_ARG(name), STR_ARG(buf_str(&list)));
    buf_fini(&list);
}

/* --- scalars -----------------------------------------------------------------------------------
 */

static bool is_word_of(const char *const *words, struct str text)
{
    for (; words != NULL && *words != NULL; words++) {
        if (str_eq(str_c(*words), text))
            return true;
    }
    return false;
}

/* The text of a scalar after substitution; ptr NULL after an error was reported. */
static struct str scalar_text(struct config_reader *reader, const struct config_key *key,
                              const struct config_node *node, bool *is_expanded)
{
    *is_expanded = false;
    if (key->type == CONFIG_SECRET && node->kind == NODE_MAP)
        return config_read_secret_file(reader, node);
    if (node->kind != NODE_SCALAR || config_node_is_null(node)) {
        wrong_kind(reader, key, node);
        return STR_EMPTY;
    }
    return config_expand(reader, node->text, node->mark, is_expanded);
}

static void read_scalar(struct config_reader *reader, const struct config_key *key,
                        const struct config_node *node, void *object)
{
    bool is_expanded;
    struct str text = scalar_text(reader, key, node, &is_expanded);
    if (text.ptr == NULL)
        return;
    if (key->type == CONFIG_PATH && text.len > 0 && !is_word_of(key->names, text)) {
        text = config_join_path(reader, text);
        const char *z = text.ptr != NULL ? arena_cstr(reader->arena, text) : NULL;
        if (z == NULL) {
            config_error(reader->report, node->mark, "out of memory");
            return;
        }
        if (key->names == NULL) /* a file that is read, not one that is written */
            config_note_file(reader->files, z);
    }
    if (text.len == 0 && (key->type == CONFIG_SECRET || key->type == CONFIG_PATH)) {
        wrong_value(reader, key, node, is_expanded, "a text that is not empty");
        return;
    }
    const char *expected = config_store(key, object, reader->arena, text);
    if (expected != NULL)
        wrong_value(reader, key, node, is_expanded, expected);
}

static void read_key(struct config_reader *reader, const struct config_key *key,
                     const struct config_node *node, void *object);

/* --- collections -------------------------------------------------------------------------------
 */

static void *field_of(const struct config_key *key, void *object)
{
    return (char *)object + key->offset;
}

static void store_array(const struct config_key *key, void *object, void *array, unsigned count)
{
    memcpy(field_of(key, object), &array, sizeof(array));
    memcpy((char *)object + key->count_offset, &count, sizeof(count));
}

static void read_strings(struct config_reader *reader, const struct config_key *key,
                         const struct config_node *node, void *object)
{
    if (node->kind != NODE_LIST) {
        wrong_kind(reader, key, node);
        return;
    }
    struct str *items = arena_calloc(reader->arena, node->count * sizeof(*items));
    if (items == NULL) {
        config_error(reader->report, node->mark, "out of memory");
        return;
    }
    unsigned count = 0;
    for (const struct config_node *n = node->first; n != NULL; n = n->next) {
        bool is_expanded;
        if (n->kind != NODE_SCALAR || n->text.len == 0) {
            config_error(reader->report, n->mark, "%s: found %s in the list; expected text",
                         key->name, n->kind == NODE_SCALAR ? "nothing" : config_node_what(n));
            continue;
        }
        struct str text = config_expand(reader, n->text, n->mark, &is_expanded);
        if (text.ptr == NULL)
            continue;
        items[count] = arena_dup(reader->arena, text);
        if (items[count].ptr != NULL)
            count++;
        else
            config_error(reader->report, n->mark, "out of memory");
    }
    store_array(key, object, items, count);
}

/* Puts the header into the list, in place of one of the same name that the catalogue wrote. */
static bool set_header(struct http_headers *headers, struct arena *arena, struct str name,
                       struct str value)
{
    for (uint32_t i = 0; i < headers->count; i++) {
        if (str_ieq(headers->items[i].name, name)) {
            headers->items[i].value = value;
            return true;
        }
    }
    return http_headers_add(headers, arena, name, value);
}

static void read_pair(struct config_reader *reader, const struct config_node *node,
                      struct http_headers *headers)
{
    static const struct config_key pair = {.name = "value", .type = CONFIG_SECRET};
    bool is_expanded;
    struct str value = scalar_text(reader, &pair, node, &is_expanded);
    if (value.ptr == NULL)
        return;
    if (!http_value_is_safe(value)) {
        config_error(reader->report, node->mark,
                     "found a header value that is not shown, with a line break or another control "
                     "character in it; expected one line");
        return;
    }
    value = arena_dup(reader->arena, value);
    struct str name = arena_dup(reader->arena, node->key);
    if (value.ptr == NULL || name.ptr == NULL || !set_header(headers, reader->arena, name, value))
        config_error(reader->report, node->mark, "out of memory");
}

static void read_pairs(struct config_reader *reader, const struct config_key *key,
                       const struct config_node *node, void *object)
{
    if (node->kind != NODE_MAP) {
        wrong_kind(reader, key, node);
        return;
    }
    for (const struct config_node *n = node->first; n != NULL; n = n->next)
        read_pair(reader, n, field_of(key, object));
}

static const char *const naming_phrases[] = {
    [NAMING_FREE] = "a name without spaces and control characters",
    [NAMING_LOWER] = "lower-case letters, digits, \".\", \"_\" and \"-\", at most 64",
    [NAMING_PLAIN] = "letters, digits, \".\", \"_\" and \"-\", at most 64",
};

static bool is_name_char(enum config_naming naming, char c)
{
    if (naming == NAMING_FREE)
        return (unsigned char)c > ' ' && c != 0x7f;
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' ||
           (naming == NAMING_PLAIN && c >= 'A' && c <= 'Z');
}

static bool is_element_name(enum config_naming naming, struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (!is_name_char(naming, name.ptr[i]))
            return false;
    }
    return name.len > 0 && (naming == NAMING_FREE || name.len <= 64);
}

/* A section's node, as the mapping that it is or as the value of one of its keys. */
static void read_body(struct config_reader *reader, const struct config_key *key,
                      const struct config_node *node, void *object)
{
    const struct config_section *section = key->section;
    const struct config_key *short_key =
        section->shorthand != NULL ? config_key_find(section, str_c(section->shorthand)) : NULL;
    bool is_silent = key->type == CONFIG_SECTION && config_node_is_null(node);
    bool is_short = short_key != NULL && !is_silent &&
                    (node->kind == NODE_SCALAR ||
                     (node->kind == NODE_LIST &&
                      (short_key->type == CONFIG_STRINGS || short_key->type == CONFIG_LIST)));
    if (!is_short) {
        config_read_section(reader, section, node, object);
        return;
    }
    struct config_key written = *short_key;
    written.name = key->name;
    read_key(reader, &written, node, object);
}

static void read_element(struct config_reader *reader, const struct config_key *key,
                         const struct config_node *node, void *element)
{
    const struct config_section *section = key->section;
    config_set_defaults(section, element, reader->arena);
    if (key->type == CONFIG_MAP) {
        struct str name = arena_dup(reader->arena, node->key);
        memcpy((char *)element + section->name_offset, &name, sizeof(name));
        if (!is_element_name(section->naming, name))
            config_error(reader->report, node->key_mark, "found the %s name \"%.*s\"; expected %s",
                         section->element, STR_ARG(str_head(name, 80)),
                         naming_phrases[section->naming]);
    }
    if (section->begin != NULL)
        section->begin(reader, element, node);
    read_body(reader, key, node, element);
}

static void read_elements(struct config_reader *reader, const struct config_key *key,
                          const struct config_node *node, void *object)
{
    if (config_node_is_null(node))
        return;
    if (node->kind != (key->type == CONFIG_MAP ? NODE_MAP : NODE_LIST)) {
        wrong_kind(reader, key, node);
        return;
    }
    char *array = arena_calloc(reader->arena, (size_t)node->count * key->stride);
    if (array == NULL) {
        config_error(reader->report, node->mark, "out of memory");
        return;
    }
    unsigned count = 0;
    for (const struct config_node *n = node->first; n != NULL; n = n->next)
        read_element(reader, key, n, array + (size_t)count++ * key->stride);
    store_array(key, object, array, count);
}

static void read_key(struct config_reader *reader, const struct config_key *key,
                     const struct config_node *node, void *object)
{
    switch (key->type) {
    case CONFIG_STRINGS:
        read_strings(reader, key, node, object);
        break;
    case CONFIG_PAIRS:
        read_pairs(reader, key, node, object);
        break;
    case CONFIG_SECTION:
        if (key->set != NULL)
            key->set(object, reader->arena, STR_EMPTY);
        read_body(reader, key, node, field_of(key, object));
        break;
    case CONFIG_PARAMS:
        config_read_params(reader, key, node, object);
        break;
    case CONFIG_CONDITION:
        config_read_condition(reader, key, node, object);
        break;
    case CONFIG_LIST:
    case CONFIG_MAP:
        read_elements(reader, key, node, object);
        break;
    default:
        read_scalar(reader, key, node, object);
    }
}

/* --- sections ----------------------------------------------------------------------------------
 */

void config_set_defaults(const struct config_section *section, void *object, struct arena *arena)
{
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->type == CONFIG_SECTION)
            config_set_defaults(key->section, (char *)object + key->offset, arena);
        else if (key->fallback != NULL)
            CHECK(config_store(key, object, arena, str_c(key->fallback)) == NULL);
    }
}

static void check_required(struct config_reader *reader, const struct config_section *section,
                           const struct config_node *node)
{
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->is_required && config_node_get(node, str_c(key->name)) == NULL)
            config_error(reader->report, node->mark, "found no \"%s\" here; expected %s: %s",
                         key->name, type_phrase(key), key->help);
    }
}

void config_read_section(struct config_reader *reader, const struct config_section *section,
                         const struct config_node *node, void *object)
{
    if (node->kind != NODE_MAP && !config_node_is_null(node)) {
        config_error(reader->report, node->mark, "found %s; expected a mapping of keys to values",
                     config_node_what(node));
        return;
    }
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        const struct config_node *n =
            key->is_early ? config_node_get(node, str_c(key->name)) : NULL;
        if (n != NULL)
            read_key(reader, key, n, object);
    }
    for (const struct config_node *n = node->first; n != NULL; n = n->next) {
        const struct config_key *key = config_key_find(section, n->key);
        if (key == NULL)
            unknown_key(reader, section, n);
        else if (!key->is_early)
            read_key(reader, key, n, object);
    }
    check_required(reader, section, node);
}
