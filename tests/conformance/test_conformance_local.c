/* The rules for connectors, for those that need no broker: memory, and generate, which is a source only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance.h"
#include "harness.h"

static const struct subject memory_subject = {
    .name = "memory",
    .broker = "{ connector: memory }",
    .source = "queue: \"@\"",
    .sink = "queue: \"@\"",
    .lossy_source = "queue: \"@\", lose_after: 300, lose_times: 3",
    .lossy_sink = "queue: \"@\", lose_after: 300, lose_times: 3, delay: 2ms",
    .messages = 5000,
    .openings = 50,
};

int main(void)
{
    harness_begin();
    return conformance_run("conformance, without a broker", &memory_subject, 1);
}
