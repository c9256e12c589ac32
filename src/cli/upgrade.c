#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "base/clock.h"
#include "cli/command.h"
#include "control/process.h"
#include "control/upgrade.h"

enum { LOOK_EVERY_MS = 20 };

/* Waits until the pid file names another process that lives. */
static int wait_for_successor(const char *pid_file, pid_t old)
{
    int64_t end_ns = clock_add_ns(clock_mono_ns(), UPGRADE_TIMEOUT_NS + NS_PER_SEC);
    while (clock_mono_ns() < end_ns) {
        pid_t now = process_pid_file_read(pid_file);
        if (now != 0 && now != old && kill(now, 0) == 0) {
            printf("process %d has taken over from process %d\n", (int)now, (int)old);
            return 0;
        }
        if (kill(old, 0) < 0 && errno == ESRCH) {
            fprintf(stderr, "weir upgrade: process %d has ended\n", (int)old);
            return 1;
        }
        poll(NULL, 0, LOOK_EVERY_MS);
    }
    fprintf(stderr, "weir upgrade: process %d goes on as before; its log says why\n", (int)old);
    return 1;
}

static int find_pid(const struct arguments *arguments, pid_t *pid)
{
    uint64_t number = arguments->pid;
    bool is_given = number != 0;
    if (arguments->word_count > 0)
        is_given = str_to_u64(str_c(arguments->words[0]), &number);
    if (is_given && number > 0 && number <= INT32_MAX) {
        *pid = (pid_t)number;
        return 0;
    }
    if (arguments->pid_file == NULL || arguments->word_count > 0) {
        fputs("weir upgrade: expected a process id, or --pid-file FILE\n", stderr);
        return EXIT_WRONG_USE;
    }
    *pid = process_pid_file_read(arguments->pid_file);
    if (*pid > 0)
        return 0;
    fprintf(stderr, "weir upgrade: there is no process id in %s\n", arguments->pid_file);
    return 1;
}

int upgrade_command(const struct arguments *arguments)
{
    pid_t pid;
    int r = find_pid(arguments, &pid);
    if (r != 0)
        return r;
    if (kill(pid, SIGUSR2) < 0) {
        fprintf(stderr, "weir upgrade: process %d: %s\n", (int)pid, strerror(errno));
        return 1;
    }
    if (arguments->pid_file != NULL)
        return wait_for_successor(arguments->pid_file, pid);
    printf("process %d was told to hand over; its log says how it went\n", (int)pid);
    return 0;
}
