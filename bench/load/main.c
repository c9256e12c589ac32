/* The load generator of the bench: asks the mock's models, directly or through a proxy, and checks
 * every byte of what comes back. Exits with 0 only if nothing was wrong. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "ask.h"
#include "drive.h"
#include "options.h"
#include "start.h"
#include "tally.h"

static const struct {
    const char *mode;
    bool (*run)(struct ask *ask, struct tally *tally, double *seconds);
} modes[] = {
    {"run", drive_run},
    {"hold", drive_run},
    {"hangup", drive_run},
    {"start", start_run},
};

static void prepare_process(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    prctl(PR_SET_TIMERSLACK, 1000);
    signal(SIGPIPE, SIG_IGN);
    format_filler();
}

int main(int argc, char **argv)
{
    static struct tally tally;
    struct options options;
    struct ask ask;
    if (!options_read(&options, argc, argv))
        return 2;
    prepare_process();
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(modes[i].mode, options.mode) != 0)
            continue;
        double seconds = 0;
        if (!ask_init(&ask, &options))
            return 2;
        bool has_run = modes[i].run(&ask, &tally, &seconds);
        ask_fini(&ask);
        if (!has_run)
            return 2;
        tally_print(&tally, options.mode, seconds);
        return tally_faults(&tally) == 0 ? 0 : 1;
    }
    fprintf(stderr, "load: no such mode: %s\n", options.mode);
    return 2;
}
