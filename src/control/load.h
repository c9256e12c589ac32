/*
 * From a config to a snapshot that can be served: all the checks that need more than its text.
 * Main thread.
 * Nothing yields; certificate files are read.
 * The snapshot is the caller's.
 * NULL when there was an error; all of them are in the report.
 */
#ifndef WEIR_CONTROL_LOAD_H
#define WEIR_CONTROL_LOAD_H

#include "control/config.h"
#include "gateway/gateway.h"

/* `path` NULL = the environment. */
struct snapshot *load_snapshot(const char *path, const struct config_options *options,
                               uint64_t generation, struct config_report *report,
                               struct config_files *files);

#endif
