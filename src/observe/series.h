/*
 * Series: counters by label set. Each thread counts into words of its own; a reader sums them.
 * series_init/fini in the main thread; series_thread_* and series_find on the threads that count;
 * series_visit and the totals on any thread.
 * Nothing yields. A lock is taken only when a thread meets a label set for the first time.
 * Label texts are copied; words live until series_fini.
 * Cannot fail: past the cap, and without memory, things count under the label set "other".
 */
#ifndef WEIR_OBSERVE_SERIES_H
#define WEIR_OBSERVE_SERIES_H

#include "base/str.h"
#include "observe/histogram.h"

enum { SERIES_LABELS_MAX = 6, SERIES_KINDS_MAX = 8 };

/* What a label is replaced by that is too long, not plain text, or one too many. */
#define SERIES_OTHER STR("other")

struct series_kind {
    unsigned label_count;
    unsigned word_count;
    /* Index of the label that is given up first when there are too many sets; -1 = none. */
    int spare_label;
};

/*
 * `kinds` must live until series_fini. At most `series_max` label sets are kept in all, the ones
 * called "other" included; min 64.
 */
void series_init(const struct series_kind *kinds, unsigned kind_count, unsigned threads,
                 unsigned series_max);
void series_fini(void);

/* On a thread, before it counts / when it ends. `thread` is its number from 0; the words of a
 * thread that has ended go to the next one of that number. */
void series_thread_init(unsigned thread);
void series_thread_fini(void);

/*
 * This thread's words of a label set, made when it is new. With may_create false a set that no
 * thread knows gives NULL.
 */
metric_word *series_find(unsigned kind, const struct str labels[], bool may_create);

/* Calls fn for each series of the kind, in the order in which they came up; `sums` are its words
 * added up over the threads. */
typedef void series_visit_fn(void *ctx, const struct str labels[], const uint64_t sums[]);
void series_visit(unsigned kind, series_visit_fn *fn, void *ctx);

/* Label sets that exist / may exist / how often a new one was refused. */
unsigned series_count(void);
unsigned series_limit(void);
uint64_t series_refused(void);

#endif
