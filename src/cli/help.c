#include "cli/command.h"
#include "control/config_keys.h"

void help_write(FILE *out)
{
    fputs("weir: a gateway in front of language model providers\n\nusage: weir COMMAND ...\n\n",
          out);
    for (unsigned i = 0; i < command_count; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs("\nweir help COMMAND tells more of one.\n", out);
}

static void write_usage(FILE *out, const struct command *command)
{
    fprintf(out, "usage: weir %s", command->name);
    for (unsigned i = 0; i < command->option_count; i++) {
        const struct option *option = &command->options[i];
        fprintf(out, " [--%s%s%s]%s", option->name, option->value != NULL ? " " : "",
                option->value != NULL ? option->value : "",
                option->kind == OPTION_TEXTS ? "..." : "");
    }
    fprintf(out, "%s%s\n\n%s\n", command->words[0] != '\0' ? " " : "", command->words,
            command->summary);
}

/* An option that replaces a config key is explained by the key. */
static void write_option(FILE *out, const struct option *option)
{
    char left[40];
    snprintf(left, sizeof(left), "--%s%s%s", option->name, option->value != NULL ? " " : "",
             option->value != NULL ? option->value : "");
    fprintf(out, "  %-22s ", left);
    if (option->config_key == NULL) {
        fprintf(out, "%s\n", option->help);
        return;
    }
    const struct config_key *key = config_key_find(&config_root, str_c(option->config_key));
    CHECK(key != NULL);
    fprintf(out, "%s (default: %s);\n  %-22s replaces \"%s\" of the config\n", key->help,
            key->fallback_note != NULL ? key->fallback_note : key->fallback, "", key->name);
}

void help_write_command(FILE *out, const struct command *command)
{
    write_usage(out, command);
    if (command->option_count > 0)
        fputs("\n", out);
    for (unsigned i = 0; i < command->option_count; i++)
        write_option(out, &command->options[i]);
    if (command->detail != NULL)
        fprintf(out, "\n%s", command->detail);
}

int help_command(const struct arguments *arguments)
{
    if (arguments->word_count == 0) {
        help_write(stdout);
        return 0;
    }
    const struct command *command = command_find(str_c(arguments->words[0]));
    if (command == NULL)
        return command_unknown(arguments->words[0]);
    help_write_command(stdout, command);
    return 0;
}
