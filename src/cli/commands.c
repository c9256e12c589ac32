#include "cli/command.h"

#define FIELD(member) offsetof(struct arguments, member)

static const struct option run_options[] = {
    {"config", "FILE", OPTION_TEXT, FIELD(config), NULL,
     "the config; without it the environment says what there is"},
    {"listen", "ADDRESS:PORT", OPTION_TEXTS, FIELD(listen), "listen", NULL},
    {"threads", "N", OPTION_NUMBER, FIELD(threads), "threads", NULL},
    {"print-port", NULL, OPTION_FLAG, FIELD(print_port), NULL,
     "print the port of the first address as the first line of the output"},
    {"pid-file", "FILE", OPTION_TEXT, FIELD(pid_file), NULL,
     "write the process id there once weir serves"},
};

static const struct option keys_options[] = {
    {"generate", NULL, OPTION_FLAG, FIELD(generate), NULL,
     "make a new key and print it with its hash"},
};

static const struct option plan_options[] = {
    {"explain", NULL, OPTION_FLAG, FIELD(explain), NULL,
     "say why each target is where it is, or why it is out"},
    {"json", NULL, OPTION_FLAG, FIELD(json), NULL, "the same as JSON"},
    {"config", "FILE", OPTION_TEXT, FIELD(config), NULL,
     "the config; without it the environment says what there is"},
    {"dialect", "NAME", OPTION_TEXT, FIELD(dialect), NULL,
     "of the request: openai_chat (the default), anthropic, gemini, ..."},
    {"model", "NAME", OPTION_TEXT, FIELD(model), NULL,
     "the model, where it is not in the body (gemini, bedrock)"},
    {"stream", NULL, OPTION_FLAG, FIELD(stream), NULL,
     "the answer is a stream, where the body does not say so"},
    {"header", "NAME:VALUE", OPTION_TEXTS, FIELD(headers), NULL, "a header of the request"},
    {"key", "NAME", OPTION_TEXT, FIELD(key), NULL, "the client's key, by its name in the config"},
};

static const struct option probe_options[] = {
    {"key", "KEY", OPTION_TEXT, FIELD(key), NULL,
     "the key to ask with; better in the environment, as WEIR_PROBE_KEY"},
    {"model", "NAME", OPTION_TEXT, FIELD(model), NULL,
     "the name under which weir serves the self-test stream, if not sim/probe"},
    {"events", "N", OPTION_NUMBER, FIELD(events), NULL, "how many events to ask for (50)"},
    {"pace", "TIME", OPTION_TEXT, FIELD(pace), NULL, "time between two events (50ms)"},
    {"idle", "TIME", OPTION_TEXT, FIELD(idle), NULL,
     "silence before the last event, such as 90s: finds idle timeouts (none)"},
    {"header", "NAME:VALUE", OPTION_TEXTS, FIELD(headers), NULL, "a header of the request"},
    {"ca-file", "FILE", OPTION_TEXT, FIELD(ca_file), NULL,
     "the certificates to trust, as PEM, in place of the system's"},
    {"json", NULL, OPTION_FLAG, FIELD(json), NULL, "the report as JSON"},
};

static const struct option upgrade_options[] = {
    {"pid", "PID", OPTION_NUMBER, FIELD(pid), NULL, "the process to replace"},
    {"pid-file", "FILE", OPTION_TEXT, FIELD(pid_file), NULL,
     "where its process id stands; waits until the new process serves"},
};

#define OPTIONS(table) (table), ARRAY_LEN(table)

const struct command commands[] = {
    {"run", "", 0, 0, "serve until told to stop",
     "Without --config, every provider whose key is in the environment is served (OPENAI_API_KEY,\n"
     "ANTHROPIC_API_KEY, GROQ_API_KEY, ..., OLLAMA_HOST), and the simulated provider always is.\n"
     "OPENAI_BASE_URL and the like move a provider; WEIR_KEYS=name=key,... are the keys that\n"
     "clients must present; WEIR_LISTEN and WEIR_AUTH=none do what listen and auth do in a config.\n"
     "\n"
     "--listen may stand several times. SIGHUP, or a change of the file, reads the config again;\n"
     "SIGTERM lets the requests that run end; SIGUSR2 hands over to a new binary; SIGUSR1 opens\n"
     "the access log anew.\n",
     OPTIONS(run_options), run_command},
    {"check", "FILE", 1, 1, "say what is wrong with a config, and serve nothing", NULL, NULL, 0,
     check_command},
    {"config", "reference|schema", 1, 1, "print what a config may say",
     "reference: a page with every key, its type, default and meaning (Markdown)\n"
     "schema:    a JSON Schema, for editors\n",
     NULL, 0, config_command},
    {"keys", "hash", 1, 1, "make client keys and their hashes",
     "Reads a key from the standard input (asks for it at a terminal) and prints the hash that a\n"
     "config takes in its place.\n",
     OPTIONS(keys_options), keys_command},
    {"plan", "[FILE|-]", 0, 1, "say which targets a request would go to, and in which order",
     "Reads the body of a request from the file or the standard input. Nothing is sent anywhere,\n"
     "and of how targets are doing nothing is known. A lot that is drawn is always the same one.\n"
     "POST /v1/weir/plan asks the same of a weir that runs.\n",
     OPTIONS(plan_options), plan_command},
    {"probe", "URL", 1, 1, "say what a path (CDN, proxies) does to the streams of a weir behind it",
     "Asks the weir behind the URL for a paced stream of events that say when they were sent, and\n"
     "tells whether and how the path holds them back, compresses, cuts or rewrites, by whom as far\n"
     "as headers tell, and with which setting that is usually mended.\n"
     "\n"
     "Exit status: 0 streams come through, 3 the path spoils them, 1 there was no stream to judge.\n",
     OPTIONS(probe_options), probe_command},
    {"upgrade", "[PID]", 0, 1, "replace a running weir by the binary that is at its path now",
     "The new process takes the listening sockets over, and the old one ends once its requests\n"
     "have: no connection is refused. If the new one does not start, the old one goes on.\n",
     OPTIONS(upgrade_options), upgrade_command},
    {"version", "", 0, 0, "print the version and that of the libraries", NULL, NULL, 0,
     version_command},
    {"help", "[COMMAND]", 0, 1, "explain a command", NULL, NULL, 0, help_command},
};
const unsigned command_count = ARRAY_LEN(commands);

const struct command *command_find(struct str name)
{
    for (unsigned i = 0; i < command_count; i++) {
        if (str_eq(str_c(commands[i].name), name))
            return &commands[i];
    }
    return NULL;
}

int command_unknown(const char *name)
{
    const char *names[ARRAY_LEN(commands) + 1] = {NULL};
    for (unsigned i = 0; i < command_count; i++)
        names[i] = commands[i].name;
    const char *nearest = str_nearest(str_c(name), names);
    fprintf(stderr, "weir: there is no command \"%s\"", name);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean \"%s\"?\n", nearest);
    else
        fprintf(stderr, "; see weir help\n");
    return EXIT_WRONG_USE;
}
