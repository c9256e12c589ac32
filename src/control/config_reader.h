/*
 * Reading a config's tree along the key table into structs.
 * The thread that reads the config.
 * Nothing yields; files of secrets are read where they are named.
 * Values live in `arena`; names of files that were read are kept in `files`.
 * Problems go to the report and reading goes on, so that all of them are told at once.
 */
#ifndef WEIR_CONTROL_CONFIG_READER_H
#define WEIR_CONTROL_CONFIG_READER_H

#include "base/buf.h"
#include "control/config.h"
#include "control/config_keys.h"
#include "control/config_node.h"

struct config_reader {
    struct arena *arena;
    struct config_report *report;
    struct config_files *files; /* NULL = not kept */
    struct str folder;          /* of the config file, with its last slash; empty = current */
    bool expands;               /* ${VAR} in values */
    struct settings *settings;  /* what is being read; NULL for the catalogue */
    const struct config_node *catalogue; /* the rows of the built-in catalogue */
    const char **catalogue_names;        /* ends with NULL */
};

/* Settings that say nothing but the defaults, in an arena of their own; NULL after an error was
 * reported. */
struct settings *config_settings_new(struct config_report *report, struct str source);
/* Sets every field that has a default, in sections below as well. */
void config_set_defaults(const struct config_section *section, void *object, struct arena *arena);
/* Reads what the node says over what is in the object. The node may be null: nothing is said. */
void config_read_section(struct config_reader *reader, const struct config_section *section,
                         const struct config_node *node, void *object);

/* Parses the catalogue; false with an error in the report. */
bool config_load_catalogue(struct config_reader *reader);
/* Lays the row of that name over the provider; false when there is none. */
bool config_apply_catalogue(struct config_reader *reader, struct str name,
                            struct provider *provider);

/*
 * The text with ${VAR}, ${VAR:-default} and $$ replaced; ptr NULL after an error was reported.
 * *is_changed tells that something was replaced, so the result may be secret.
 */
struct str config_expand(struct config_reader *reader, struct str text, struct config_mark mark,
                         bool *is_changed);
/* A node of any kind as JSON, with plain scalars typed by YAML's core schema and quoted ones as
 * strings; false after an error was reported. */
bool config_write_json(struct config_reader *reader, const struct config_node *node,
                       struct buf *out);
/* What the node holds, for keys of the types of these names. */
void config_read_params(struct config_reader *reader, const struct config_key *key,
                        const struct config_node *node, void *object);
void config_read_condition(struct config_reader *reader, const struct config_key *key,
                           const struct config_node *node, void *object);
/* The content of the file named by a node {file: PATH}, without newlines at its end; ptr NULL
 * after an error was reported. */
struct str config_read_secret_file(struct config_reader *reader, const struct config_node *node);
/* The path as seen from the config file's folder; ptr NULL when out of memory. */
struct str config_join_path(struct config_reader *reader, struct str path);
/* Remembers a file that the config depends on, once; `files` may be NULL. */
void config_note_file(struct config_files *files, const char *path);

/* Checks and completes what the tree said (root NULL: nothing was); errors go to the report. */
void config_finish(struct config_reader *reader, const struct config_node *root,
                   const struct config_options *options, struct settings *settings);

#endif
