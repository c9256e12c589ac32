#include "cli/command.h"

/* Names that people try for a command. */
static const struct {
    const char *word;
    const char *command;
} synonyms[] = {{"--version", "version"}, {"-V", "version"}, {"--help", "help"}, {"-h", "help"}};

int main(int argc, char **argv)
{
    if (argc < 2) {
        help_write(stderr);
        return EXIT_WRONG_USE;
    }
    const char *name = argv[1];
    for (size_t i = 0; i < ARRAY_LEN(synonyms); i++) {
        if (strcmp(name, synonyms[i].word) == 0)
            name = synonyms[i].command;
    }
    const struct command *command = command_find(str_c(name));
    if (command == NULL)
        return command_unknown(name);
    struct arguments arguments = {.argv = argv};
    bool wants_help = false;
    int r = options_parse(command, argc - 2, argv + 2, &arguments, &wants_help);
    if (r != 0)
        return r;
    if (wants_help) {
        help_write_command(stdout, command);
        return 0;
    }
    return command->run(&arguments);
}
