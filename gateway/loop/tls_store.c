/* A context is what costs: the system's authorities alone are some hundred certificates. It is never changed: when a file is
 * another than the one it was made of, a new context takes its place, and what is connected keeps the old one. */
#include "loop/tls_store.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bailey/log.h>

#include "base/file.h"

enum { CA, CERT, KEY, PASSWORD, FILES };

struct entry {
    struct entry *next;
    bool insecure;
    char *files[FILES];                    /* NULL: not given */
    char *password;                        /* of the key, if it came from no file; or NULL */
    struct bailey_stamp stamps[FILES + 1]; /* the last: the system's folder */
    SSL_CTX *context;                      /* NULL: could not be made */
};

struct tls_store {
    struct entry *entries;
};

struct tls_store *tls_store_new(void)
{
    struct tls_store *store = calloc(1, sizeof *store);

    if (store == NULL)
        abort();
    return store;
}

void tls_store_free(struct tls_store *store)
{
    struct entry *entry, *next;

    if (store == NULL)
        return;
    for (entry = store->entries; entry != NULL; entry = next) {
        next = entry->next;
        for (int i = 0; i < FILES; i++)
            free(entry->files[i]);
        if (entry->password != NULL)
            explicit_bzero(entry->password, strlen(entry->password));
        free(entry->password);
        SSL_CTX_free(entry->context);
        free(entry);
    }
    free(store);
}

/* ---- Making a context ---- */

bool tls_file_readable(const char *what, const char *path, struct bailey_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd >= 0) {
        close(fd);
        return true;
    }
    bailey_fail_native(err, BAILEY_ERR_CONFIG, "errno", errno, "cannot read the %s %.150s: %s", what, path,
                       strerror(errno));
    return bailey_hint(err, "Check the path, and that the file may be read by the user that Bailey runs as.");
}

bool tls_file_unusable(const char *what, const char *path, const char *hint, struct bailey_error *err)
{
    unsigned long code = ERR_peek_error(); /* the oldest: the cause */
    const char *reason = ERR_reason_error_string(code);

    bailey_fail_native(err, BAILEY_ERR_CONFIG, "openssl", (int)ERR_GET_REASON(code), "cannot use the %s %.150s: %s",
                       what, path, reason != NULL ? reason : "unknown error");
    return bailey_hint(err, "%s", hint);
}

static bool load_authorities(SSL_CTX *context, const char *path, struct bailey_error *err)
{
    if (path == NULL) {
        SSL_CTX_set_default_verify_paths(context); /* where there are none, nobody is trusted */
        return true;
    }
    return tls_file_readable("CA certificates", path, err) &&
           (SSL_CTX_load_verify_file(context, path) == 1 ||
            tls_file_unusable("CA certificates", path, "`ca` must be a PEM file with BEGIN CERTIFICATE in it.", err));
}

static bool load_certificate(SSL_CTX *context, const char *path, struct bailey_error *err)
{
    return tls_file_readable("client certificate", path, err) &&
           (SSL_CTX_use_certificate_chain_file(context, path) == 1 ||
            tls_file_unusable("client certificate", path, "`cert` must be a PEM file with BEGIN CERTIFICATE in it.",
                              err));
}

static bool load_key(SSL_CTX *context, const char *path, const struct bailey_credential *password,
                     struct bailey_error *err)
{
    EVP_PKEY *key = tls_key_read(path, password, err);
    bool fits;

    if (key == NULL)
        return false;
    fits = SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    return fits || tls_file_unusable("client key", path,
                                     "It does not belong to the client certificate: `cert` and `key` are a pair.", err);
}

static SSL_CTX *make_context(const struct entry *entry, struct bailey_error *err)
{
    SSL_CTX *context;
    const struct bailey_credential password = {entry->password, entry->files[PASSWORD]};
    const char *cert = entry->files[CERT], *key = entry->files[KEY];

    ERR_clear_error();
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        abort(); /* out of memory */
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY); /* one record a call: tls.c counts what is no data */
    SSL_CTX_set_verify(context, entry->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (load_authorities(context, entry->files[CA], err) &&
        (cert == NULL ||
         (load_certificate(context, cert, err) && load_key(context, key != NULL ? key : cert, &password, err))))
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* ---- Finding one ---- */

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool serves(const struct entry *entry, const struct bailey_tls *options)
{
    return entry->insecure == options->insecure && same(entry->files[CA], options->ca) &&
           same(entry->files[CERT], options->cert) && same(entry->files[KEY], options->key) &&
           same(entry->files[PASSWORD], options->key_password.file) &&
           (options->key_password.file != NULL || same(entry->password, options->key_password.value));
}

static char *copy_of(const char *str)
{
    char *copy = str != NULL ? strdup(str) : NULL;

    if (str != NULL && copy == NULL)
        abort();
    return copy;
}

static struct entry *add_entry(struct tls_store *store, const struct bailey_tls *options)
{
    struct entry *entry = calloc(1, sizeof *entry);

    if (entry == NULL)
        abort();
    entry->insecure = options->insecure;
    entry->files[CA] = copy_of(options->ca);
    entry->files[CERT] = copy_of(options->cert);
    entry->files[KEY] = copy_of(options->key);
    entry->files[PASSWORD] = copy_of(options->key_password.file);
    if (options->key_password.file == NULL)
        entry->password = copy_of(options->key_password.value);
    entry->next = store->entries;
    return store->entries = entry;
}

/* Of the files, or of the system's authorities, which are a file, a folder, or both. */
static bool files_changed(struct entry *entry)
{
    bool changed = false;

    for (int i = 0; i < FILES; i++)
        if (entry->files[i] != NULL)
            changed = file_changed(entry->files[i], &entry->stamps[i]) || changed;
    if (entry->files[CA] == NULL) {
        changed = file_changed(X509_get_default_cert_file(), &entry->stamps[CA]) || changed;
        changed = file_changed(X509_get_default_cert_dir(), &entry->stamps[FILES]) || changed;
    }
    return changed;
}

SSL_CTX *tls_store_context(struct tls_store *store, const struct bailey_tls *options, struct bailey_error *err)
{
    struct entry *entry = store->entries;
    SSL_CTX *context;

    while (entry != NULL && !serves(entry, options))
        entry = entry->next;
    if (entry == NULL)
        entry = add_entry(store, options);
    if (!files_changed(entry) &&
        entry->context != NULL) /* the stamps first: a change while reading is seen next time */
        return entry->context;
    context = make_context(entry, err);
    SSL_CTX_free(entry->context);
    return entry->context = context;
}

/* ---- Unverified peers ---- */

struct warned {
    struct warned *next;
    char what[];
};

void tls_warn_insecure(const char *broker, const char *address)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct warned *all; /* as many as the configuration has */
    char what[512];
    struct warned *seen;

    snprintf(what, sizeof what, "%s %s", broker != NULL ? broker : "", address);
    pthread_mutex_lock(&lock);
    for (seen = all; seen != NULL && strcmp(seen->what, what) != 0;)
        seen = seen->next;
    if (seen == NULL) {
        struct warned *added = malloc(sizeof *added + strlen(what) + 1);

        if (added == NULL)
            abort();
        memcpy(added->what, what, strlen(what) + 1);
        added->next = all;
        all = added;
    }
    pthread_mutex_unlock(&lock);
    if (seen == NULL)
        bailey_log(BAILEY_LOG_WARN, "tls.not_verified", kv_str("broker", broker), kv_str("address", address),
                   kv_str("hint", "verify: false lets anybody in between read and change all messages"));
}
