/*
 * The set functions of the key table: fields whose values are more than plain typing can say.
 * The thread that reads a config.
 * Nothing yields.
 * What they store lives in the arena.
 * Each returns NULL, or what was expected (never the value itself: it may be a secret).
 */
#ifndef WEIR_CONTROL_CONFIG_FIELDS_H
#define WEIR_CONTROL_CONFIG_FIELDS_H

#include "control/config_keys.h"

/* struct listener_settings */
config_set_fn config_set_listen_address;
config_set_fn config_set_listen_tls;

/* struct virtual_key */
config_set_fn config_set_key_name;
config_set_fn config_set_key_hash;
config_set_fn config_set_key_value;
config_set_fn config_set_key_aws_id;
config_set_fn config_set_key_aws_secret;
config_set_fn config_set_key_team;

/* struct provider */
config_set_fn config_set_base_url;
config_set_fn config_set_developer_role;
/* For keys that the reader looks at in the tree. */
config_set_fn config_check_bool;
config_set_fn config_ignore;
/* A provider starts from its row of the catalogue. */
config_begin_fn config_provider_begin;

/* struct provider_key */
config_set_fn config_set_pool_key_name;

/* A route starts from `routing`. */
config_begin_fn config_route_begin;

/* struct price, struct price_tier: no class has a price yet. */
config_begin_fn config_price_begin;
config_begin_fn config_tier_begin;

/* struct settings */
config_set_fn config_set_access_log;

#endif
