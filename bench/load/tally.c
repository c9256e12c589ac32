#include "tally.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

static const char *const fault_names[FAULT_KINDS] = {
    [FAULT_LOST] = "lost",       [FAULT_DOUBLED] = "doubled", [FAULT_REORDERED] = "reordered",
    [FAULT_FOREIGN] = "foreign", [FAULT_CORRUPT] = "corrupt", [FAULT_UNENDED] = "unended",
    [FAULT_FRAMING] = "framing", [FAULT_STATUS] = "status",   [FAULT_CONNECT] = "connect",
    [FAULT_RESET] = "reset",     [FAULT_TIMEOUT] = "timeout",
};

void tally_fault(struct tally *tally, enum fault kind, const char *format, ...)
{
    tally->faults[kind]++;
    if (tally->first_fault[0] != '\0')
        return;
    va_list arguments;
    va_start(arguments, format);
    int at = snprintf(tally->first_fault, sizeof(tally->first_fault), "%s: ", fault_names[kind]);
    vsnprintf(tally->first_fault + at, sizeof(tally->first_fault) - (size_t)at, format, arguments);
    va_end(arguments);
}

uint64_t tally_faults(const struct tally *tally)
{
    uint64_t sum = 0;
    for (int i = 0; i < FAULT_KINDS; i++)
        sum += tally->faults[i];
    return sum;
}

static void print_hist(const char *name, const struct hist *hist)
{
    static const struct {
        const char *name;
        double share;
    } shares[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    if (hist->count == 0)
        return;
    printf(",\"%s\":{\"count\":%" PRIu64 ",\"mean\":%.2f", name, hist->count,
           (double)hist->sum_ns / (double)hist->count / 1000);
    for (unsigned i = 0; i < sizeof(shares) / sizeof(shares[0]); i++)
        printf(",\"%s\":%.2f", shares[i].name, (double)hist_quantile(hist, shares[i].share) / 1000);
    printf(",\"max\":%.2f}", (double)hist->max_ns / 1000);
}

static void print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar((unsigned char)*text < ' ' || (unsigned char)*text > '~' ? '?' : *text);
    }
    putchar('"');
}

void tally_print(const struct tally *tally, const char *mode, double seconds)
{
    printf("{\"mode\":\"%s\",\"seconds\":%.6f,\"requests\":%" PRIu64 ",\"tokens\":%" PRIu64
           ",\"comments\":%" PRIu64 ",\"connects\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"errors\":%" PRIu64 ",\"faults\":{",
           mode, seconds, tally->requests, tally->tokens, tally->comments, tally->connects,
           tally->bytes, tally_faults(tally));
    for (int i = 0; i < FAULT_KINDS; i++)
        printf("%s\"%s\":%" PRIu64, i == 0 ? "" : ",", fault_names[i], tally->faults[i]);
    printf("},\"first_fault\":");
    print_text(tally->first_fault);
    print_hist("latency_us", &tally->latency);
    print_hist("ttft_us", &tally->ttft);
    print_hist("gap_us", &tally->gap);
    print_hist("transit_us", &tally->transit);
    print_hist("lateness_us", &tally->lateness);
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    printf(",\"own_cpu_s\":%.3f}\n",
           (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
               (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6);
    fflush(stdout);
}
