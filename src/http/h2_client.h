/*
 * An upstream's HTTP/2 connection, shared by calls: streams, credit, liveness, GOAWAY.
 * Only the loop thread. The connection has no task: it is moved by the poller's news, by a job, and
 * by the calls themselves.
 * What is tagged YIELDS waits for the upstream, in the call's task.
 * The client belongs to its http_conn; a call's stream to the call.
 * As in client.h: -ERR_RESET with the error's retry set where nothing was processed.
 */
#ifndef WEIR_HTTP_H2_CLIENT_H
#define WEIR_HTTP_H2_CLIENT_H

#include "http/h2_pump.h"
#include "http/pool.h"

/* Speaks HTTP/2 on a connection that was just opened: conn->h2 is set. */
int h2_client_open(struct http_conn *conn);
/* True when it takes one more call. */
bool h2_client_has_room(const struct h2_client *client);
/* False when it has ended, or is ending, for calls to come. */
bool h2_client_is_open(const struct h2_client *client);
/* Says goodbye as far as the socket takes it at once, and frees it. No call is on it. */
void h2_client_close(struct h2_client *client);

/* The call has its connection: sends the request. As http_call_start. */
YIELDS int h2_call_start(struct http_call *call);
/* As http_call_head, for one try. */
YIELDS int h2_call_head(struct http_call *call);
/* As http_call_send. */
YIELDS int h2_call_send(struct http_call *call, const struct iovec *iov, int count, bool is_last);
/* True when the call failed before the upstream looked at it. */
bool h2_call_was_refused(const struct http_call *call);
/* True when it failed because its connection ended, and not the stream alone. */
bool h2_call_lost_connection(const struct http_call *call);
/* As http_call_read, once: bytes or the end. */
YIELDS int h2_call_read(struct http_call *call, struct http_pieces *pieces, int64_t deadline_ns,
                        bool *hit_deadline);
/* Gives the stream up, or back. */
void h2_call_end(struct http_call *call);

#endif
