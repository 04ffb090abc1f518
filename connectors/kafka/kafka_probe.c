/* One client for all ends of a broker. It asks for topics and groups together with what the authorizer allows us (brokers
 * since 2.3 say so), and for the creation of a topic as a rehearsal (validate_only): nothing is created, no group is joined.
 *
 *     end ─→ its topics ─┬→ described ─→ row
 *            (pattern:   └→ missing, `declare: create` ─→ rehearsal ─→ row
 *             job first)
 *        ─→ does Kafka's topic of groups exist? ─no→ row ("new")       (asking for a group would create it)
 *                                               └yes→ its group, described ─→ row
 *
 * If nobody can be reached for GIVE_UP_MS, or the log-in is refused, every end that waits gets one row that says so.
 */
#include "kafka_probe.h"

#include <assert.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#include "kafka_acl.h"
#include "kafka_conf.h"

enum { GIVE_UP_MS = 3000, END_SLACK_MS = 800, TOPICS_MAX = 10000, BUSY_RETRY_MS = 300 };

struct kafka_probing {
    struct kafka_broker *broker;
    struct kafka_client *client;
    struct probed_end *ends;
    char address[300];
    struct bailey_timer give_up, limit;
    char away[300]; /* why nobody can be reached */
};

struct probed_end {
    struct kafka_probing *probing;
    struct probed_end *next;
    struct bailey_probe *asked; /* NULL: it has been answered */
    const struct kafka_declare *declare;
    rd_kafka_AclOperation_t operation;
    char *group;                      /* source */
    size_t waits;                     /* for so many answers */
    const struct bailey_list *topics; /* source */
    int timeout_ms;                   /* of a request */
    struct bailey_timer retry;        /* the group's coordinator is busy */

    struct bailey_job listing;   /* names that match a pattern */
    struct kafka_client *lister; /* kept while that runs; else NULL */
    char **names;
    size_t name_count;
    rd_kafka_resp_err_t listing_code;
};

/* ---- Rows ---- */

static const char *word_of(const struct probed_end *end)
{
    return kafka_operation_name(end->operation);
}

static void row(struct probed_end *end, enum bailey_probe_result result, const char *what, const char *detail,
                const char *hint)
{
    end->asked->found(
        end->asked,
        &(struct bailey_probe_row){
            .result = result, .address = end->probing->address, .what = what, .detail = detail, .hint = hint});
}

static void finish(struct probed_end *end)
{
    struct bailey_probe *asked = end->asked;

    end->asked = NULL;
    asked->done(asked);
}

/* One answer less to wait for; what comes after finish() is of no interest. */
static void answered(struct probed_end *end)
{
    if (--end->waits == 0 && end->asked != NULL)
        finish(end);
}

static void denied(struct probed_end *end, const char *what, const struct kafka_need *need)
{
    const struct kafka_client *client = end->probing->client;
    char detail[400], command[KAFKA_GRANT_MAX];

    snprintf(detail, sizeof detail, "%.200s may not %s it", client->principal, kafka_operation_name(need->operation));
    row(end, BAILEY_PROBE_DENIED, what, detail, NULL);
    kafka_grant(client, need, command);
    if (command[0] != '\0')
        end->asked->grant(end->asked, command);
}

static void give_up_on(struct probed_end *end, enum bailey_probe_result result, const char *detail, const char *hint)
{
    if (end->asked == NULL)
        return;
    row(end, result, "", detail, hint);
    finish(end);
}

static void give_up_on_all(struct kafka_probing *probing, enum bailey_probe_result result, const char *detail,
                           const char *hint)
{
    for (struct probed_end *end = probing->ends; end != NULL; end = end->next)
        give_up_on(end, result, detail, hint);
}

/* ---- What the client says ---- */

static bool on_serve(void *ctx)
{
    (void)ctx;
    return false;
}

static void on_reachable(void *ctx, const char *reason)
{
    struct kafka_probing *probing = ctx;
    struct bailey_host *host = probing->broker->host;

    snprintf(probing->away, sizeof probing->away, "%s", reason != NULL ? reason : "");
    if (reason == NULL)
        bailey_timer_stop(host, &probing->give_up);
    else
        bailey_timer_start(host, &probing->give_up, GIVE_UP_MS);
}

