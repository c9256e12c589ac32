/*
 * Scalars of a config: text to typed value, and back for people.
 * Any thread.
 * Nothing yields.
 * Messages are static or live in the arena; what is parsed is copied out.
 * Each reader returns NULL, or what was expected instead (with a guess of what was meant).
 */
#ifndef WEIR_CONTROL_CONFIG_VALUE_H
#define WEIR_CONTROL_CONFIG_VALUE_H

#include "base/buf.h"
#include "control/config_keys.h"

/* Numbers with a unit each, largest unit first: "250ms", "90s", "1h30m". */
const char *config_parse_duration(struct arena *arena, struct str text, int64_t *ns);
/* A number with its unit: B, KB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024). */
const char *config_parse_size(struct arena *arena, struct str text, int64_t *bytes);
/* "12", "0.5" or "2.5%", at most four decimals. */
const char *config_parse_percent(struct str text, int64_t *millionths);
const char *config_parse_bool(struct str text, bool *value);
/* RFC 3339, or a date alone, which is its first moment in UTC. */
const char *config_parse_time(struct str text, int64_t *wall_ns);

/* Parses a scalar of that key's type, checks its bounds and stores it in the object. */
const char *config_store(const struct config_key *key, void *object, struct arena *arena,
                         struct str text);

void config_write_duration(struct buf *out, int64_t ns);
void config_write_size(struct buf *out, int64_t bytes);
/* "from 1 to 512", "at most 1GiB", or nothing where the key has no bounds. */
void config_write_bounds(struct buf *out, const struct config_key *key);

#endif
