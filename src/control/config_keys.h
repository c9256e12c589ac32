/*
 * The one table of everything that a config can say: key, type, default, bounds, help, and where
 * the value goes. The reader, the reference page, the JSON schema and the catalogue follow it.
 * Static data; any thread.
 * Nothing yields.
 * Offsets are into the C struct of the section that a key stands in.
 * No errors: a set function tells what it expected, the reader reports it with its place.
 */
#ifndef WEIR_CONTROL_CONFIG_KEYS_H
#define WEIR_CONTROL_CONFIG_KEYS_H

#include "base/arena.h"
#include "base/str.h"

enum config_type {
    /* Scalars. */
    CONFIG_STRING,   /* struct str, or const char * where the field is one */
    CONFIG_SECRET,   /* the same; may be written {file: PATH}; never shown */
    CONFIG_PATH,     /* the same; relative to the config file's folder */
    CONFIG_BOOL,     /* bool */
    CONFIG_INTEGER,  /* uint32_t or uint64_t */
    CONFIG_DURATION, /* int64_t nanoseconds */
    CONFIG_SIZE,     /* uint32_t or uint64_t bytes */
    CONFIG_ENUM,     /* an int-sized enum, by the index in `names` */
    CONFIG_TIME,     /* int64_t nanoseconds since 1970 */
    CONFIG_USD,      /* int64_t nano-dollars; written in dollars, with decimals */
    CONFIG_PERCENT,  /* uint32_t millionths; written as a percentage, with decimals */
    /* Collections. */
    CONFIG_STRINGS,   /* list of strings: struct str *, count in an unsigned */
    CONFIG_PAIRS,     /* mapping of names to secrets: struct http_headers */
    CONFIG_PARAMS,    /* mapping of names to any values: struct route_param *, count beside it */
    CONFIG_CONDITION, /* mapping of conditions: const struct condition * */
    CONFIG_SECTION,   /* mapping with the keys of `section` */
    CONFIG_LIST,      /* list of mappings with the keys of `section`: array and count */
    CONFIG_MAP,       /* mapping of free names to such mappings: array and count */
    CONFIG_TYPE_COUNT
};

/* What the names of a CONFIG_MAP's elements are made of. */
enum config_naming {
    NAMING_FREE,  /* no spaces and control characters */
    NAMING_LOWER, /* lower-case letters, digits, ".", "_" and "-" */
    NAMING_PLAIN, /* letters, digits, ".", "_" and "-" */
};

struct config_section;
struct config_reader;
struct config_node;

typedef void config_begin_fn(struct config_reader *reader, void *object,
                             const struct config_node *node);

/* Takes a scalar that plain typing does not fit (and, for CONFIG_SECTION, learns that the section
 * was written: text is empty then). NULL, or what was expected instead. */
typedef const char *config_set_fn(void *object, struct arena *arena, struct str text);

struct config_key {
    const char *name;
    enum config_type type;
    uint32_t offset;          /* of the field in the section's struct; CONFIG_SECTION: of the struct
                                 that its own keys go by, 0 = the same */
    uint32_t width;           /* bytes of the field */
    uint32_t count_offset;    /* of the unsigned that counts the elements of a list or map */
    uint32_t stride;          /* bytes of such an element */
    int64_t min, max;         /* integer: as they are; duration: ns; size: bytes; percentage:
                                 millionths */
    const char *const *names; /* CONFIG_ENUM: ends with NULL */
    const struct config_section *section; /* CONFIG_SECTION, CONFIG_LIST, CONFIG_MAP */
    config_set_fn *set;                   /* instead of storing by offset */
    const char *fallback;      /* the default, written as in a config; NULL = nothing is set */
    const char *fallback_note; /* the default in words, where it is not a constant */
    /* CONFIG_SECTION: read before the others, because what they are made of starts from it. */
    bool is_early;
    bool is_required;
    bool is_restart;     /* a change takes effect at the next start, not on reload */
    const char *help;    /* one line, no full stop */
    const char *detail;  /* more sentences for the reference, or NULL */
    const char *example; /* YAML, or NULL */
};

struct config_section {
    const struct config_key *keys;
    uint32_t count;
    /* What is not written as a mapping is the value of this key: a scalar, or a list where the key
     * holds one. */
    const char *shorthand;
    /* CONFIG_MAP: where the element's name goes. */
    uint32_t name_offset;
    /* CONFIG_MAP: what a name is called in messages ("provider"). */
    const char *element;
    enum config_naming naming;
    /* CONFIG_MAP: fills in what an element starts from, before its node is read; or NULL. */
    config_begin_fn *begin;
};

/* What a file may say; its struct is struct settings. */
extern const struct config_section config_root;
/* One row of `providers:` and of the catalogue; its struct is struct provider. */
extern const struct config_section config_provider;
/* One entry of `prices:` and of the built-in prices; its struct is struct price. */
extern const struct config_section config_price;

/* The key of that name, or NULL. */
const struct config_key *config_key_find(const struct config_section *section, struct str name);

/* "string", "duration", ... for messages and the reference. */
const char *config_type_name(enum config_type type);

#endif
