/*
 * The simulated provider: a deterministic model API in this process, spoken to over a socket pair
 * through the same HTTP client and server as any other.
 * Loop threads only. sim_serve starts a task and returns.
 * The handler yields.
 * It owns its connections.
 * Every answer says that it is simulated (header x-weir-simulated, system_fingerprint, model).
 */
#ifndef WEIR_PROVIDER_SIM_H
#define WEIR_PROVIDER_SIM_H

/* http_in_process_fn: serves the OpenAI dialect on fd. */
void sim_serve(int fd, void *ctx);

#endif
