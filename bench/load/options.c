#include "options.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, NUMBER, FLAG };

#define FIELD(name) offsetof(struct options, name)

static const struct {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *help;
} table[] = {
    {"--mode", TEXT, FIELD(mode),
     "run (default); hold: open streams, say so, and see them end; hangup: open, say so, and close\n"
     "      them all when a line comes on stdin; start: start COMMAND and time its first answer"},
    {"--target", TEXT, FIELD(target), "ADDRESS:PORT to send to"},
    {"--dialect", TEXT, FIELD(dialect), "of the client: openai_chat (default), anthropic"},
    {"--path", TEXT, FIELD(path), "of the requests (the dialect's)"},
    {"--key", TEXT, FIELD(key), "bearer token to send"},
    {"--model", TEXT, FIELD(model), "the mock's model (bench)"},
    {"--model-prefix", TEXT, FIELD(model_prefix), "put before the model's name in the request"},
    {"--stream", FLAG, FIELD(is_stream), "ask for streams"},
    {"--include-usage", FLAG, FIELD(asks_usage), "ask for the usage of streams"},
    {"--fresh", FLAG, FIELD(is_fresh), "use a new connection for every request"},
    {"--even", FLAG, FIELD(is_even), "open loop with equal pauses instead of random ones"},
    {"--prompt", NUMBER, FIELD(prompt), "bytes of the prompt (1024)"},
    {"--connections", NUMBER, FIELD(connections), "in parallel (1); open loop: at the most (8192)"},
    {"--sources", NUMBER, FIELD(sources), "loopback addresses 127.0.0.x to connect from (1)"},
    {"--requests", NUMBER, FIELD(requests), "stop after so many"},
    {"--rate", NUMBER, FIELD(rate), "open loop with so many new requests a second"},
    {"--duration-ms", NUMBER, FIELD(duration_ms), "stop starting requests after (1000)"},
    {"--ramp-ms", NUMBER, FIELD(ramp_ms), "spread the first requests over (0)"},
    {"--timeout-ms", NUMBER, FIELD(timeout_ms),
     "without a byte until a request has failed (30000)"},
    {"--child-cpu", NUMBER, FIELD(child_cpu), "mode start: core of the program, counted from 1"},
};

enum { COUNT = sizeof(table) / sizeof(table[0]) };

static void print_usage(void)
{
    fputs("usage: load --target ADDRESS:PORT [OPTION]... [-- COMMAND...]\n", stderr);
    for (int i = 0; i < COUNT; i++)
        fprintf(stderr, "  %s%s\n      %s\n", table[i].name,
                table[i].kind == FLAG ? "" : (table[i].kind == TEXT ? " TEXT" : " N"),
                table[i].help);
}

static bool store(struct options *options, int entry, const char *value)
{
    void *field = (char *)options + table[entry].offset;
    if (table[entry].kind == FLAG) {
        *(bool *)field = true;
    } else if (value == NULL) {
        fprintf(stderr, "load: %s needs a value\n", table[entry].name);
        return false;
    } else if (table[entry].kind == TEXT) {
        *(const char **)field = value;
    } else {
        char *end = NULL;
        *(uint64_t *)field = strtoull(value, &end, 10);
        if (end == value || *end != '\0') {
            fprintf(stderr, "load: %s needs a number, not '%s'\n", table[entry].name, value);
            return false;
        }
    }
    return true;
}

static int find(const char *name)
{
    for (int i = 0; i < COUNT; i++)
        if (strcmp(table[i].name, name) == 0)
            return i;
    return -1;
}

bool options_read(struct options *options, int argc, char **argv)
{
    *options = (struct options){.mode = "run",
                                .dialect = "openai_chat",
                                .model = "bench",
                                .model_prefix = "",
                                .prompt = 1024,
                                .sources = 1,
                                .timeout_ms = 30000};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            options->command = argv + i + 1;
            break;
        }
        int entry = find(argv[i]);
        if (entry < 0) {
            fprintf(stderr, "load: no such option: %s\n", argv[i]);
            print_usage();
            return false;
        }
        const char *value = table[entry].kind != FLAG ? argv[++i] : NULL;
        if (!store(options, entry, value))
            return false;
    }
    if (options->target == NULL) {
        print_usage();
        return false;
    }
    if (options->connections == 0)
        options->connections = options->rate > 0 ? 8192 : 1;
    if (options->duration_ms == 0 && options->requests == 0)
        options->duration_ms = 1000;
    return true;
}
