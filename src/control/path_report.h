/*
 * What a path has done to a paced stream: from when each event was sent and when it came to whether
 * and how the path buffers, compresses, cuts or rewrites.
 * Any thread; pure: nothing is asked, no clock is read.
 * Nothing yields.
 * A timeline belongs to the caller and outlives its report; headers are borrowed.
 * path_report_make cannot fail; a timeline with too few events gives PATH_FLOW_UNKNOWN.
 */
#ifndef WEIR_CONTROL_PATH_REPORT_H
#define WEIR_CONTROL_PATH_REPORT_H

#include "http/message.h"

/* One event of the self-test stream (docs/simulated-provider.md), times in microseconds. */
struct path_event {
    unsigned number;   /* from 1 */
    int64_t sent_us;   /* by weir's clock, since it had the request */
    int64_t came_us;   /* by ours, since the request was sent */
    uint64_t at_bytes; /* of the body, decoded, up to its end */
};

enum path_end {
    PATH_END_WHOLE,   /* in order */
    PATH_END_CUT,     /* the connection ended before the stream did */
    PATH_END_QUIET,   /* we gave up waiting */
    PATH_END_ERROR,   /* an error event: weir itself gave up */
    PATH_END_REFUSED, /* another status than 200 */
    PATH_END_STRANGE, /* 200, but no self-test stream */
};

struct path_timeline {
    unsigned asked_events; /* 0 = not known */
    int64_t pace_us;       /* asked; 0 = not known */
    int64_t idle_us;       /* the silence asked for before the last event */
    unsigned status;
    unsigned version_minor; /* of HTTP/1.x */
    bool has_length;        /* Content-Length: someone knew the end before the beginning went out */
    const struct http_headers *headers;
    int64_t head_us;      /* when the head had come */
    int64_t last_byte_us; /* when bytes came for the last time */
    int64_t end_us;
    int64_t silence_us;  /* longest time without a byte, from the head to the last byte */
    unsigned heartbeats; /* comments */
    const struct path_event *events;
    unsigned count;
    enum path_end end;
    char message[256]; /* of the end, where it was not PATH_END_WHOLE */
};

enum path_flow {
    PATH_FLOW_UNKNOWN, /* too few events */
    PATH_FLOW_SMOOTH,  /* one by one */
    PATH_FLOW_UNEVEN,  /* one by one, and some late */
    PATH_FLOW_HELD,    /* the first ones together, the others one by one */
    PATH_FLOW_BUNCHED, /* several together, again and again */
    PATH_FLOW_WHOLE,   /* all together at the end */
};
extern const char *const path_flow_names[];

/* What a setting of a hop can mend. */
enum path_trouble {
    PATH_BUFFERS,
    PATH_COMPRESSES,
    PATH_CUTS,
    PATH_CACHES,
    PATH_REWRITES, /* headers */
    PATH_TROUBLE_COUNT
};
extern const char *const path_trouble_names[];

struct path_finding {
    enum path_trouble trouble;
    bool is_fault; /* else worth knowing: the stream came through all the same */
    char text[256];
};

enum { PATH_FINDINGS_MAX = 12 };

struct path_report {
    enum path_flow flow;
    unsigned missing;       /* events that were asked for and did not come */
    unsigned bunches;       /* groups of events that came together, single ones counted too */
    unsigned largest_bunch; /* events */
    uint64_t bunch_bytes;   /* of a typical bunch */
    int64_t bunch_us;       /* from bunch to bunch, typically */
    int64_t first_us;       /* when the first event came; -1 = none */
    int64_t base_us;        /* the quickest event's time on the way (and between the clocks) */
    int64_t lag_us;         /* how much later than that the typical event was */
    int64_t lag_worst_us;   /* and the latest */
    unsigned paced;         /* events of the paced part: all but the one after the silence */
    unsigned finding_count;
    struct path_finding findings[PATH_FINDINGS_MAX];
};

void path_report_make(const struct path_timeline *timeline, struct path_report *report);
/* True when a finding is a fault. */
bool path_report_has_fault(const struct path_report *report);

#endif
