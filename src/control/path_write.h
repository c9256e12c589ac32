/*
 * A path's report for people and for programs.
 * Any thread; pure.
 * Nothing yields.
 * Text is appended to the caller's buf.
 * When there is no memory the buf says so.
 */
#ifndef WEIR_CONTROL_PATH_WRITE_H
#define WEIR_CONTROL_PATH_WRITE_H

#include "base/buf.h"
#include "control/path_hops.h"

struct path_story {
    struct str url; /* what was asked */
    const struct path_timeline *timeline;
    const struct path_report *report;
    const struct path_hop *hops;
    unsigned hop_count;
};

/* Lines of text, with a picture of when events were sent and came. */
void path_write_text(const struct path_story *story, struct buf *out);
/* One JSON object and a line end; docs/probe.md describes it. */
void path_write_json(const struct path_story *story, struct buf *out);

#endif
