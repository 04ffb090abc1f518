/* User and password, and the one frame that tells a broker of a new password. */
#include "login.h"

#include <string.h>

#include "frame.h"
#include "url.h"
#include "wire.h"

static bool is_given(const struct bailey_credential *credential)
{
    return credential->value != NULL || credential->file != NULL;
}

bool amq_login_read(const struct amq_broker_settings *settings, size_t url, struct amq_login *login,
                    struct bailey_error *err)
{
    struct amq_url parsed;
    bool good = amq_url_parse(settings->urls.items[url], &parsed, err);

    if (good) {
        memcpy(login->user, parsed.user, sizeof parsed.user);
        memcpy(login->password, parsed.password, sizeof parsed.password);
    }
    amq_url_wipe(&parsed);
    good = good && (!is_given(&settings->username) ||
                    bailey_credential_read(&settings->username, login->user, sizeof login->user, err));
    good = good && (!is_given(&settings->password) ||
                    bailey_credential_read(&settings->password, login->password, sizeof login->password, err));
    if (!good)
        amq_login_wipe(login);
    return good;
}

void amq_login_wipe(struct amq_login *login)
{
    explicit_bzero(login, sizeof *login);
}

size_t amq_update_secret_frame(uint8_t *out, size_t size, struct bailey_bytes secret, struct bailey_bytes reason)
{
    struct amq_writer w = {.at = out, .end = out + size};
    uint8_t *head = amq_write_space(&w, AMQ_FRAME_HEAD);

    amq_write_uint(&w, 4, AMQ_UPDATE_SECRET);
    amq_write_longstr(&w, secret);
    amq_write_shortstr(&w, reason);
    amq_write_uint(&w, 1, AMQ_FRAME_END);
    if (w.full)
        return 0;
    amq_frame_head(head, AMQ_FRAME_METHOD, 0, (uint32_t)(w.at - out) - AMQ_FRAME_OVERHEAD);
    return (size_t)(w.at - out);
}
