/* bailey/connector.h: the connector's descriptor and entry point.
 *
 * A connector is a shared object NAME.so that exports bailey_connector_entry(). It sees nothing else of the gateway than
 * include/bailey. Strings and tables of the descriptor are static.
 *
 * Life of an endpoint, all on its worker's thread, each callback returning at once:
 *
 *     open ──→ bailey_up ⇄ bailey_held ──→ [drain → bailey_drained] ──→ close ──→ bailey_closed
 *                  └─────── bailey_down ─────────────────────────────────↗         (the gateway opens it anew later)
 *
 * A source pushes (bailey_receive) while bailey_room() > 0 and is told of each message once how it ended (settle).
 * A sink takes deliveries (send) and gives one verdict for each (bailey_confirm, bailey_refuse, bailey_hand_back).
 *
 * ABI diary: 1.0 first version. 1.1 bailey_connector.probe, bailey_transport_pin, url.h. 1.2 bailey_delivery.id,
 * bailey_port.dedup_scope, struct bailey_marks. 1.3 bailey_connector.shelf and .keeps_order, bailey_delivery.deliver_at_ms,
 * bailey_port.order and .only_looks, BAILEY_ERR_UNROUTABLE, bailey_not_removed, BAILEY_DELAYS, BAILEY_COMMITS_POSITIONS, told.h; bailey_source.browse and .remove are gone (they were
 * reserved), and so is BAILEY_KEEPS_ORDER_ON_REFUSAL (no broker does). Append only; a new field raises the minor number, a new meaning the major.
 */
#ifndef BAILEY_CONNECTOR_H
#define BAILEY_CONNECTOR_H

#include <bailey/delivery.h>
#include <bailey/error.h>
#include <bailey/host.h>
#include <bailey/log.h>
#include <bailey/message.h>
#include <bailey/option.h>

enum { BAILEY_ABI_MAJOR = 1, BAILEY_ABI_MINOR = 3 };

enum bailey_traits {
    /* Bit 0 meant something until 1.3, and is ignored. */
    BAILEY_HAS_POSITIONS = 1u << 1, /* source: ${source.position} names a message for ever */
    BAILEY_DELAYS = 1u << 2,        /* 1.3: sink: its broker can hold a message until deliver_at_ms */
    /* 1.3: source: what is done is told as a position, before which all is: so any number of messages may be unsettled behind an
     * older one, and are given again if this process dies before that one is settled. */
    BAILEY_COMMITS_POSITIONS = 1u << 3,
};

enum bailey_role { BAILEY_SOURCE, BAILEY_SINK };

/* A broker-side transaction; reserved for exactly-once routes. */
struct bailey_transaction;

struct bailey_source {
    size_t settings_size;
    const struct bailey_option *options; /* of `from:`, ends with {0} */

    /* Create a source and begin to connect; settings and port live until bailey_closed(). On failure nothing is kept. */
    bool (*open)(void **self, void *broker, const void *settings, struct bailey_port *port, struct bailey_error *err);

    /* There is room again after bailey_room() had been 0. */
    void (*resume)(void *self);

    /* These ended. Positions of a group the source no longer knows are ignored by it. */
    void (*settle)(void *self, const struct bailey_settlement *ended, size_t count);

    /* Stop receiving; then bailey_drained(). Settlements still come. */
    void (*drain)(void *self);

    /* End: make what was settled durable at the broker (commit, flush of acks) if it is still there, within 5 s; then
     * bailey_closed(). Comes at any time after open, once. */
    void (*close)(void *self);
};

struct bailey_sink {
    size_t settings_size;
    const struct bailey_option *options; /* of `to:` */

    bool (*open)(void **self, void *broker, const void *settings, struct bailey_port *port, struct bailey_error *err);

    /* Take the first n of `batch` and return n; less than count means "full": bailey_writable() tells when to go on. Only
     * called while up. Verdicts may be given inside the call only by bailey_refuse (it cannot be expressed). */
    size_t (*send)(void *self, struct bailey_delivery *const batch[], size_t count);

    /* The end of a batch of send() calls in this turn of the loop: flush what is gathered. May be NULL. */
    void (*flush)(void *self);

    /* End: hand back what has no verdict (bailey_hand_back), then bailey_closed(). Comes at any time after open, once. */
    void (*close)(void *self);

    /* Reserved, NULL in 1.0: a transaction over sends, with the positions that it settles. */
    bool (*begin)(void *self, struct bailey_transaction **txn, struct bailey_error *err);
    void (*commit)(void *self, struct bailey_transaction *txn, const struct bailey_settlement *positions, size_t count);
    void (*abort)(void *self, struct bailey_transaction *txn);
};

/* What check() reports to: errors make the file invalid, warnings only with --strict. `option` names a row of the table
 * concerned ("" = the end or broker as a whole), so that the report has its line and column. */
