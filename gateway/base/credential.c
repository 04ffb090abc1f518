/* base/credential.c: options that are read anew when a connection is made (bailey/option.h). The value that was read with the
 * configuration serves where the option is no !file; else it only proved that the file was there. */
#include <assert.h>
#include <string.h>

#include <bailey/option.h>

#include "base/file.h"

static bool copy_value(const char *value, char *text, size_t size, struct bailey_error *err)
{
    size_t len = value == NULL ? 0 : strlen(value);

    text[0] = '\0';
    if (len >= size)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "a secret is longer than %zu bytes", size - 1);
    if (len > 0)
        memcpy(text, value, len + 1);
    return true;
}

bool bailey_credential_read(const struct bailey_credential *credential, char *text, size_t size,
                            struct bailey_error *err)
{
    const char *reason = "it is too long";
    size_t len;

    assert(size > 0);
    if (credential->file == NULL)
        return copy_value(credential->value, text, size, err);
    if (file_read_text(credential->file, text, size, &len, &reason) == FILE_OK)
        return true;
    text[0] = '\0';
    bailey_fail(err, BAILEY_ERR_CONFIG, "cannot read !file %.160s: %s", credential->file, reason);
    return bailey_hint(err, "It could be read at the start; the next attempt reads it again.");
}

bool bailey_credential_changed(const struct bailey_credential *credential, struct bailey_stamp *stamp)
{
    return credential->file != NULL && file_changed(credential->file, stamp);
}