static void on_failed(void *ctx, const struct bailey_error *err)
{
    give_up_on_all(ctx, err->kind == BAILEY_ERR_TRANSIENT ? BAILEY_PROBE_UNREACHABLE : BAILEY_PROBE_REFUSED, err->text,
                   err->hint);
}

static void too_long(struct bailey_timer *timer)
{
    struct kafka_probing *probing = timer->ctx;

    give_up_on_all(probing, BAILEY_PROBE_UNREACHABLE,
                   probing->away[0] != '\0' ? probing->away : "no answer from any broker in time", NULL);
}

/* A request that failed as a whole. True: then the end has its row. */
static bool failed_as_a_whole(struct probed_end *end, rd_kafka_event_t *event, const char *what)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);

    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    if (end->asked != NULL)
        row(end, code > 0 ? BAILEY_PROBE_REFUSED : BAILEY_PROBE_UNREACHABLE, what,
            end->probing->away[0] != '\0' ? end->probing->away : rd_kafka_event_error_string(event), NULL);
    return true;
}

static rd_kafka_AdminOptions_t *options_of(struct probed_end *end, rd_kafka_admin_op_t operation,
                                           void (*done)(void *ctx, rd_kafka_event_t *event))
{
    struct kafka_client *client = end->probing->client;
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client->rk, operation);

    kafka_request_new(client, options, end->timeout_ms, done, end);
    end->waits++;
    return options;
}

static bool allows(const rd_kafka_AclOperation_t *operations, size_t count, rd_kafka_AclOperation_t wanted)
{
    for (size_t i = 0; i < count; i++)
        if (operations[i] == wanted || operations[i] == RD_KAFKA_ACL_OPERATION_ALL)
            return true;
    return operations == NULL; /* a broker that does not say */
}

/* ---- Creating, as a rehearsal ---- */

static void rehearsed(void *ctx, rd_kafka_event_t *event)
{
    struct probed_end *end = ctx;
    const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
    size_t count = 0;
    const rd_kafka_topic_result_t **each = result != NULL ? rd_kafka_CreateTopics_result_topics(result, &count) : NULL;
    char what[300], detail[400];

    failed_as_a_whole(end, event, "topics to create");
    for (size_t i = 0; i < count && end->asked != NULL; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(each[i]);
        const char *name = rd_kafka_topic_result_name(each[i]), *text = rd_kafka_topic_result_error_string(each[i]);

        snprintf(what, sizeof what, "topic %s", name);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            row(end, BAILEY_PROBE_OK, what, "does not exist; bailey will create it (declare: create)", NULL);
        } else if (kafka_is_denial(code)) {
            denied(end, what, &(struct kafka_need){KAFKA_TOPIC, name, RD_KAFKA_ACL_OPERATION_CREATE});
            continue;
        } else {
            snprintf(detail, sizeof detail, "cannot be created: %.300s", text != NULL ? text : rd_kafka_err2str(code));
            row(end, BAILEY_PROBE_MISSING, what, detail, "Correct the arguments of `declare: create`.");
        }
    }
    answered(end);
}

static void rehearse(struct probed_end *end, const char *name)
{
    const struct kafka_declare *declare = end->declare;
    rd_kafka_t *rk = end->probing->client->rk;
    rd_kafka_AdminOptions_t *options = options_of(end, RD_KAFKA_ADMIN_OP_CREATETOPICS, rehearsed);
    char text[100];
    rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(
        name, declare->partitions > 0 ? (int)declare->partitions : -1,
        declare->replication_factor > 0 ? (int)declare->replication_factor : -1, text, sizeof text);

    for (size_t i = 0; i < declare->config.count; i++)
        rd_kafka_NewTopic_set_config(wanted, declare->config.entries[i].name, declare->config.entries[i].value);
    rd_kafka_AdminOptions_set_validate_only(options, 1, NULL, 0);
    rd_kafka_CreateTopics(rk, &wanted, 1, options, end->probing->client->results);
    rd_kafka_NewTopic_destroy(wanted);
    rd_kafka_AdminOptions_destroy(options);
}

/* ---- Topics ---- */

