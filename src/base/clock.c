#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static _Thread_local bool is_fake;
static _Thread_local int64_t fake_mono_ns;
static _Thread_local int64_t fake_wall_ns;

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

int64_t clock_mono_ns(void)
{
    return UNLIKELY(is_fake) ? fake_mono_ns : read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(void)
{
    return UNLIKELY(is_fake) ? fake_wall_ns : read_clock(CLOCK_REALTIME);
}

int64_t clock_add_ns(int64_t now_ns, int64_t delta_ns)
{
    int64_t sum;
    return __builtin_add_overflow(now_ns, delta_ns, &sum) ? CLOCK_NEVER : sum;
}

void clock_fake(int64_t mono_ns, int64_t wall_ns)
{
    is_fake = true;
    fake_mono_ns = mono_ns;
    fake_wall_ns = wall_ns;
}

void clock_fake_advance(int64_t delta_ns)
{
    fake_mono_ns += delta_ns;
    fake_wall_ns += delta_ns;
}

void clock_real(void)
{
    is_fake = false;
}

void clock_format_iso(int64_t wall_ns, char out[CLOCK_ISO_LEN + 1])
{
    time_t secs = (time_t)(wall_ns / NS_PER_SEC);
    unsigned ms = (unsigned)(wall_ns % NS_PER_SEC / NS_PER_MS) % 1000u;
    struct tm tm;
    gmtime_r(&secs, &tm);
    char text[64];
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
    memcpy(out, text, CLOCK_ISO_LEN);
    out[CLOCK_ISO_LEN] = '\0';
}

void clock_format_http(int64_t wall_ns, char out[CLOCK_HTTP_LEN + 1])
{
    /* Not strftime: day and month names must not follow the locale. */
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t secs = (time_t)(wall_ns / NS_PER_SEC);
    struct tm tm;
    gmtime_r(&secs, &tm);
    char text[64];
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7],
             tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
    memcpy(out, text, CLOCK_HTTP_LEN);
    out[CLOCK_HTTP_LEN] = '\0';
}
