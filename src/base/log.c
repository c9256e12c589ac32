#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

enum { MESSAGE_BYTES = 768, LINE_BYTES = 1024 };

static _Atomic(log_sink_fn *) sink;
static atomic_int threshold = LOG_INFO;

static void write_stderr(struct str line)
{
    while (line.len > 0) {
        ssize_t n = write(STDERR_FILENO, line.ptr, line.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line = str_skip(line, (size_t)n);
    }
}

/* The line with the first `len` bytes of the message; false when it does not fit. */
static bool line_build(struct buf *line, enum log_level level, const char *area, struct str message)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char time_text[CLOCK_ISO_LEN + 1];
    clock_format_iso(clock_wall_ns(), time_text);
    buf_clear(line);
    BUF_LIT(line, "{\"time\":\"");
    buf_add(line, time_text, CLOCK_ISO_LEN);
    BUF_LIT(line, "\",\"level\":\"");
    buf_add_str(line, str_c(names[level]));
    BUF_LIT(line, "\",\"area\":");
    buf_add_json(line, str_c(area));
    BUF_LIT(line, ",\"message\":");
    buf_add_json(line, message);
    BUF_LIT(line, "}\n");
    return buf_ok(line);
}

/* `message` cut to at most `max` bytes, not inside a UTF-8 sequence. */
static struct str cut_text(struct str message, size_t max)
{
    size_t n = MIN(message.len, max);
    while (n > 0 && n < message.len && ((unsigned char)message.ptr[n] & 0xc0) == 0x80)
        n--;
    return str_head(message, n);
}

void log_event(enum log_level level, const char *area, const char *format, ...)
{
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    int saved_errno = errno;
    char text[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct str message = str_n(text, n < 0 ? 0 : MIN((size_t)n, sizeof(text) - 1));
    if (message.len == sizeof(text) - 1)
        message = cut_text(message, sizeof(text) - 4);

    /* A buf over an array of this frame, whose limit keeps it from ever allocating (buf_printf asks
     * for one byte more): the log must work when memory has run out. */
    char bytes[LINE_BYTES];
    struct buf line = {.ptr = bytes, .cap = sizeof(bytes), .limit = sizeof(bytes) - 1};
    while (!line_build(&line, level, area, message) && message.len > 0)
        message = cut_text(message, message.len - 1 - message.len / 4);
    log_sink_fn *fn = atomic_load_explicit(&sink, memory_order_acquire);
    (fn != NULL ? fn : write_stderr)(buf_str(&line));
    errno = saved_errno;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

void log_set_sink(log_sink_fn *fn)
{
    atomic_store_explicit(&sink, fn, memory_order_release);
}

bool log_allow(struct log_limit *limit, unsigned per_minute, unsigned *suppressed)
{
    /* Places are shared by threads. A race at the turn of a minute costs a line, nothing else. */
    int64_t minute = clock_mono_ns() / (60 * NS_PER_SEC) + 1;
    *suppressed = 0;
    if (__atomic_exchange_n(&limit->minute, minute, __ATOMIC_RELAXED) != minute) {
        unsigned before = __atomic_exchange_n(&limit->seen, 0, __ATOMIC_RELAXED);
        *suppressed = before > per_minute ? before - per_minute : 0;
    }
    return __atomic_fetch_add(&limit->seen, 1, __ATOMIC_RELAXED) < per_minute;
}