static void missing(struct probed_end *end, const char *name, const char *what)
{
    if (end->declare->mode == BAILEY_DECLARE_CREATE)
        rehearse(end, name);
    else if (end->declare->mode == BAILEY_DECLARE_NEVER)
        row(end, BAILEY_PROBE_UNCHECKED, what, "does not exist; left to the broker (declare: never)", NULL);
    else
        row(end, BAILEY_PROBE_MISSING, what, "does not exist",
            "Create it, correct its name, or let bailey create it with `declare: create`.");
}

/* "3 partitions, leaders 1 2 3; Read allowed" */
static void describe(struct probed_end *end, const rd_kafka_TopicDescription_t *topic, const char *what, bool known)
{
    size_t count, leaderless = 0;
    const rd_kafka_TopicPartitionInfo_t **each = rd_kafka_TopicDescription_partitions(topic, &count);
    char detail[300], leaders[120] = "";
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        const rd_kafka_Node_t *leader = rd_kafka_TopicPartitionInfo_leader(each[i]);
        bool seen = false;

        leaderless += leader == NULL;
        for (size_t j = 0; j < i && leader != NULL && !seen; j++) {
            const rd_kafka_Node_t *other = rd_kafka_TopicPartitionInfo_leader(each[j]);

            seen = other != NULL && rd_kafka_Node_id(other) == rd_kafka_Node_id(leader);
        }
        if (leader != NULL && !seen && len < sizeof leaders - 16)
            len += (size_t)snprintf(leaders + len, sizeof leaders - len, " %d", rd_kafka_Node_id(leader));
    }
    len = (size_t)snprintf(detail, sizeof detail, "%zu partition%s, leader%s", count, count == 1 ? "" : "s",
                           leaders[0] != '\0' ? leaders : " none");
    if (leaderless > 0)
        len += (size_t)snprintf(detail + len, sizeof detail - len, ", %zu without leader", leaderless);
    snprintf(detail + len, sizeof detail - len, "; %s %s", word_of(end), known ? "allowed" : "perhaps allowed");
    row(end, BAILEY_PROBE_OK, what, detail, NULL);
}

static void topic_answer(struct probed_end *end, const rd_kafka_TopicDescription_t *topic)
{
    const rd_kafka_error_t *error = rd_kafka_TopicDescription_error(topic);
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    const char *name = rd_kafka_TopicDescription_name(topic);
    struct kafka_need need = {KAFKA_TOPIC, name, end->operation};
    size_t count = 0;
    const rd_kafka_AclOperation_t *operations = rd_kafka_TopicDescription_authorized_operations(topic, &count);
    char what[300];

    snprintf(what, sizeof what, "topic %s", name);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        missing(end, name, what);
    else if (kafka_is_denial(code))
        denied(end, what, &need);
    else if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        row(end, BAILEY_PROBE_MISSING, what, rd_kafka_err2str(code), NULL);
    else if (!allows(operations, count, end->operation))
        denied(end, what, &need);
    else
        describe(end, topic, what, operations != NULL);
}

static void topics_answered(void *ctx, rd_kafka_event_t *event)
{
    struct probed_end *end = ctx;
    size_t count = 0;

    if (!failed_as_a_whole(end, event, "topics") && end->asked != NULL) {
        const rd_kafka_TopicDescription_t **each =
            rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event), &count);

        for (size_t i = 0; i < count; i++)
            topic_answer(end, each[i]);
    }
    answered(end);
}

static void describe_topics(struct probed_end *end, const char *const *names, size_t count,
                            void (*done)(void *ctx, rd_kafka_event_t *event))
{
    rd_kafka_AdminOptions_t *options = options_of(end, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, done);
    rd_kafka_TopicCollection_t *topics = rd_kafka_TopicCollection_of_topic_names((const char **)names, count);

    rd_kafka_error_destroy(rd_kafka_AdminOptions_set_include_authorized_operations(options, 1));
    rd_kafka_DescribeTopics(end->probing->client->rk, topics, options, end->probing->client->results);
    rd_kafka_TopicCollection_destroy(topics);
    rd_kafka_AdminOptions_destroy(options);
}

static void ask_topics(struct probed_end *end, const char *const *names, size_t count)
{
    describe_topics(end, names, count, topics_answered);
}

