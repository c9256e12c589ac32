/*
 * What the server's tests share: a loop on the test's thread, and clients that are plain sockets
 * and run between its turns.
 * The test's thread, not in a task.
 * Nothing here yields; what waits turns the loop.
 * A peer belongs to the test: peer_close.
 * Failures end the test; nothing waits longer than 20 s of real time.
 */
#ifndef WEIR_TESTS_UNIT_HTTP_SERVING_H
#define WEIR_TESTS_UNIT_HTTP_SERVING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/server.h"
#include "rt/loop.h"

/* What connections are served with; serving_begin sets times that no test waits for. */
extern struct http_server_settings serving;

/* Setup and teardown of a test: a loop, and the check that no connection, task or descriptor is
 * left. */
int serving_begin(void **state);
int serving_end(void **state);
void serving_turn(void);
void serving_turn_until(const bool *flag);
/* Turns until no connection of the server is left. */
void serving_turn_until_closed(void);
/* From now on time stands still unless it is moved. */
void serving_stop_clock(void);
/* Moves it, and lets the loop see it. */
void serving_pass_ms(int64_t ms);

struct peer {
    int fd;
    int server_fd; /* the other end; the server's */
    char *text;    /* what came, NUL-terminated */
    size_t len, cap;
    bool is_closed; /* by the server, in order or not */
    bool is_reset;
    bool is_paused; /* reads nothing */
};

/* A TCP connection on 127.0.0.1, served by handler(r, ctx). */
struct peer peer_open(http_handler_fn *handler, void *ctx);
/* Sends all of it, the loop turning where the socket is full. Stops where the server cut it off. */
void peer_send(struct peer *p, struct str bytes);
void peer_send_text(struct peer *p, const char *text);
/* Takes in what is there. */
void peer_pump(struct peer *p);
/* Waits until so much or more has come, or the end. */
void peer_wait_len(struct peer *p, size_t len);
void peer_wait_text(struct peer *p, const char *text);
void peer_wait_closed(struct peer *p);
/* Waits for the text and compares: exactly that much must come. Dates are written "-". */
void peer_expect(struct peer *p, const char *text);
/* The same, and then the orderly end of the connection. */
void peer_expect_and_close(struct peer *p, const char *text);
/* Ends the sending side. */
void peer_shut(struct peer *p);
/* Closes; nothing that was not looked at may be left. */
void peer_close(struct peer *p);
/* Closes with RST, whatever is left. */
void peer_reset(struct peer *p);

/* Handlers. */
void handle_hello(struct http_request *r, void *ctx); /* "hello", text/plain */
void handle_echo(struct http_request *r, void *ctx);  /* path, a space, and the body */

#define HELLO \
    "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
#define HELLO_CLOSE                                                                   \
    "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n" \
    "Connection: close\r\n\r\nhello"
#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

#endif
