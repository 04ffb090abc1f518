/* bailey/option.h: option tables, the only place where an option exists.
 *
 * Parser, validation, `bailey connectors NAME`, docs/options.md and conf/bailey.schema.json all read these rows.
 * The gateway fills a settings struct from them; it lives until the endpoint or broker is closed, and is read-only.
 */
#ifndef BAILEY_OPTION_H
#define BAILEY_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>
#include <bailey/message.h>

/* Type, and the C type of the settings member that it fills. */
enum bailey_option_type {
    BAILEY_OPT_STRING = 1, /* const char *; NULL when absent and without initial */
    BAILEY_OPT_INT,        /* int64_t; accepts counts with k (1,000) and M (1,000,000) */
    BAILEY_OPT_BOOL,       /* bool; true, false */
    BAILEY_OPT_DURATION,   /* int64_t milliseconds; accepts ms s m h d */
    BAILEY_OPT_SIZE,       /* int64_t bytes; accepts B KiB MiB GiB, and a bare number */
    BAILEY_OPT_ENUM,       /* int: index into `choices` */
    BAILEY_OPT_LIST,       /* struct bailey_list; a scalar counts as a list of one */
    BAILEY_OPT_MAP,        /* struct bailey_map: names of their own, scalar values */
    BAILEY_OPT_TEMPLATE,   /* const struct bailey_template *; NULL when absent and without initial. Sink options only */
    BAILEY_OPT_GROUP,      /* a nested mapping: its rows are `children`, their offsets count from the same settings */
    BAILEY_OPT_DECLARE,    /* int: enum bailey_declare; arguments of `create` are `children`, same settings */
    BAILEY_OPT_CREDENTIAL, /* struct bailey_credential: a text as STRING, that `!file PATH` renews while Bailey runs */
};

enum bailey_option_flags {
    BAILEY_OPT_REQUIRED = 1u << 0,
    BAILEY_OPT_SECRET = 1u << 1,   /* never printed; for an URL: its password is never printed */
    BAILEY_OPT_URL = 1u << 2,      /* an URL whose userinfo may hold a password: printed with the password masked */
    BAILEY_OPT_ADVANCED = 1u << 3, /* listed last */
    BAILEY_OPT_PATH = 1u << 4, /* STRING: a file; what is given relative is made absolute from the YAML file's folder */
};

struct bailey_list {
    const char *const *items;
    size_t count;
};

/* A user name, password or token. With `!file PATH` the file is read again for each new connection, so that a secret is
 * rotated without a restart: not `value` is used to log in, but what bailey_credential_read() gives. */
struct bailey_credential {
    const char *value; /* as the configuration was read; NULL when absent and without initial */
    const char *file;  /* absolute path of the !file; NULL: it came from no file */
};

/* Any thread; reads a small local file. What the credential is now: the file's content without one newline at its end, or
 * `value` ("" when absent), into `text` of `size` bytes, ended by a zero byte. False with `err`, which names the file, if
 * that is missing, or not shorter than `size`. The caller wipes `text` (explicit_bzero) after use. */
bool bailey_credential_read(const struct bailey_credential *credential, char *text, size_t size,
                            struct bailey_error *err);

/* What tells one version of a file from another. Zero it to begin. */
struct bailey_stamp {
    uint64_t device, inode; /* private */
    int64_t size, changed_ns, modified_ns;
};

/* Any thread; one stat(2). True if the credential's file is another than at the last call with this stamp (also at the
 * first call, if it is there). False for what came from no file. For protocols that can renew a log-in at work. */
bool bailey_credential_changed(const struct bailey_credential *credential, struct bailey_stamp *stamp);

struct bailey_map {
    const struct bailey_map_entry {
        const char *name;
        const char *value;
    } * entries;
    size_t count;
};

/* What to do about a queue, exchange or topic that an end names. */
enum bailey_declare {
    BAILEY_DECLARE_ASSERT, /* default: what does not exist is a clear error at start */
    BAILEY_DECLARE_NEVER,  /* do not look */
    BAILEY_DECLARE_CREATE, /* create it if it does not exist, with the arguments in `children` */
};

/* A text with ${...} of the message. With slot < 0 it is `constant`; else the core computes it for each delivery, and
 * bailey_delivery_text() reads it. */
struct bailey_template {
    struct bailey_bytes constant;
    int slot;
};

struct bailey_option {
    const char *name; /* NULL ends the table */
    enum bailey_option_type type;
    unsigned flags;             /* enum bailey_option_flags */
    size_t offset;              /* offsetof() in the settings struct */
    const char *initial;        /* default as one would write it in YAML; NULL = zero/absent */
    const char *initial_text;   /* how help words a computed default ("credit.messages"); NULL = `initial` */
    int64_t min, max;           /* INT, DURATION (ms), SIZE (bytes): range if max > 0; STRING, CREDENTIAL: length */
    const char *const *choices; /* ENUM: names, ends with NULL */
    const struct bailey_option *children; /* GROUP, DECLARE: ends with {0} */
    const char *unit;                     /* INT: what is counted, "messages" */
    const char *summary;                  /* one sentence, ends with a full stop */
};

#endif
