/* fuzz_yaml.c: any bytes as a configuration: reader, environment, option tables, checks.
 *
 * Whatever comes: a configuration or at least one error, and every error line names the file.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "fake_connector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_counts counts = {0};
    struct text report = {0};
    struct config *config = config_load_text((const char *)data, size, "f.yaml", fake_find, &report, &counts);

    if ((config == NULL) != (counts.errors > 0))
        abort();
    if (config == NULL && (report.data == NULL || strncmp(report.data, "f.yaml:", 7) != 0))
        abort();
    for (size_t i = 0; i < report.len; i++)
        if ((unsigned char)report.data[i] < 0x20 && report.data[i] != '\n')
            abort(); /* nothing of the input may steer a terminal */
    config_free(config);
    text_free(&report);
    return 0;
}
