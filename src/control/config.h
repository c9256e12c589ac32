/*
 * Reading the config: a YAML file, or the environment, into settings.
 * Main thread (and tests).
 * Nothing yields; files are read.
 * The settings own their memory (settings_free); the report's texts live in the report's arena.
 * NULL when there was an error: the report holds all of them with their places.
 */
#ifndef WEIR_CONTROL_CONFIG_H
#define WEIR_CONTROL_CONFIG_H

#include "control/config_report.h"
#include "gateway/settings.h"

/* What is said beside the file: on the command line, or by who started the process. */
struct config_options {
    const char *const *listen; /* --listen: replaces `listen` */
    unsigned listen_count;
    unsigned threads; /* --threads: replaces `threads`; 0 = not said */
    /* Addresses of sockets that were handed over (socket activation): they are listened on as
     * well, and instead of the default address. */
    const struct net_addr *activated;
    unsigned activated_count;
};

/* Files that the config depends on: itself, secrets, certificates. */
enum { CONFIG_FILES_MAX = 64 };
struct config_files {
    char *paths[CONFIG_FILES_MAX];
    unsigned count;
};
void config_files_free(struct config_files *files);

/* `files` may be NULL. */
struct settings *config_read_file(const char *path, const struct config_options *options,
                                  struct config_report *report, struct config_files *files);
/* The same for text; `path` says where relative paths start and need not exist. */
struct settings *config_read_text(struct str text, const char *path,
                                  const struct config_options *options,
                                  struct config_report *report, struct config_files *files);
/* Every provider of the catalogue whose variable is set, WEIR_KEYS, WEIR_LISTEN, WEIR_AUTH. */
struct settings *config_read_environment(const struct config_options *options,
                                         struct config_report *report);

#endif
