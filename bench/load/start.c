#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "drive.h"

static void nap_us(long us)
{
    struct timespec nap = {0, us * 1000};
    nanosleep(&nap, NULL);
}

static pid_t launch(const struct options *options)
{
    pid_t parent = getpid();
    pid_t child = fork();
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    if (options->child_cpu > 0) {
        cpu_set_t cores;
        CPU_ZERO(&cores);
        CPU_SET((size_t)options->child_cpu - 1, &cores);
        sched_setaffinity(0, sizeof(cores), &cores);
    }
    int sink = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(sink, STDIN_FILENO);
    dup2(sink, STDOUT_FILENO);
    execvp(options->command[0], options->command);
    fprintf(stderr, "load: cannot start %s: %s\n", options->command[0], strerror(errno));
    _exit(127);
}

/* One attempt to get an answer; true if it was whole and right. */
static bool try_once(struct ask *ask, struct check *check, struct tally *attempt)
{
    char bytes[2048];
    int fd = ask_connect(ask, 0, true);
    if (fd < 0)
        return false;
    ask_renew(ask);
    memcpy(ask->text + ask->nonce_at, ask->call.nonce, FORMAT_NONCE_LEN);
    *attempt = (struct tally){0};
    check_begin(check, ask->form, &ask->call, ask->options->is_stream, ask->options->asks_usage,
                attempt);
    ssize_t got = send(fd, ask->text, ask->len, MSG_NOSIGNAL);
    while (got > 0 && check->phase < CHECK_DONE) {
        got = recv(fd, bytes, sizeof(bytes), 0);
        if (got > 0)
            check_feed(check, bytes, (size_t)got, drive_now_ns());
    }
    close(fd);
    return check->phase == CHECK_DONE && tally_faults(attempt) == 0;
}

static void end_child(pid_t child)
{
    kill(child, SIGTERM);
    for (int i = 0; i < 5000; i++) {
        if (waitpid(child, NULL, WNOHANG) == child)
            return;
        nap_us(1000);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

bool start_run(struct ask *ask, struct tally *tally, double *seconds)
{
    static struct tally attempt;
    static struct check check;
    const struct options *options = ask->options;
    if (options->command == NULL || options->command[0] == NULL) {
        fputs("load: --mode start needs -- COMMAND\n", stderr);
        return false;
    }
    uint64_t begin_ns = drive_now_ns();
    uint64_t deadline_ns = begin_ns + options->timeout_ms * 1000000u;
    pid_t child = launch(options);
    if (child < 0)
        return false;
    bool is_answered = false;
    bool is_alive = true;
    while (!is_answered && is_alive && drive_now_ns() < deadline_ns) {
        is_answered = try_once(ask, &check, &attempt);
        if (!is_answered) {
            is_alive = waitpid(child, NULL, WNOHANG) == 0;
            nap_us(100);
        }
    }
    *seconds = (double)(drive_now_ns() - begin_ns) / 1e9;
    if (is_answered) {
        tally->requests = 1;
        hist_add(&tally->latency, drive_now_ns() - begin_ns);
    } else {
        tally_fault(tally, is_alive ? FAULT_TIMEOUT : FAULT_CONNECT, "%s: %s",
                    is_alive ? "no answer" : "the program has ended", attempt.first_fault);
    }
    if (is_alive)
        end_child(child);
    check_fini(&check);
    return true;
}
