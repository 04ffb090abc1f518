/* The rules for connectors, for those that need no broker: memory, and generate, which is a source only. */
#include <ftw.h>
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

static char generate_source[256];
static const struct subject subjects[] = {
    {
        .name = "memory",
        .broker = "{ connector: memory }",
        .source = "queue: \"@\"",
        .sink = "queue: \"@\"",
        .lossy_source = "queue: \"@\", lose_after: 300, lose_times: 3",
        .lossy_sink = "queue: \"@\", lose_after: 300, lose_times: 3, delay: 2ms",
        .messages = 5000,
        .openings = 50,
    },
    {
        .name = "generate",
        .broker = "{ connector: generate }",
        .source = generate_source,
        .messages = 5000,
        .openings = 50,
    },
};
static char folder[] = "/tmp/bailey-conformance-XXXXXX";

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

int main(void)
{
    int failed;

    harness_begin();
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        return 1;
    }
    snprintf(generate_source, sizeof generate_source, "count: #, keys: 7, resume: %s/@.resume", folder);
    failed = conformance_run("conformance, without a broker", subjects, sizeof subjects / sizeof *subjects);
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return failed;
}
