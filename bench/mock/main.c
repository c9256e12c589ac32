/* The mock upstream of the bench: an OpenAI-shaped provider whose every byte can be foretold. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../format.h"
#include "worker.h"

static const char usage[] =
    "usage: mock [--port N] [--threads N]\n"
    "Answers POST /v1/chat/completions on 127.0.0.1 and prints the port. The model name says how:\n"
    "bench-<N>tok-<N>ms-<N>b: tokens, pause between two, bytes of an answer that is no stream;\n"
    "  <N>us a shorter pause, <N>wait ms before the answer, <N>ev bytes of an event, hold until\n"
    "  POST /release; and to be wrong at token N: <N>drop dup swap corrupt foreign cut nodone noend\n"
    "GET /stats tells what is going on.\n";

static bool read_number(const char *text, long lowest, long highest, long *number)
{
    char *end = NULL;
    *number = text != NULL ? strtol(text, &end, 10) : 0;
    return end != NULL && end != text && *end == '\0' && *number >= lowest && *number <= highest;
}

static void prepare_process(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* Tokens are due to the microsecond, not to the 50 that the kernel may be late by default. */
    prctl(PR_SET_TIMERSLACK, 1000);
    signal(SIGPIPE, SIG_IGN);
    format_filler();
}

int main(int argc, char **argv)
{
    long port_number = 0;
    long threads = 1;
    for (int i = 1; i < argc; i += 2) {
        bool is_port = strcmp(argv[i], "--port") == 0;
        bool is_known = is_port ? read_number(argv[i + 1], 0, 65535, &port_number)
                                : strcmp(argv[i], "--threads") == 0 &&
                                      read_number(argv[i + 1], 1, 64, &threads);
        if (!is_known) {
            fputs(usage, stderr);
            return 2;
        }
    }
    prepare_process();
    uint16_t port = (uint16_t)port_number;
    struct worker *workers = calloc((size_t)threads, sizeof(*workers));
    if (workers == NULL)
        return 1;
    for (long i = 0; i < threads; i++) {
        workers[i].all = workers;
        workers[i].all_count = (unsigned)threads;
        if (!worker_open(&workers[i], &port))
            return 1;
    }
    printf("%u\n", port);
    fflush(stdout);
    for (long i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker_run, &workers[i]) != 0) {
            fputs("mock: cannot start a thread\n", stderr);
            return 1;
        }
    }
    worker_run(&workers[0]);
    return 0;
}
