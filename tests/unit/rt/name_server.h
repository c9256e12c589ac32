/*
 * A small DNS server on 127.0.0.1, UDP and TCP, on a thread of its own.
 * name_server_start/stop by the test; the counters are read from any thread.
 * Nothing yields.
 * The struct is the caller's.
 * Failures end the test program.
 *
 * What it answers follows from the first label of the name:
 *   v4       A 192.0.2.1                         both     A 192.0.2.2 and AAAA 2001:db8::2
 *   v6       AAAA 2001:db8::1                    many     12 A records, over TCP only
 *   fails    SERVFAIL                            silent   nothing
 * and no such name for all others. TTL is 60 s.
 */
#ifndef WEIR_TESTS_UNIT_RT_NAME_SERVER_H
#define WEIR_TESTS_UNIT_RT_NAME_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

struct name_server {
    int udp, tcp, stop_pipe[2];
    pthread_t thread;
    char csv[32]; /* "127.0.0.1:PORT" */
    atomic_uint queries, tcp_queries;
};

void name_server_start(struct name_server *server);
void name_server_stop(struct name_server *server);

#endif
