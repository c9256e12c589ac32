/*
 * How the rows of the key table are written, and the sections that stand in files of their own.
 * For the files that make up the table (config_keys*.c) alone.
 * Nothing yields.
 * Static data.
 * No errors.
 */
#ifndef WEIR_CONTROL_CONFIG_ROWS_H
#define WEIR_CONTROL_CONFIG_ROWS_H

#include "base/clock.h"
#include "control/config_fields.h"
#include "gateway/settings.h"

/* Where a field lies. */
#define FIELD(type, member) .offset = offsetof(type, member), .width = sizeof(((type *)0)->member)
/* An array with its count beside it. */
#define ARRAY(type, member, counter)                                        \
    .offset = offsetof(type, member), .width = sizeof(((type *)0)->member), \
    .count_offset = offsetof(type, counter), .stride = sizeof(*((type *)0)->member)
#define SECTION(table)                             \
    {                                              \
        .keys = (table), .count = ARRAY_LEN(table) \
    }

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define MINUTE_NS (60 * NS_PER_SEC)
#define DAY_NS (24 * 60 * MINUTE_NS)

/* `routing`; its struct is struct settings. */
extern const struct config_section config_routing;
/* An element of `routes`; its struct is struct route. */
extern const struct config_section config_route;
/* `journal`; its struct is struct settings. */
extern const struct config_section config_journal;
/* `realtime`; its struct is struct settings. */
extern const struct config_section config_realtime;
/* `bridge`; its struct is struct settings. */
extern const struct config_section config_bridge;

#endif
