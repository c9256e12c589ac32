#include "control/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "control/process.h"
#include "rt/sys.h"

#define READY_VARIABLE "WEIR_READY_FD"
static const char ready_word[] = "ready\n";

/* --- the old process -----------------------------------------------------------------------------
 */

/* The environment of the child: this one's and the two variables. NULL = no memory. */
static char **child_environment(struct arena *arena, const struct buf *sockets, int ready_fd)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **env = arena_alloc(arena, (count + 3) * sizeof(char *));
    struct str listen = arena_printf(arena, "WEIR_LISTEN_FDS=%.*s", STR_ARG(buf_str(sockets)));
    struct str ready = arena_printf(arena, READY_VARIABLE "=%d", ready_fd);
    if (env == NULL || listen.ptr == NULL || ready.ptr == NULL)
        return NULL;
    memcpy(env, environ, count * sizeof(char *));
    env[count] = arena_cstr(arena, listen);
    env[count + 1] = arena_cstr(arena, ready);
    env[count + 2] = NULL;
    return env[count] != NULL && env[count + 1] != NULL ? env : NULL;
}

/* The child begins as any program does: no signal blocked, all as they are by default, and of the
 * descriptors only the sockets and the pipe. 0 or an errno. */
static int spawn(pid_t *child, char *const *argv, char **env, const int *fds, unsigned count,
                 int ready_fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return r;
    r = posix_spawnattr_init(&attributes);
    if (r != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return r;
    }
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    /* A descriptor that is copied onto itself loses close-on-exec. */
    r = posix_spawn_file_actions_adddup2(&actions, ready_fd, ready_fd);
    for (unsigned i = 0; r == 0 && i < count; i++)
        r = posix_spawn_file_actions_adddup2(&actions, fds[i], fds[i]);
    if (r == 0)
        r = posix_spawn(child, process_program(), &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return r;
}

static int start_with(struct upgrade *upgrade, const struct listening *listening, char *const *argv,
                      const int ends[2], struct arena *arena)
{
    struct buf sockets = BUF_INIT;
    int *fds;
    unsigned count = listening_describe(listening, &sockets, &fds, arena);
    char **env =
        fds != NULL && buf_ok(&sockets) ? child_environment(arena, &sockets, ends[1]) : NULL;
    buf_fini(&sockets);
    if (env == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the new process");
    int r = spawn(&upgrade->child, argv, env, fds, count, ends[1]);
    if (r != 0)
        return err_set(ERR_IO, FAULT_GATEWAY, "cannot run %s: %s", process_program(), strerror(r));
    return 0;
}

int upgrade_start(struct upgrade *upgrade, const struct listening *listening, char *const *argv)
{
    /* The end of process 1 ends the container, however well its successor does. */
    if (getpid() == 1)
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "this is process 1 of its container: replace the container instead");
    int ends[2];
    struct arena *arena = arena_new(4096);
    if (arena == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the new process");
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        arena_free(arena);
        return err_set_errno(ERR_IO, FAULT_GATEWAY, "pipe");
    }
    int r = start_with(upgrade, listening, argv, ends, arena);
    arena_free(arena);
    sys_close(ends[1]);
    if (r < 0) {
        sys_close(ends[0]);
        upgrade->child = 0;
        return r;
    }
    upgrade->pipe = ends[0];
    upgrade->deadline_ns = clock_add_ns(clock_mono_ns(), UPGRADE_TIMEOUT_NS);
    return 0;
}

static void end(struct upgrade *upgrade)
{
    sys_close(upgrade->pipe);
    upgrade->child = 0;
    upgrade->deadline_ns = CLOCK_NEVER;
}

void upgrade_cancel(struct upgrade *upgrade)
{
    if (upgrade->child == 0)
        return;
    kill(upgrade->child, SIGKILL);
    waitpid(upgrade->child, NULL, 0);
    end(upgrade);
}

static enum upgrade_state child_is_gone(struct upgrade *upgrade)
{
    int status = 0;
    /* It closed the pipe; if it did not end by that, it is no weir. */
    if (waitpid(upgrade->child, &status, WNOHANG) == 0) {
        kill(upgrade->child, SIGKILL);
        waitpid(upgrade->child, &status, 0);
    }
    if (WIFEXITED(status))
        log_event(LOG_ERROR, "upgrade",
                  "the new process %d ended with status %d before it was ready (its output says "
                  "why); going on as before",
                  (int)upgrade->child, WEXITSTATUS(status));
    else
        log_event(LOG_ERROR, "upgrade",
                  "the new process %d was ended by signal %d before it was ready; going on as "
                  "before",
                  (int)upgrade->child, WTERMSIG(status));
    end(upgrade);
    return UPGRADE_FAILED;
}

enum upgrade_state upgrade_check(struct upgrade *upgrade)
{
    char word[sizeof(ready_word)];
    ssize_t n = sys_read(upgrade->pipe, word, sizeof(word));
    if (n == sizeof(ready_word) - 1 && memcmp(word, ready_word, (size_t)n) == 0) {
        sys_close(upgrade->pipe);
        return UPGRADE_READY;
    }
    if (n >= 0 || errno != EAGAIN)
        return child_is_gone(upgrade);
    if (clock_mono_ns() < upgrade->deadline_ns)
        return UPGRADE_PENDING;
    log_event(LOG_ERROR, "upgrade",
              "the new process %d was not ready within %d s and was ended; going on as before",
              (int)upgrade->child, (int)(UPGRADE_TIMEOUT_NS / NS_PER_SEC));
    upgrade_cancel(upgrade);
    return UPGRADE_FAILED;
}

/* --- the new process -----------------------------------------------------------------------------
 */

bool upgrade_is_successor(void)
{
    return getenv(READY_VARIABLE) != NULL;
}

void upgrade_tell_ready(void)
{
    uint64_t fd;
    if (!str_to_u64(str_c(getenv(READY_VARIABLE)), &fd) || fd > INT32_MAX)
        return;
    unsetenv(READY_VARIABLE);
    if (sys_write((int)fd, ready_word, sizeof(ready_word) - 1) < 0)
        log_event(LOG_WARN, "upgrade", "the process before this one has gone: %s", strerror(errno));
    sys_close((int)fd);
}
