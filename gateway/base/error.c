/* base/error.c: fills the caller's struct bailey_error; texts that are too long are cut. */
#include <bailey/error.h>

#include <stdio.h>
#include <string.h>

static void fill(struct bailey_error *err, enum bailey_error_kind kind, const char *domain, int native, const char *fmt,
                 va_list args)
{
    char text[sizeof err->text]; /* the arguments may point into `err` itself */

    vsnprintf(text, sizeof text, fmt, args);
    err->kind = kind;
    err->native = native;
    err->domain = domain;
    memcpy(err->text, text, sizeof text);
    err->hint[0] = '\0';
}

bool bailey_fail(struct bailey_error *err, enum bailey_error_kind kind, const char *fmt, ...)
{
    va_list args;

    if (err == NULL)
        return false;
    va_start(args, fmt);
    fill(err, kind, NULL, 0, fmt, args);
    va_end(args);
    return false;
}

bool bailey_fail_native(struct bailey_error *err, enum bailey_error_kind kind, const char *domain, int native,
                        const char *fmt, ...)
{
    va_list args;

    if (err == NULL)
        return false;
    va_start(args, fmt);
    fill(err, kind, domain, native, fmt, args);
    va_end(args);
    return false;
}

bool bailey_hint(struct bailey_error *err, const char *fmt, ...)
{
    char hint[sizeof err->hint];
    va_list args;

    if (err == NULL)
        return false;
    va_start(args, fmt);
    vsnprintf(hint, sizeof hint, fmt, args);
    va_end(args);
    memcpy(err->hint, hint, sizeof hint);
    return false;
}

const char *bailey_error_kind_name(enum bailey_error_kind kind)
{
    switch (kind) {
    case BAILEY_ERR_NONE:
        return "none";
    case BAILEY_ERR_TRANSIENT:
        return "transient";
    case BAILEY_ERR_PERMANENT:
        return "permanent";
    case BAILEY_ERR_CONFIG:
        return "configuration";
    case BAILEY_ERR_UNROUTABLE:
        return "unroutable";
    case BAILEY_ERR_KINDS:
        break;
    }
    return "none";
}
