#include "cli/command.h"

static int wrong_use(const struct command *command, const char *what, struct str about,
                     const char *more)
{
    fprintf(stderr, "weir %s: %s \"%.*s\"%s; see weir help %s\n", command->name, what,
            STR_ARG(about), more, command->name);
    return EXIT_WRONG_USE;
}

static const struct option *find_option(const struct command *command, struct str name)
{
    for (unsigned i = 0; i < command->option_count; i++) {
        if (str_eq(str_c(command->options[i].name), name))
            return &command->options[i];
    }
    return NULL;
}

static int unknown_option(const struct command *command, struct str name)
{
    enum { NAMES_MAX = 16 };
    const char *names[NAMES_MAX + 1] = {NULL};
    for (unsigned i = 0; i < command->option_count && i < NAMES_MAX; i++)
        names[i] = command->options[i].name;
    const char *nearest = str_nearest(name, names);
    char more[80] = "";
    if (nearest != NULL)
        snprintf(more, sizeof(more), "; did you mean \"--%s\"?", nearest);
    return wrong_use(command, "there is no option", name, more);
}

static int store(const struct command *command, const struct option *option, const char *value,
                 struct arguments *arguments)
{
    void *field = (char *)arguments + option->offset;
    uint64_t number;
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case OPTION_TEXT:
        if (value[0] == '\0')
            return wrong_use(command, "empty value for option", str_c(option->name), "");
        *(const char **)field = value;
        return 0;
    case OPTION_TEXTS: {
        struct text_list *list = field;
        if (list->count == TEXTS_MAX)
            return wrong_use(command, "too often given: option", str_c(option->name), "");
        list->items[list->count++] = value;
        return 0;
    }
    case OPTION_NUMBER:
        if (!str_to_u64(str_c(value), &number) || number == 0 || number > INT32_MAX)
            return wrong_use(command, "expected a number from 1 instead of", str_c(value), "");
        *(unsigned *)field = (unsigned)number;
        return 0;
    }
    return 0;
}

/* One option and, where it has one, its value, which may be the next word. */
static int parse_option(const struct command *command, int argc, char *const *argv, int *at,
                        struct arguments *arguments)
{
    struct str value = str_c(argv[*at] + 2), name;
    bool has_value = str_cut(&value, '=', &name);
    const struct option *option = find_option(command, name);
    if (option == NULL)
        return unknown_option(command, name);
    if (option->kind == OPTION_FLAG) {
        if (has_value)
            return wrong_use(command, "no value is taken by option", name, "");
        return store(command, option, NULL, arguments);
    }
    if (has_value)
        return store(command, option, value.ptr, arguments);
    if (*at + 1 >= argc)
        return wrong_use(command, "no value after option", name, "");
    return store(command, option, argv[++*at], arguments);
}

int options_parse(const struct command *command, int argc, char *const *argv,
                  struct arguments *arguments, bool *wants_help)
{
    bool is_over = false; /* "--" was seen */
    for (int i = 0; i < argc; i++) {
        if (!is_over && (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)) {
            *wants_help = true;
            return 0;
        }
        if (!is_over && strcmp(argv[i], "--") == 0) {
            is_over = true;
        } else if (!is_over && strncmp(argv[i], "--", 2) == 0) {
            int r = parse_option(command, argc, argv, &i, arguments);
            if (r != 0)
                return r;
        } else if (!is_over && argv[i][0] == '-' && argv[i][1] != '\0') {
            return wrong_use(command, "there is no option", str_c(argv[i] + 1), "");
        } else if (arguments->word_count == command->words_max) {
            return wrong_use(command, "too much on the command line:", str_c(argv[i]), "");
        } else {
            arguments->words[arguments->word_count++] = argv[i];
        }
    }
    if (arguments->word_count >= command->words_min)
        return 0;
    fprintf(stderr, "weir %s: expected %s; see weir help %s\n", command->name, command->words,
            command->name);
    return EXIT_WRONG_USE;
}