struct bailey_report;
void bailey_report_error(struct bailey_report *report, const char *option, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void bailey_report_warning(struct bailey_report *report, const char *option, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* An error, unless the private key in the PEM file `key` can be used, with `password` if it is encrypted. Nothing is said of a
 * file that cannot be read here and now: the gateway may run elsewhere, as another user. */
void bailey_report_key(struct bailey_report *report, const char *option, const char *key,
                       const struct bailey_credential *password);

/* How `bailey copy` reads a URL of this connector: SCHEME://... ?OPTION=VALUE&... where the query gives options of
 * the end, and of the broker where the end has no such option. */
struct bailey_url_form {
    const char *const *schemes; /* ends with NULL */
    const char *broker_option;  /* gets the authority ("host:port"), or the whole URL; NULL: none */
    bool whole_url;             /* true: the URL without its query, and without its path if an end's option gets it */
    const char *source_path_option; /* option of the end that gets the path, if there is one: without its first "/", */
    const char *sink_path_option;   /* but with it if `whole_url` */
    const char *example;            /* for `bailey help copy` */
};

/* ---- `bailey check --connect`: is what an end names there, and may we use it? ---- */

enum bailey_probe_result {
    BAILEY_PROBE_OK,          /* it is there, and all that the end needs is allowed, as far as can be told */
    BAILEY_PROBE_MISSING,     /* it does not exist */
    BAILEY_PROBE_DENIED,      /* it may not be used: permissions, ACLs */
    BAILEY_PROBE_REFUSED,     /* the broker answers, and does not let us in: log-in, TLS, vhost, protocol */
    BAILEY_PROBE_UNREACHABLE, /* nobody answers */
    BAILEY_PROBE_UNCHECKED,   /* it cannot be told without changing something */
};

/* One line of what was found. Strings are copied; NULL counts as "". Never holds a secret. */
struct bailey_probe_row {
    enum bailey_probe_result result;
    const char *address; /* host:port that was asked */
    const char *what;    /* "topic orders", "queue in" */
    const char *detail;  /* when ok what was found ("3 partitions, 120 messages waiting"), else the reason */
    const char *hint;    /* when not ok: one sentence that the operator can act on */
};

/* One end of a route that is being asked about. The ends of all brokers are asked side by side; those of one broker are
 * begun in one turn of the loop, so that they can share a connection. */
struct bailey_probe {
    struct bailey_host *host;
    const char *route, *instance; /* names, as in struct bailey_port */
    enum bailey_role role;
    unsigned lanes;
    int64_t timeout_ms; /* done() must be called within it */

    /* One thing that the end names: at least one call before done(). */
    void (*found)(struct bailey_probe *probe, const struct bailey_probe_row *row);
    /* A command (a line for a shell) by which somebody who may gives what is missing. Equal ones are shown once. */
    void (*grant)(struct bailey_probe *probe, const char *command);
    /* That was all: nothing of `probe` is used afterwards. */
    void (*done)(struct bailey_probe *probe);

    void *ctx; /* the connector's */
};

struct bailey_connector {
    uint32_t size;                 /* sizeof(struct bailey_connector) when built */
    uint16_t abi_major, abi_minor; /* BAILEY_ABI_MAJOR, BAILEY_ABI_MINOR when built */
    const char *name;              /* `connector:` in the YAML file, and the file's name */
    const char *summary;           /* one sentence for `bailey connectors` */
    const char *library;           /* client library and version, or NULL */
    uint32_t traits;               /* enum bailey_traits */

    size_t broker_settings_size;
    const struct bailey_option *broker_options; /* of an entry of `brokers:` besides `connector` */

    /* One broker of one worker, shared by the worker's lanes; connects when its first endpoint is opened. `name` and
     * `settings` live until broker_close. */
    bool (*broker_open)(void **broker, const void *settings, const char *name, const char *instance,
                        struct bailey_host *host, struct bailey_error *err);

    /* After bailey_closed() of its last endpoint. May leave work to a bailey_job. */
    void (*broker_close)(void *broker);

    const struct bailey_source *source; /* NULL: cannot receive */
    const struct bailey_sink *sink;     /* NULL: cannot send */

    const struct bailey_url_form *url; /* NULL: not for `copy` */

    /* What the tables cannot say (options that exclude each other, malformed URLs). No I/O, but for bailey_report_key(). May be NULL. `end` is the
     * source's or sink's settings, or NULL when the broker alone is checked. `lanes` of the route. */
    void (*check)(const void *broker, const void *end, enum bailey_role role, unsigned lanes,
                  struct bailey_report *report);

    /* 1.1: Connect, log in and look for what `end` (the source's or sink's settings) names, without creating or
     * consuming anything. Returns at once; answers to `probe`, perhaps within the call. `broker` is what broker_open
     * gave; no endpoint is open on it. May be NULL: then the end is shown as not checked. */
    void (*probe)(void *broker, const void *end, struct bailey_probe *probe);

    /* 1.3: A source over what a *sink's* settings name (its open() is given those), for dead letters: it hands over, oldest
     * first, what lies there now and has not been removed, once, and then says bailey_finished(); what comes later is not part
     * of it. settle(BAILEY_ACCEPTED) removes a message for good, any other outcome leaves it; what is not settled at close() is
     * left, too. Where `port->only_looks`, nothing is removed, whatever settle() says, and nothing may change for other readers if
     * the broker can do that; if it counts the look as a delivery all the same, a warning "shelf.counted" is logged. `options` and
     * `settings_size` are unused. open() fails with a reason where the settings do not name one place (a template, an exchange without
     * a queue). NULL: cannot be read back. */
    const struct bailey_source *shelf;

    /* 1.3: May a route with these `end` settings and `lanes` have that order? Else false with the reason and, as a hint, the
     * setting that mends it. NULL: yes, with any number of lanes. */
    bool (*keeps_order)(const void *broker, const void *end, enum bailey_role role, enum bailey_order order,
                        unsigned lanes, struct bailey_error *err);
};

/* The one symbol that a connector's shared object exports. */
__attribute__((visibility("default"))) const struct bailey_connector *bailey_connector_entry(void);

#endif
