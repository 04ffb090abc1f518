/* The log goes into a file without a name. */
#include "log_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static FILE *file;

void log_rig_begin(void)
{
    file = tmpfile();
    if (file == NULL)
        abort();
    log_set_fd(fileno(file));
}

int log_rig_count(const char *text)
{
    char line[LOG_LINE_MAX];
    int count = 0;

    rewind(file);
    while (fgets(line, sizeof line, file) != NULL)
        count += strstr(line, text) != NULL;
    return count;
}

void log_rig_end(void)
{
    log_set_fd(STDERR_FILENO);
    fclose(file);
}
