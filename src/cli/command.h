/*
 * The commands of the program, as data: name, options, help and what runs them.
 * Main thread.
 * Nothing yields.
 * Values point into argv.
 * Exit statuses: 0 done, 1 failed, 2 the command line was wrong.
 */
#ifndef WEIR_CLI_COMMAND_H
#define WEIR_CLI_COMMAND_H

#include "base/str.h"

enum { EXIT_WRONG_USE = 2 };

enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char * */
    OPTION_TEXTS,  /* struct text_list: may stand several times */
    OPTION_NUMBER, /* unsigned, 1 or more */
};

enum { TEXTS_MAX = 64 };
struct text_list {
    const char *items[TEXTS_MAX];
    unsigned count;
};

struct option {
    const char *name;  /* without the dashes */
    const char *value; /* what the help calls its value; NULL for flags */
    enum option_kind kind;
    size_t offset;          /* in struct arguments */
    const char *config_key; /* the config key that it replaces; its help is the option's */
    const char *help;
};

/* What was on the command line, for all commands. */
struct arguments {
    char *const *argv;    /* the whole, as it was given */
    const char *words[4]; /* what is no option, after the command's name */
    unsigned word_count;
    const char *config;
    struct text_list listen;
    unsigned threads;
    bool print_port;
    const char *pid_file;
    unsigned pid;
    bool generate;
    bool explain;
    bool json;
    const char *dialect;
    const char *model;
    const char *key;
    struct text_list headers;
    bool stream;
    unsigned events;
    const char *pace;
    const char *idle;
    const char *ca_file;
};

typedef int command_fn(const struct arguments *arguments);

struct command {
    const char *name;
    const char *words; /* the help's names of its words, or "" */
    unsigned words_min;
    unsigned words_max;
    const char *summary; /* one line */
    const char *detail;  /* more of the help, or NULL */
    const struct option *options;
    unsigned option_count;
    command_fn *run;
};

extern const struct command commands[];
extern const unsigned command_count;

const struct command *command_find(struct str name);
/* Tells of a word that is no command; returns EXIT_WRONG_USE. */
int command_unknown(const char *name);

/* Reads argv after the command's name; 0, or EXIT_WRONG_USE after telling why on stderr.
 * *wants_help is set by -h and --help. */
int options_parse(const struct command *command, int argc, char *const *argv,
                  struct arguments *arguments, bool *wants_help);

/* The list of commands, and one command's own help. */
void help_write(FILE *out);
void help_write_command(FILE *out, const struct command *command);

command_fn run_command, check_command, config_command, keys_command, plan_command, probe_command,
    upgrade_command, version_command, help_command;

#endif
