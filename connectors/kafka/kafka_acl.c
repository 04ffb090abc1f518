/* Denials in the words of kafka-acls.sh, so that they can be taken as they are. */
#include "kafka_acl.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "kafka_conf.h"

/* ---- Who we are ---- */

static bool certificate_subject(const char *file, char *out, size_t size)
{
    FILE *in = fopen(file, "re");
    X509 *certificate = in != NULL ? PEM_read_X509(in, NULL, NULL, NULL) : NULL;
    BIO *text = certificate != NULL ? BIO_new(BIO_s_mem()) : NULL;
    int len = -1;

    if (text != NULL &&
        X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0)
        len = BIO_read(text, out, (int)size - 1);
    out[len > 0 ? len : 0] = '\0';
    BIO_free(text);
    X509_free(certificate);
    if (in != NULL)
        fclose(in);
    return len > 0;
}

void kafka_principal(const struct kafka_broker_settings *settings, char *out, size_t size)
{
    char name[300] = "";

    if (settings->sasl_mechanism == KAFKA_SASL_OAUTHBEARER)
        snprintf(out, size, "User:%s", settings->oauth.client_id != NULL ? settings->oauth.client_id : "");
    else if (settings->sasl_mechanism != KAFKA_SASL_NONE &&
             bailey_credential_read(&settings->sasl_username, name, sizeof name, NULL))
        snprintf(out, size, "User:%s", name);
    else if (settings->tls.cert != NULL && certificate_subject(settings->tls.cert, name, sizeof name))
        snprintf(out, size, "User:%s", name);
    else
        snprintf(out, size, "User:ANONYMOUS");
}

/* ---- What we may not do ---- */

bool kafka_is_denial(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
}

const char *kafka_operation_name(rd_kafka_AclOperation_t operation)
{
    switch (operation) {
    case RD_KAFKA_ACL_OPERATION_READ:
        return "Read";
    case RD_KAFKA_ACL_OPERATION_WRITE:
        return "Write";
    case RD_KAFKA_ACL_OPERATION_CREATE:
        return "Create";
    case RD_KAFKA_ACL_OPERATION_DESCRIBE:
        return "Describe";
    case RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE:
        return "IdempotentWrite";
    default:
        return rd_kafka_AclOperation_name(operation);
    }
}

/* ---- The command ---- */

static bool is_plain(const char *word)
{
    return word[0] != '\0' &&
           word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=,@%+-")] == '\0';
}

/* A word of a shell's line: in quotes where it needs them. Returns bytes that it takes, as snprintf. */
static size_t add_word(char *out, size_t size, const char *word)
{
    size_t len = 0;

    if (is_plain(word))
        return (size_t)snprintf(out, size, " %s", word);
    len += (size_t)snprintf(out, size, " '");
    for (; *word != '\0' && len < size; word++)
        len += (size_t)snprintf(out + len, size - len, "%.*s", *word == '\'' ? 4 : 1, *word == '\'' ? "'\\''" : word);
    return len < size ? len + (size_t)snprintf(out + len, size - len, "'") : len;
}

void kafka_grant(const struct kafka_client *client, const struct kafka_need *need, char out[KAFKA_GRANT_MAX])
{
    static const char *const flags[] = {"--topic", "--group", "--cluster"};
    const char *words[] = {"--bootstrap-server",
                           client->servers[0],
                           "--add",
                           "--allow-principal",
                           client->principal,
                           "--operation",
                           kafka_operation_name(need->operation),
                           flags[need->resource],
                           need->resource == KAFKA_CLUSTER ? NULL : need->name};
    size_t len = (size_t)snprintf(out, KAFKA_GRANT_MAX, "kafka-acls.sh");

    for (size_t i = 0; i < sizeof words / sizeof *words && words[i] != NULL && len < KAFKA_GRANT_MAX; i++)
        len += add_word(out + len, KAFKA_GRANT_MAX - len, words[i]);
    if (len >= KAFKA_GRANT_MAX) /* half a command is worse than none */
        out[0] = '\0';
}

bool kafka_denied(struct bailey_error *err, const struct kafka_client *client, rd_kafka_resp_err_t code,
                  const struct kafka_need *need)
{
    static const char *const kinds[] = {"topic ", "group ", "the cluster"};
    char command[KAFKA_GRANT_MAX];

    bailey_fail_native(err, BAILEY_ERR_CONFIG, "kafka", code, "%.80s may not %s %s%.100s at broker %.40s",
                       client->principal, kafka_operation_name(need->operation), kinds[need->resource],
                       need->resource == KAFKA_CLUSTER ? "" : need->name, client->broker);
    kafka_grant(client, need, command);
    if (command[0] != '\0' && strlen(command) < sizeof err->hint)
        return bailey_hint(err, "%s", command);
    return bailey_hint(err, "`bailey check --connect` prints the command that allows it");
}
