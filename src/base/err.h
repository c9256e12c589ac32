/*
 * Errors: a small negative code as the return value, and the story in the current error slot.
 * Any thread; a task has its own slot (the task switch sets err_slot), threads without tasks have
 * a thread-local one. Nothing yields.
 * The slot owns its text (a fixed array): the last err_set wins, err_wrap keeps what was before.
 * An error says what failed, whose fault it is and whether it may be retried.
 */
#ifndef WEIR_BASE_ERR_H
#define WEIR_BASE_ERR_H

#include <stdbool.h>

#include "base/defs.h"

/* Functions return 0 or more on success and -ERR_x on failure. */
enum err_code {
    ERR_NONE = 0,
    ERR_NOMEM,     /* no memory, or an internal table is full */
    ERR_TIMEOUT,   /* a deadline passed */
    ERR_CANCELED,  /* the task was cancelled: see task_cancel_reason */
    ERR_CLOSED,    /* the peer ended the stream in order (EOF) */
    ERR_RESET,     /* the peer broke the connection (RST, EPIPE) */
    ERR_IO,        /* another system error: see errno_value */
    ERR_PROTOCOL,  /* the peer's bytes break its protocol */
    ERR_LIMIT,     /* a configured limit was reached */
    ERR_DNS,       /* the name could not be resolved */
    ERR_CONNECT,   /* no address of the host could be connected to */
    ERR_TLS,       /* handshake or certificate */
    ERR_FORBIDDEN, /* the dial guard refused the address */
    ERR_INVALID,   /* input that the caller must mend */
    ERR_BUSY,      /* a bounded queue is full */
    ERR_CODE_COUNT
};

enum err_fault { FAULT_NONE, FAULT_CLIENT, FAULT_GATEWAY, FAULT_UPSTREAM };

enum err_retry {
    RETRY_NO,
    RETRY_YES,
    RETRY_IF_REUSED /* only when it happened on a reused connection before the first byte */
};

struct err {
    int code; /* enum err_code, positive */
    enum err_fault fault;
    enum err_retry retry;
    int errno_value;
    char message[256];
};

/* The slot of the running task, or of the thread where no task runs. Never NULL. */
struct err *err_slot(void);
/* Used by the task switch only; NULL restores the thread's own slot. */
void err_slot_use(struct err *slot);

/* Sets code, fault and message in the slot, retry = RETRY_NO; returns -code. */
int err_set(enum err_code code, enum err_fault fault, const char *format, ...) PRINTF_LIKE(3, 4);
/* As err_set for a failed system call: keeps errno and adds its text. */
int err_set_errno(enum err_code code, enum err_fault fault, const char *what);
/* Puts "prefix: " before the message that is there; returns -code of the slot. */
int err_wrap(const char *format, ...) PRINTF_LIKE(1, 2);
void err_clear(void);

/* "timeout", "canceled", ... for logs and metric labels. */
const char *err_name(int code);

#endif
