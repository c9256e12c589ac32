/*
 * The bytes of a recorded AWS event stream.
 * Any thread; nothing yields.
 * The caller owns the buf.
 * A recording whose base64 is wrong fails the test.
 */
#ifndef WEIR_TESTS_EVENT_STREAM_RECORDING_H
#define WEIR_TESTS_EVENT_STREAM_RECORDING_H

#include "base/buf.h"
#include "recordings.h"

/* Appends them; false when the recording is none of an event stream. */
bool event_stream_recording(const struct recording *recording, struct buf *out);

#endif
