/* The one-shot SHA256() of OpenSSL 3 looks the algorithm up by name in each call, and EVP allocates
 * a context, so both can fail and cost several times as much as the hash. The functions below
 * cannot fail; they are called deprecated because they bypass the provider mechanism. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "govern/keys.h"

#include <openssl/sha.h>

#include "base/mem.h"

enum { KEY_TABLE_MAGIC = 0x4b455953 };

struct slot {
    uint64_t prefix; /* the first bytes of the hash, to pass over neighbours cheaply */
    const struct virtual_key *key;
};

struct key_table {
    uint32_t magic;
    unsigned count;
    size_t mask;
    struct slot *aws_slots;
    struct slot slots[]; /* those by hash, and aws_slots as many again */
};

static uint64_t hash_prefix(const uint8_t sha256[KEY_HASH_BYTES])
{
    uint64_t prefix;
    memcpy(&prefix, sha256, sizeof(prefix));
    return prefix;
}

static bool hash_eq(const uint8_t *a, const uint8_t *b)
{
    return str_eq_secret(str_n((const char *)a, KEY_HASH_BYTES),
                         str_n((const char *)b, KEY_HASH_BYTES));
}

/* The slot that holds the hash, or the empty one where it would stand: the table is never full. */
static const struct slot *find(const struct key_table *table, const uint8_t sha256[KEY_HASH_BYTES])
{
    uint64_t prefix = hash_prefix(sha256);
    size_t at = prefix & table->mask;
    for (;;) {
        const struct slot *slot = &table->slots[at];
        if (slot->key == NULL || (slot->prefix == prefix && hash_eq(slot->key->sha256, sha256)))
            return slot;
        at = (at + 1) & table->mask;
    }
}

/* The same by access key id, which is no secret. */
static const struct slot *find_aws(const struct key_table *table, struct str access_key_id)
{
    uint64_t prefix = str_hash(access_key_id);
    size_t at = prefix & table->mask;
    for (;;) {
        const struct slot *slot = &table->aws_slots[at];
        if (slot->key == NULL ||
            (slot->prefix == prefix && str_eq(slot->key->aws_access_key_id, access_key_id)))
            return slot;
        at = (at + 1) & table->mask;
    }
}

/* False when another key has the same hash or access key id. */
static bool insert(struct key_table *table, const struct virtual_key *key)
{
    if (!key->is_aws_only) {
        const struct slot *slot = find(table, key->sha256);
        if (slot->key != NULL)
            return false;
        table->slots[slot - table->slots] =
            (struct slot){.prefix = hash_prefix(key->sha256), .key = key};
    }
    if (key->aws_access_key_id.len > 0) {
        const struct slot *slot = find_aws(table, key->aws_access_key_id);
        if (slot->key != NULL)
            return false;
        table->aws_slots[slot - table->aws_slots] =
            (struct slot){.prefix = str_hash(key->aws_access_key_id), .key = key};
    }
    table->count++;
    return true;
}

struct key_table *key_table_new(const struct virtual_key *keys, unsigned count, unsigned *duplicate)
{
    size_t slot_count = 4;
    while (slot_count < (size_t)count * 2)
        slot_count *= 2;
    struct key_table *table =
        mem_calloc(1, sizeof(struct key_table) + 2 * slot_count * sizeof(struct slot));
    if (table == NULL)
        return NULL;
    table->magic = KEY_TABLE_MAGIC;
    table->mask = slot_count - 1;
    table->aws_slots = table->slots + slot_count;
    for (unsigned i = 0; i < count; i++) {
        if (!insert(table, &keys[i])) {
            *duplicate = i;
            key_table_free(table);
            return NULL;
        }
    }
    return table;
}

void key_table_free(struct key_table *table)
{
    if (table == NULL)
        return;
    CHECK_MAGIC(table, KEY_TABLE_MAGIC);
    table->magic = 0;
    mem_free(table);
}

unsigned key_table_count(const struct key_table *table)
{
    CHECK_MAGIC(table, KEY_TABLE_MAGIC);
    return table->count;
}

enum key_verdict key_table_check(const struct key_table *table, struct str credential,
                                 int64_t now_wall_ns, const struct virtual_key **key)
{
    CHECK_MAGIC(table, KEY_TABLE_MAGIC);
    if (credential.len == 0)
        return KEY_MISSING;
    uint8_t sha256[KEY_HASH_BYTES];
    key_hash(credential, sha256);
    const struct virtual_key *found = find(table, sha256)->key;
    if (found == NULL)
        return KEY_UNKNOWN;
    enum key_verdict verdict = virtual_key_verdict(found, now_wall_ns);
    if (verdict != KEY_DISABLED)
        *key = found;
    return verdict;
}

const struct virtual_key *key_table_find_aws(const struct key_table *table,
                                             struct str access_key_id)
{
    CHECK_MAGIC(table, KEY_TABLE_MAGIC);
    return access_key_id.len > 0 ? find_aws(table, access_key_id)->key : NULL;
}

enum key_verdict virtual_key_verdict(const struct virtual_key *key, int64_t now_wall_ns)
{
    if (key->is_disabled)
        return KEY_DISABLED;
    bool is_expired = key->expires_wall_ns != 0 && now_wall_ns >= key->expires_wall_ns;
    return is_expired ? KEY_EXPIRED : KEY_OK;
}

bool virtual_key_allows(const struct virtual_key *key, struct str asked, struct str resolved)
{
    for (unsigned i = 0; i < key->model_count; i++) {
        if (str_glob(key->models[i], asked) || str_glob(key->models[i], resolved))
            return true;
    }
    return key->model_count == 0;
}

void key_hash(struct str text, uint8_t out[KEY_HASH_BYTES])
{
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, text.ptr, text.len);
    SHA256_Final(out, &context);
}

bool key_hash_parse(struct str text, uint8_t out[KEY_HASH_BYTES])
{
    struct str prefix = STR("sha256:");
    return str_starts(text, prefix) &&
           str_from_hex(str_skip(text, prefix.len), out, KEY_HASH_BYTES);
}