/* ---- Topics by patterns ---- */

static bool matches_any(const char *name, const regex_t *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (regexec(&patterns[i], name, 0, NULL, 0) == 0)
            return true;
    return false;
}

static void keep_names(struct probed_end *end, const rd_kafka_metadata_t *metadata)
{
    const struct bailey_list *topics = end->topics;
    regex_t *patterns = kafka_alloc(topics->count, sizeof *patterns);
    size_t count = 0;

    for (size_t i = 0; i < topics->count; i++)
        if (topics->items[i][0] == '^' && regcomp(&patterns[count], topics->items[i], REG_EXTENDED | REG_NOSUB) == 0)
            count++;
    end->names = kafka_alloc((size_t)metadata->topic_cnt, sizeof *end->names);
    for (int i = 0; i < metadata->topic_cnt && end->name_count < TOPICS_MAX; i++)
        if (matches_any(metadata->topics[i].topic, patterns, count))
            end->names[end->name_count++] = strdup(metadata->topics[i].topic);
    while (count > 0)
        regfree(&patterns[--count]);
    free(patterns);
}

/* On a helper thread: the admin interface has no request for all topics. */
static void list_topics(struct bailey_job *job)
{
    struct probed_end *end = job->ctx;
    const struct rd_kafka_metadata *metadata;

    end->listing_code = rd_kafka_metadata(end->lister->rk, 1, NULL, &metadata, end->timeout_ms);
    if (end->listing_code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    keep_names(end, metadata);
    rd_kafka_metadata_destroy(metadata);
}

static void end_free(struct probed_end *end)
{
    for (size_t i = 0; i < end->name_count; i++)
        free(end->names[i]);
    free(end->names);
    free(end->group);
    free(end);
}

static void pattern_row(struct probed_end *end)
{
    char what[300] = "topics", detail[120];
    size_t len = strlen(what);

    for (size_t i = 0; i < end->topics->count && len < sizeof what; i++)
        if (end->topics->items[i][0] == '^')
            len += (size_t)snprintf(what + len, sizeof what - len, " %s", end->topics->items[i]);
    snprintf(detail, sizeof detail, "%zu topic%s that we may see match%s", end->name_count,
             end->name_count == 1 ? "" : "s", end->name_count == 1 ? "es" : "");
    row(end, BAILEY_PROBE_OK, what, detail, NULL);
}

static void listed(struct bailey_job *job)
{
    struct probed_end *end = job->ctx;

    kafka_client_drop(end->lister);
    end->lister = NULL;
    if (end->probing == NULL) {
        end_free(end);
        return;
    }
    if (end->asked != NULL && end->listing_code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        row(end, BAILEY_PROBE_UNREACHABLE, "topics", rd_kafka_err2str(end->listing_code), NULL);
    } else if (end->asked != NULL) {
        pattern_row(end);
        if (end->name_count > 0)
            ask_topics(end, (const char *const *)end->names, end->name_count);
    }
    answered(end);
}

static void ask_patterns(struct probed_end *end)
{
    end->listing = (struct bailey_job){.work = list_topics, .done = listed, .ctx = end};
    end->lister = end->probing->client;
    end->waits++;
    kafka_client_keep(end->lister);
    bailey_job_start(end->probing->broker->host, &end->listing);
}

/* ---- Group ---- */

static void group_answer(struct probed_end *end, const rd_kafka_ConsumerGroupDescription_t *group, const char *what)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(rd_kafka_ConsumerGroupDescription_error(group));
    rd_kafka_consumer_group_state_t state = rd_kafka_ConsumerGroupDescription_state(group);
    size_t members = rd_kafka_ConsumerGroupDescription_member_count(group), count = 0;
    const rd_kafka_AclOperation_t *operations = rd_kafka_ConsumerGroupDescription_authorized_operations(group, &count);
    bool fresh = code == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND || state == RD_KAFKA_CONSUMER_GROUP_STATE_DEAD;
    char detail[200];

    if (kafka_is_denial(code) || (code == RD_KAFKA_RESP_ERR_NO_ERROR && !allows(operations, count, end->operation))) {
        denied(end, what, &(struct kafka_need){KAFKA_GROUP, end->group, end->operation});
    } else if (code != RD_KAFKA_RESP_ERR_NO_ERROR && !fresh) {
        row(end, BAILEY_PROBE_REFUSED, what, rd_kafka_err2str(code), NULL);
    } else if (fresh) {
        row(end, BAILEY_PROBE_OK, what,
            operations != NULL ? "new; Read allowed" : "new: it begins with the first member", NULL);
    } else {
        snprintf(detail, sizeof detail, "%s, %zu member%s; Read %s", rd_kafka_consumer_group_state_name(state), members,
                 members == 1 ? "" : "s", operations != NULL ? "allowed" : "perhaps allowed");
        row(end, BAILEY_PROBE_OK, what, detail, NULL);
    }
}

