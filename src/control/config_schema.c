#include "control/config_docs.h"

#include "base/clock.h"
#include "control/config_keys.h"

/* Any value may come from the environment; what it will be is not known to an editor. */
#define FROM_ENVIRONMENT "{\"type\":\"string\",\"pattern\":\"\\\\$\\\\{\"}"

static void write_object(struct buf *out, const struct config_section *section);
static void write_shape(struct buf *out, const struct config_key *key);

static void write_names(struct buf *out, const char *const *names)
{
    BUF_LIT(out, "{\"enum\":[");
    for (unsigned i = 0; names[i] != NULL; i++) {
        if (i > 0)
            BUF_LIT(out, ",");
        buf_add_json(out, str_c(names[i]));
    }
    BUF_LIT(out, "]}");
}

static void write_integer(struct buf *out, const struct config_key *key)
{
    BUF_LIT(out, "{\"type\":\"integer\"");
    if (key->max != 0)
        buf_printf(out, ",\"minimum\":%lld,\"maximum\":%lld", (long long)key->min,
                   (long long)key->max);
    BUF_LIT(out, "}");
}

/* The members of a schema object for a section, with its shorthand. */
static void write_body(struct buf *out, const struct config_section *section)
{
    if (section->shorthand == NULL) {
        write_object(out, section);
        return;
    }
    const struct config_key *key = config_key_find(section, str_c(section->shorthand));
    BUF_LIT(out, "\"anyOf\":[{");
    if (key->type == CONFIG_STRINGS || key->type == CONFIG_LIST)
        write_shape(out, key);
    else
        BUF_LIT(out, "\"type\":[\"string\",\"integer\"]");
    BUF_LIT(out, "},{");
    write_object(out, section);
    BUF_LIT(out, "}]");
}

/* One list entry or map value. */
static void write_element(struct buf *out, const struct config_section *section)
{
    BUF_LIT(out, "{");
    write_body(out, section);
    BUF_LIT(out, "}");
}

/* "anyOf" alternatives of a scalar. */
static void write_scalar(struct buf *out, const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_BOOL:
        BUF_LIT(out, "{\"type\":\"boolean\"}," FROM_ENVIRONMENT);
        break;
    case CONFIG_INTEGER:
        write_integer(out, key);
        BUF_LIT(out, "," FROM_ENVIRONMENT);
        break;
    case CONFIG_DURATION:
        BUF_LIT(out, "{\"type\":\"string\",\"pattern\":\"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?"
                     "([0-9]+ms)?$\",\"minLength\":2}," FROM_ENVIRONMENT);
        break;
    case CONFIG_SIZE:
        BUF_LIT(out,
                "{\"type\":\"string\",\"pattern\":\"^[0-9]+ ?([KMG]i?)?B$\"}," FROM_ENVIRONMENT);
        break;
    case CONFIG_ENUM:
        write_names(out, key->names);
        BUF_LIT(out, "," FROM_ENVIRONMENT);
        break;
    case CONFIG_SECRET:
        BUF_LIT(out,
                "{\"type\":[\"string\",\"number\"]},{\"type\":\"object\",\"properties\":{\"file\":"
                "{\"type\":\"string\"}},\"required\":[\"file\"],"
                "\"additionalProperties\":false}");
        break;
    case CONFIG_PERCENT:
        BUF_LIT(out, "{\"type\":\"number\",\"minimum\":0},{\"type\":\"string\"}");
        break;
    case CONFIG_USD:
        BUF_LIT(out, "{\"type\":\"number\",\"minimum\":0,\"maximum\":1000000},"
                     "{\"type\":\"string\"}");
        break;
    case CONFIG_TIME:
        /* YAML's own type for a date has no name in JSON Schema. */
        BUF_LIT(out, "{\"not\":{\"type\":[\"object\",\"array\",\"boolean\",\"number\"]}}");
        break;
    default:
        BUF_LIT(out, "{\"type\":[\"string\",\"number\",\"boolean\"]}");
    }
}

/* What a key may hold, as the members of a schema object without its braces. */
static void write_shape(struct buf *out, const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_STRINGS:
        BUF_LIT(out, "\"type\":\"array\",\"items\":{\"type\":[\"string\",\"number\"]}");
        break;
    case CONFIG_PAIRS:
        BUF_LIT(out, "\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[");
        write_scalar(out, &(struct config_key){.type = CONFIG_SECRET});
        BUF_LIT(out, "]}");
        break;
    case CONFIG_PARAMS:
    case CONFIG_CONDITION:
        BUF_LIT(out, "\"type\":[\"object\",\"null\"]");
        break;
    case CONFIG_SECTION:
        write_body(out, key->section);
        break;
    case CONFIG_LIST:
        BUF_LIT(out, "\"type\":[\"array\",\"null\"],\"items\":");
        write_element(out, key->section);
        break;
    case CONFIG_MAP:
        BUF_LIT(out, "\"type\":[\"object\",\"null\"],\"additionalProperties\":");
        write_element(out, key->section);
        break;
    default:
        BUF_LIT(out, "\"anyOf\":[");
        write_scalar(out, key);
        BUF_LIT(out, "]");
    }
}

/* The default as JSON where it is a JSON type, as text otherwise. */
static void write_default(struct buf *out, const struct config_key *key)
{
    BUF_LIT(out, ",\"default\":");
    if (key->type == CONFIG_BOOL || key->type == CONFIG_INTEGER || key->type == CONFIG_PERCENT)
        buf_add_str(out, str_c(key->fallback));
    else
        buf_add_json(out, str_c(key->fallback));
}

static void write_property(struct buf *out, const struct config_key *key)
{
    buf_add_json(out, str_c(key->name));
    BUF_LIT(out, ":{\"description\":");
    struct buf text = BUF_INIT;
    buf_printf(&text, "%s.%s%s", key->help, key->detail != NULL ? " " : "",
               key->detail != NULL ? key->detail : "");
    buf_add_json(out, buf_str(&text));
    out->failed |= !buf_ok(&text);
    buf_fini(&text);
    if (key->fallback != NULL)
        write_default(out, key);
    BUF_LIT(out, ",");
    write_shape(out, key);
    BUF_LIT(out, "}");
}

static void write_object(struct buf *out, const struct config_section *section)
{
    BUF_LIT(out, "\"type\":[\"object\",\"null\"],\"additionalProperties\":false,\"properties\":{");
    for (uint32_t i = 0; i < section->count; i++) {
        if (i > 0)
            BUF_LIT(out, ",");
        write_property(out, &section->keys[i]);
    }
    BUF_LIT(out, "}");
    bool is_first = true;
    for (uint32_t i = 0; i < section->count; i++) {
        if (!section->keys[i].is_required)
            continue;
        buf_add_str(out, str_c(is_first ? ",\"required\":[" : ","));
        buf_add_json(out, str_c(section->keys[i].name));
        is_first = false;
    }
    buf_add_str(out, str_c(is_first ? "" : "]"));
}

void config_write_schema(struct buf *out)
{
    BUF_LIT(out, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
                 "\"title\":\"weir configuration\",");
    write_object(out, &config_root);
    BUF_LIT(out, "}\n");
}
