/*
 * Who stands on a path, as far as the headers of an answer tell, and which setting of theirs mends
 * what they do to a stream.
 * Any thread; pure.
 * Nothing yields.
 * Names and settings are static; signs point into the headers.
 * path_hops_find cannot fail: what it does not know it gives by the header alone.
 */
#ifndef WEIR_CONTROL_PATH_HOPS_H
#define WEIR_CONTROL_PATH_HOPS_H

#include "control/path_report.h"

enum { PATH_HOPS_MAX = 16 };

struct path_hop_kind;

struct path_hop {
    const struct path_hop_kind *kind; /* NULL = not one that is known */
    struct str header, value;         /* by which it is known */
};

/* The hops in the order of Via (the nearest to weir first), then those that only other headers
 * name. Returns how many; at most PATH_HOPS_MAX. */
unsigned path_hops_find(const struct http_headers *headers, struct path_hop hops[PATH_HOPS_MAX]);

/* "nginx"; what it calls itself where it is not known. */
struct str path_hop_name(const struct path_hop *hop);
/* The setting that usually mends it; NULL where none is known. */
const char *path_hop_mend(const struct path_hop *hop, enum path_trouble trouble);
/* The same for a path on which no hop is known. */
const char *path_mend_unknown(enum path_trouble trouble);

#endif