static bool is_busy(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
}

static void ask_group(struct probed_end *end);

static void ask_group_again(struct bailey_timer *timer)
{
    struct probed_end *end = timer->ctx;

    if (end->asked != NULL)
        ask_group(end);
    answered(end);
}

static void retry_group(struct probed_end *end)
{
    end->waits++;
    bailey_timer_start(end->probing->broker->host, &end->retry, BUSY_RETRY_MS);
}

static void group_answered(void *ctx, rd_kafka_event_t *event)
{
    struct probed_end *end = ctx;
    char what[300];
    size_t count = 0;

    snprintf(what, sizeof what, "group %s", end->group);
    if (!failed_as_a_whole(end, event, what) && end->asked != NULL) {
        const rd_kafka_ConsumerGroupDescription_t **each =
            rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &count);

        for (size_t i = 0; i < count; i++) {
            if (is_busy(rd_kafka_error_code(rd_kafka_ConsumerGroupDescription_error(each[i]))))
                retry_group(end);
            else
                group_answer(end, each[i], what);
        }
    }
    answered(end);
}

static void ask_group(struct probed_end *end)
{
    rd_kafka_AdminOptions_t *options = options_of(end, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, group_answered);
    const char *groups[] = {end->group};

    rd_kafka_error_destroy(rd_kafka_AdminOptions_set_include_authorized_operations(options, 1));
    rd_kafka_DescribeConsumerGroups(end->probing->client->rk, groups, 1, options, end->probing->client->results);
    rd_kafka_AdminOptions_destroy(options);
}

/* Kafka creates its topic of groups when it is asked for the first group. */
static void groups_topic_answered(void *ctx, rd_kafka_event_t *event)
{
    struct probed_end *end = ctx;
    char what[300];
    size_t count = 0;

    snprintf(what, sizeof what, "group %s", end->group);
    if (!failed_as_a_whole(end, event, what) && end->asked != NULL) {
        const rd_kafka_TopicDescription_t **each =
            rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event), &count);

        if (count == 1 &&
            rd_kafka_error_code(rd_kafka_TopicDescription_error(each[0])) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            row(end, BAILEY_PROBE_OK, what, "new, as is every group of this cluster; Read perhaps allowed", NULL);
        else
            ask_group(end);
    }
    answered(end);
}

static void ask_groups_topic(struct probed_end *end)
{
    static const char *const name = "__consumer_offsets";

    describe_topics(end, &name, 1, groups_topic_answered);
}

/* ---- Ends ---- */

static void ask_source(struct probed_end *end, const struct kafka_source_settings *settings)
{
    const char **names = kafka_alloc(settings->topics.count, sizeof *names);
    size_t count = 0;

    end->topics = &settings->topics;
    for (size_t i = 0; i < settings->topics.count; i++)
        if (settings->topics.items[i][0] != '^')
            names[count++] = settings->topics.items[i];
    if (asprintf(&end->group, settings->group != NULL ? "%s" : "bailey-%s",
                 settings->group != NULL ? settings->group : end->asked->route) < 0)
        abort();
    if (count > 0)
        ask_topics(end, names, count);
    if (count < settings->topics.count)
        ask_patterns(end);
    ask_groups_topic(end);
    free(names);
}

