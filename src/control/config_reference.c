#include "control/config_docs.h"

#include "control/config_keys.h"
#include "control/config_value.h"

static const char intro[] =
    "<!-- Made by `weir config reference` from the table of keys: do not edit. -->\n"
    "# Configuration reference\n"
    "\n"
    "One YAML file, given to `weir run --config FILE`. `weir check FILE` tells what is wrong with\n"
    "one, `weir config schema` prints a JSON Schema for editors, and\n"
    "[Configuration](../configuration.md) shows how to do common things.\n"
    "\n"
    "## Values\n"
    "\n"
    "- Text from the environment: `${NAME}`, or `${NAME:-default}` where the variable may be\n"
    "  unset or empty. `$$` is a dollar sign. In values only, not in keys. A variable that is not\n"
    "  set and has no default is an error.\n"
    "- A **secret** may also be read from a file: `api_key: {file: /run/secrets/openai}`. Line\n"
    "  breaks at the end of the file are left out. Secrets never appear in a message or log.\n"
    "- A **duration** has its unit: `250ms`, `30s`, `5m`, `1h`, `7d`, or several: `1h30m`.\n"
    "- A **size** has its unit: `B`, `KiB`, `MiB`, `GiB` (powers of 1024), `KB`, `MB`, `GB`\n"
    "  (powers of 1000).\n"
    "- A **path** is relative to the folder of the config file.\n"
    "- Anchors, aliases, tags, merge keys, duplicate keys and further documents are errors: a\n"
    "  config says everything once, where it stands.\n"
    "\n";

static void write_cell(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
}

static void write_type(struct buf *out, const struct config_key *key)
{
    if (key->type == CONFIG_ENUM) {
        for (unsigned i = 0; key->names[i] != NULL; i++)
            buf_printf(out, "%s`%s`", i > 0 ? ", " : "", key->names[i]);
        return;
    }
    write_cell(out, config_type_name(key->type));
    if (key->max != 0) {
        BUF_LIT(out, ", ");
        config_write_bounds(out, key);
    }
}

static void write_default(struct buf *out, const struct config_key *key)
{
    if (key->is_required)
        BUF_LIT(out, "*required*");
    else if (key->fallback_note != NULL)
        write_cell(out, key->fallback_note);
    else if (key->fallback != NULL)
        buf_printf(out, "`%s`", key->fallback);
    else if (key->type == CONFIG_ENUM)
        buf_printf(out, "`%s`", key->names[0]);
}

static void write_meaning(struct buf *out, const struct config_key *key)
{
    char first = key->help[0];
    if (first >= 'a' && first <= 'z')
        first = (char)(first - 'a' + 'A');
    buf_add_char(out, first);
    write_cell(out, key->help + 1);
    BUF_LIT(out, ".");
    if (key->detail != NULL) {
        BUF_LIT(out, " ");
        write_cell(out, key->detail);
    }
    if (key->is_restart)
        BUF_LIT(out, " A change takes effect at the next start.");
    if (key->example != NULL) {
        BUF_LIT(out, " Example: `");
        write_cell(out, key->example);
        BUF_LIT(out, "`");
    }
}

static void write_table(struct buf *out, const struct config_section *section)
{
    BUF_LIT(out, "| key | type | default | meaning |\n|---|---|---|---|\n");
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        buf_printf(out, "| `%s` | ", key->name);
        write_type(out, key);
        BUF_LIT(out, " | ");
        write_default(out, key);
        BUF_LIT(out, " | ");
        write_meaning(out, key);
        BUF_LIT(out, " |\n");
    }
    BUF_LIT(out, "\n");
}

static void write_section(struct buf *out, const struct config_section *section, const char *path)
{
    buf_printf(out, "## `%s`\n\n", path);
    if (section->shorthand != NULL)
        buf_printf(out, "An entry may be written as the value of its `%s` alone.\n\n",
                   section->shorthand);
    write_table(out, section);
}

/* The sections below, each with its path: "listen[]", "providers.NAME.auth". */
static void write_below(struct buf *out, const struct config_section *section, const char *path)
{
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->section == NULL)
            continue;
        char below[128];
        snprintf(below, sizeof(below), "%s%s%s%s", path, path[0] != '\0' ? "." : "", key->name,
                 key->type == CONFIG_LIST  ? "[]"
                 : key->type == CONFIG_MAP ? ".NAME"
                                           : "");
        write_section(out, key->section, below);
        write_below(out, key->section, below);
    }
}

void config_write_reference(struct buf *out)
{
    buf_add(out, intro, sizeof(intro) - 1);
    BUF_LIT(out, "## The file\n\n");
    write_table(out, &config_root);
    write_below(out, &config_root, "");
    /* One line break at the end, not two. */
    if (buf_ok(out) && out->len > 0)
        out->len--;
}
