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

enum { CA, CERT, KEY, FILES };

struct entry {
    struct entry *next;
    bool insecure;
    char *files[FILES];                    /* NULL: not given */
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
        SSL_CTX_free(entry->context);
        free(entry);
    }
    free(store);
}

/* ---- Making a context ---- */

/* OpenSSL words a missing file as a failure of its own layers; the system knows better. */
static bool can_read(const char *what, const char *path, struct bailey_error *err)
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

static bool unusable(const char *what, const char *path, const char *hint, struct bailey_error *err)
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
        SSL_CTX_set_default_verify_paths(context);
        return true;
    }
    return can_read("CA certificates", path, err) &&
           (SSL_CTX_load_verify_file(context, path) == 1 ||
            unusable("CA certificates", path, "`ca` must be a PEM file with BEGIN CERTIFICATE in it.", err));
}

static bool load_identity(SSL_CTX *context, const char *cert, const char *key, struct bailey_error *err)
{
    if (!can_read("client certificate", cert, err))
        return false;
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
        return unusable("client certificate", cert, "`cert` must be a PEM file with BEGIN CERTIFICATE in it.", err);
    if (!can_read("client key", key, err))
        return false;
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1)
        return true;
    if (ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_X509)
        return unusable("client key", key, "It does not belong to the client certificate: `cert` and `key` are a pair.",
                        err);
    return unusable("client key", key, "`key` must be a PEM file with an unencrypted private key in it.", err);
}

/* An encrypted key would make OpenSSL ask at the terminal. */
static int no_password(char *buffer, int size, int writing, void *ctx)
{
    (void)buffer, (void)size, (void)writing, (void)ctx;
    return -1;
}

static SSL_CTX *make_context(const struct entry *entry, struct bailey_error *err)
{
    SSL_CTX *context;
    const char *cert = entry->files[CERT], *key = entry->files[KEY];

    ERR_clear_error();
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        abort(); /* out of memory */
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY); /* one record a call: tls.c counts what is no data */
    SSL_CTX_set_default_passwd_cb(context, no_password);
    SSL_CTX_set_verify(context, entry->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (load_authorities(context, entry->files[CA], err) &&
        (cert == NULL || load_identity(context, cert, key != NULL ? key : cert, err)))
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
           same(entry->files[CERT], options->cert) && same(entry->files[KEY], options->key);
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