/* Topics that messages name: all that can be learnt is that the log-in works. */
static void cluster_answered(void *ctx, rd_kafka_event_t *event)
{
    struct probed_end *end = ctx;

    if (!failed_as_a_whole(end, event, "topic ${...}") && end->asked != NULL)
        row(end, BAILEY_PROBE_UNCHECKED, "topic ${...}",
            "the log-in works; which topics these are depends on the messages", NULL);
    answered(end);
}

static void ask_cluster(struct probed_end *end)
{
    rd_kafka_AdminOptions_t *options = options_of(end, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, cluster_answered);

    rd_kafka_DescribeCluster(end->probing->client->rk, options, end->probing->client->results);
    rd_kafka_AdminOptions_destroy(options);
}

static void ask_sink(struct probed_end *end, const struct kafka_sink_settings *settings)
{
    const struct bailey_template *topic = settings->topic;

    if (topic->slot < 0) {
        char *name = strndup((const char *)topic->constant.data, topic->constant.len);

        ask_topics(end, (const char *const *)&name, 1);
        free(name);
    } else {
        ask_cluster(end);
    }
}

static void join_servers(char *out, size_t size, const struct bailey_list *servers)
{
    size_t len = 0;

    for (size_t i = 0; i < servers->count && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i == 0 ? "" : ",", servers->items[i]);
}

static struct kafka_probing *probing_new(struct kafka_broker *broker, int64_t timeout_ms, struct bailey_error *err)
{
    static const struct kafka_client_ops ops = {.serve = on_serve, .reachable = on_reachable, .failed = on_failed};
    struct kafka_probing *probing = kafka_alloc(1, sizeof *probing);
    rd_kafka_conf_t *conf = kafka_conf_new(broker->settings, err);

    probing->broker = broker;
    probing->give_up = probing->limit = (struct bailey_timer){.fire = too_long, .ctx = probing};
    if (conf != NULL)
        probing->client = kafka_client_new(broker, conf, RD_KAFKA_PRODUCER, &ops, probing, err);
    if (probing->client == NULL) {
        free(probing);
        return NULL;
    }
    join_servers(probing->address, sizeof probing->address, &broker->settings->bootstrap_servers);
    bailey_timer_start(broker->host, &probing->limit, timeout_ms - END_SLACK_MS);
    return probing;
}

void kafka_probe(void *self, const void *settings, struct bailey_probe *asked)
{
    struct kafka_broker *broker = self;
    struct bailey_error err = {0};
    struct probed_end *end;

    if (broker->probing == NULL)
        broker->probing = probing_new(broker, asked->timeout_ms, &err);
    if (broker->probing == NULL) {
        asked->found(asked, &(struct bailey_probe_row){.result = BAILEY_PROBE_REFUSED,
                                                       .address = broker->settings->bootstrap_servers.items[0],
                                                       .detail = err.text,
                                                       .hint = err.hint});
        asked->done(asked);
        return;
    }
    end = kafka_alloc(1, sizeof *end);
    *end = (struct probed_end){.probing = broker->probing, .next = broker->probing->ends, .asked = asked};
    broker->probing->ends = end;
    end->timeout_ms = (int)asked->timeout_ms; /* the end's own limit comes first */
    end->retry = (struct bailey_timer){.fire = ask_group_again, .ctx = end};
    end->operation = asked->role == BAILEY_SOURCE ? RD_KAFKA_ACL_OPERATION_READ : RD_KAFKA_ACL_OPERATION_WRITE;
    end->declare = asked->role == BAILEY_SOURCE ? &((const struct kafka_source_settings *)settings)->declare
                                                : &((const struct kafka_sink_settings *)settings)->declare;
    if (asked->role == BAILEY_SOURCE)
        ask_source(end, settings);
    else
        ask_sink(end, settings);
}

void kafka_probing_free(struct kafka_probing *probing)
{
    struct probed_end *next;

    if (probing == NULL)
        return;
    bailey_timer_stop(probing->broker->host, &probing->give_up);
    bailey_timer_stop(probing->broker->host, &probing->limit);
    for (struct probed_end *end = probing->ends; end != NULL; end = next) {
        next = end->next;
        bailey_timer_stop(probing->broker->host, &end->retry);
        end->probing = NULL;
        if (end->lister == NULL)
            end_free(end);
    }
    kafka_client_free(probing->client, NULL, NULL);
    free(probing);
}
