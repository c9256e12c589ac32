/*
 * Where log lines go: a file, a FIFO, stdout or stderr, written to without ever waiting.
 * One thread at a time; opened in the main thread, used by the writer thread.
 * Nothing yields or blocks (a file on a hung file system excepted).
 * The sink owns its descriptor unless it is the process's own stdout or stderr.
 * -ERR_IO with the path and the reason in the error slot.
 */
#ifndef WEIR_OBSERVE_LOG_SINK_H
#define WEIR_OBSERVE_LOG_SINK_H

#include <sys/stat.h>

#include "base/str.h"

struct log_sink {
    int fd;        /* -1 = none */
    bool is_owned; /* closed by log_sink_close */
    bool is_socket;
    dev_t device;
    ino_t inode;
};
#define LOG_SINK_NONE ((struct log_sink){.fd = -1})

/*
 * `target`: "stdout", "stderr" or a path, which is appended to and made with mode 0640. A FIFO
 * needs no reader: lines wait in it until it is full.
 */
int log_sink_open(struct log_sink *sink, const char *target);
void log_sink_close(struct log_sink *sink);
/* Bytes written, 0 = takes nothing now (wait for POLLOUT on fd), or -ERR_IO / -ERR_RESET. */
ssize_t log_sink_write(struct log_sink *sink, struct str bytes);
/* True when both lead to the same file, so that what is written to them must not mix. */
bool log_sink_is_same(const struct log_sink *a, const struct log_sink *b);

#endif
