/* Exponential back-off with jitter: the same for reconnects and for refused messages. */
#include <bailey/host.h>

int64_t bailey_backoff_next(struct bailey_host *host, struct bailey_backoff *backoff, int64_t min_ms, int64_t max_ms)
{
    int64_t delay_ms = min_ms;

    for (unsigned i = 0; i < backoff->failures && delay_ms < max_ms; i++)
        delay_ms *= 2;
    if (delay_ms > max_ms)
        delay_ms = max_ms;
    backoff->failures++;
    return delay_ms * (80 + (int64_t)(bailey_random(host) % 41)) / 100;
}
