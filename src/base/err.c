#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct err thread_slot;
static _Thread_local struct err *current;

struct err *err_slot(void)
{
    return current != NULL ? current : &thread_slot;
}

void err_slot_use(struct err *slot)
{
    current = slot;
}

int err_set(enum err_code code, enum err_fault fault, const char *format, ...)
{
    struct err *e = err_slot();
    va_list args;
    va_start(args, format);
    vsnprintf(e->message, sizeof(e->message), format, args);
    va_end(args);
    e->code = (int)code;
    e->fault = fault;
    e->retry = RETRY_NO;
    e->errno_value = 0;
    return -(int)code;
}

int err_set_errno(enum err_code code, enum err_fault fault, const char *what)
{
    int saved = errno;
    int r = err_set(code, fault, "%s: %s", what, strerror(saved));
    err_slot()->errno_value = saved;
    return r;
}

int err_wrap(const char *format, ...)
{
    struct err *e = err_slot();
    char old[sizeof(e->message)];
    memcpy(old, e->message, sizeof(old));
    va_list args;
    va_start(args, format);
    int n = vsnprintf(e->message, sizeof(e->message), format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(e->message))
        snprintf(e->message + n, sizeof(e->message) - (size_t)n, ": %.*s",
                 (int)(sizeof(e->message) - (size_t)n), old);
    return -e->code;
}

void err_clear(void)
{
    struct err *e = err_slot();
    e->code = 0;
    e->fault = FAULT_NONE;
    e->retry = RETRY_NO;
    e->errno_value = 0;
    e->message[0] = '\0';
}

const char *err_name(int code)
{
    static const char *const names[ERR_CODE_COUNT] = {
        [ERR_NONE] = "ok",
        [ERR_NOMEM] = "no_memory",
        [ERR_TIMEOUT] = "timeout",
        [ERR_CANCELED] = "canceled",
        [ERR_CLOSED] = "closed",
        [ERR_RESET] = "reset",
        [ERR_IO] = "io",
        [ERR_PROTOCOL] = "protocol",
        [ERR_LIMIT] = "limit",
        [ERR_DNS] = "dns",
        [ERR_CONNECT] = "connect",
        [ERR_TLS] = "tls",
        [ERR_FORBIDDEN] = "forbidden_address",
        [ERR_INVALID] = "invalid",
        [ERR_BUSY] = "busy",
    };
    if (code < 0)
        code = -code;
    return code < ERR_CODE_COUNT ? names[code] : "unknown";
}
