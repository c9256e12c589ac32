/*
 * Virtual keys: what clients present, what they may do.
 * A table is immutable once a snapshot holds it; any thread may look keys up.
 * Nothing yields.
 * The table owns its entries; a principal points into it and lives as long as the snapshot.
 * The lookup says which of no key, unknown, expired it was; the caller shapes the error.
 */
#ifndef WEIR_GOVERN_KEYS_H
#define WEIR_GOVERN_KEYS_H

#include "base/arena.h"
#include "base/str.h"

enum { KEY_HASH_BYTES = 32 };

struct virtual_key {
    struct str name; /* for people, logs and metrics */
    uint8_t sha256[KEY_HASH_BYTES];
    struct str
        *models; /* globs over what the client asks for and over provider/model; none = all */
    unsigned model_count;
    int64_t expires_wall_ns; /* 0 = never */
    bool is_disabled;
    bool is_admin;   /* may see health, and ask for plans */
    struct str team; /* for conditions of routes; empty = none */
    /* The pair with which AWS's clients sign requests; empty = it has none. The secret is plain,
     * because a signature can be checked in no other way: it is never shown. */
    struct str aws_access_key_id, aws_secret_access_key;
    bool is_aws_only; /* there is nothing but that pair: sha256 means nothing */
};

enum key_verdict { KEY_OK, KEY_MISSING, KEY_UNKNOWN, KEY_EXPIRED, KEY_DISABLED };

struct key_table;

/* Copies nothing but the pointers; `keys` must live as long as the table. NULL = no memory.
 * Two keys with the same hash or access key id: *duplicate gets the index of the second, and NULL
 * is returned. */
struct key_table *key_table_new(const struct virtual_key *keys, unsigned count,
                                unsigned *duplicate);
void key_table_free(struct key_table *table);
unsigned key_table_count(const struct key_table *table);

/* Hashes the credential and finds it in constant time; *key is set for KEY_OK and KEY_EXPIRED. */
enum key_verdict key_table_check(const struct key_table *table, struct str credential,
                                 int64_t now_wall_ns, const struct virtual_key **key);
/* The key with this access key id, usable or not (virtual_key_verdict); NULL when there is none. */
const struct virtual_key *key_table_find_aws(const struct key_table *table,
                                             struct str access_key_id);
/* KEY_OK, KEY_EXPIRED or KEY_DISABLED. */
enum key_verdict virtual_key_verdict(const struct virtual_key *key, int64_t now_wall_ns);
/* True when the key may use this model name (as asked for) or its resolved provider/model. */
bool virtual_key_allows(const struct virtual_key *key, struct str asked, struct str resolved);

/* SHA-256 of the key's text. */
void key_hash(struct str text, uint8_t out[KEY_HASH_BYTES]);
/* "sha256:" and 64 hex digits. */
bool key_hash_parse(struct str text, uint8_t out[KEY_HASH_BYTES]);

#endif
