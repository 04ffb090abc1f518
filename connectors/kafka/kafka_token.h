/* kafka_token.h: tokens for SASL OAUTHBEARER, by OIDC's client credentials (RFC 6749, 4.4), for all clients of a broker.
 *
 * librdkafka asks for a token when a client is made. One token serves all clients of the broker on this worker, is fetched over
 * the gateway's transport (bounded by TOKEN_MS, certificate and host name checked), and renewed for all when 75 % of its life are
 * over. If a new one cannot be had, clients that work go on and it is tried again; only a client
 * that has none yet, or must log in anew, fails. Worker's thread.
 */
#ifndef KAFKA_TOKEN_H
#define KAFKA_TOKEN_H

#include "kafka_client.h"

struct kafka_tokens;

struct kafka_tokens *kafka_tokens_new(struct kafka_broker *broker);
/* No client may wait any more. NULL is allowed. */
void kafka_tokens_free(struct kafka_tokens *tokens);

/* The client needs a token: now or later it gets one (rd_kafka_oauthbearer_set_token), and each one that follows, or
 * kafka_client_refuse(). */
void kafka_tokens_want(struct kafka_tokens *tokens, struct kafka_client *client);
/* The client goes. */
void kafka_tokens_forget(struct kafka_tokens *tokens, struct kafka_client *client);

/* The broker did not accept the token: the next client gets a new one. */
void kafka_tokens_drop(struct kafka_tokens *tokens);

#endif
