/* Private keys of PEM files. OpenSSL itself would ask for a password at the terminal. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "loop/tls_store.h"

enum { PASSWORD_MAX = 1024 }; /* OpenSSL's PEM_BUFSIZE */

struct answer {
    char password[PASSWORD_MAX];
    bool asked; /* the key is encrypted */
};

static int on_asked(char *buffer, int size, int writing, void *ctx)
{
    struct answer *answer = ctx;
    size_t len = strlen(answer->password);

    (void)writing;
    answer->asked = true;
    if (len == 0 || len > (size_t)size)
        return -1;
    memcpy(buffer, answer->password, len);
    return (int)len;
}

static bool fail_key(const char *path, const struct answer *answer, struct bailey_error *err)
{
    const char *reason = answer->password[0] == '\0' ? "it is encrypted" : "the password does not open it";

    if (!answer->asked)
        return tls_file_unusable("client key", path, "`key` must be a PEM file with a private key in it.", err);
    bailey_fail(err, BAILEY_ERR_CONFIG, "cannot use the client key %.150s: %s", path, reason);
    return bailey_hint(err, "Give its password as `key_password` (a !file keeps it out of the configuration), or a "
                            "key without one: openssl pkey -in KEY -out NEW");
}

EVP_PKEY *tls_key_read(const char *path, const struct bailey_credential *password, struct bailey_error *err)
{
    struct answer answer = {0};
    EVP_PKEY *key = NULL;
    BIO *file;

    if (!bailey_credential_read(password, answer.password, sizeof answer.password, err) ||
        !tls_file_readable("client key", path, err))
        return NULL;
    ERR_clear_error();
    file = BIO_new_file(path, "r");
    if (file != NULL)
        key = PEM_read_bio_PrivateKey(file, NULL, on_asked, &answer);
    BIO_free(file);
    if (key == NULL)
        fail_key(path, &answer, err);
    explicit_bzero(answer.password, sizeof answer.password);
    return key;
}

bool tls_key_usable(const char *path, const struct bailey_credential *password, struct bailey_error *err)
{
    EVP_PKEY *key = tls_key_read(path, password, err);

    EVP_PKEY_free(key);
    return key != NULL;
}
