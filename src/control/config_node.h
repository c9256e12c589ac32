/*
 * A YAML file as a tree whose every node knows its place: the part of YAML that a config needs.
 * The thread that reads the config.
 * Nothing yields.
 * The tree lives in the arena; its texts are copies.
 * What is refused is put into the report with its place: anchors and aliases, tags, merge keys,
 * duplicate keys, keys that are not plain text, further documents, deep nesting, bad UTF-8.
 */
#ifndef WEIR_CONTROL_CONFIG_NODE_H
#define WEIR_CONTROL_CONFIG_NODE_H

#include "control/config_report.h"

enum { CONFIG_DEPTH_MAX = 32, CONFIG_BYTES_MAX = 16 * 1024 * 1024 };

enum config_node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct config_node {
    enum config_node_kind kind;
    struct config_mark mark;
    struct str text; /* NODE_SCALAR */
    bool is_plain;   /* a scalar without quotes: `null`, `~` and nothing mean "nothing written" */
    struct config_node *first; /* children of a list or map, in the order of the file */
    struct config_node *last;
    unsigned count;
    struct config_node *next; /* of the same parent */
    struct str key;           /* in a map */
    struct config_mark key_mark;
    bool is_duplicate; /* while a map is read */
};

/* The root node; an empty file gives an empty map. NULL when the text could not be parsed. Also
 * what is returned may have errors in the report. */
struct config_node *config_node_parse(struct arena *arena, struct str text,
                                      struct config_report *report);
/* The value under that key of a map, or NULL (also for a NULL node and for other kinds). */
struct config_node *config_node_get(const struct config_node *map, struct str key);
/* `key:` with nothing behind it. */
bool config_node_is_null(const struct config_node *node);
/* "a mapping", "a list", "nothing" or "text": for messages. */
const char *config_node_what(const struct config_node *node);

#endif
