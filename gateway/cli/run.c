/* cli/run.c: `bailey run FILE`: start, wait for a signal or the end of all routes, drain. */
#include "cli/cli.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin/http.h"
#include "base/log.h"
#include "base/version.h"
#include "host/gateway.h"

/* Lanes, connections and the files of a state store need more descriptors than a shell gives by default: as many as we may have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* if it fails, the limit stays as it was */
}

static void announce(const struct config *config)
{
    struct text out = {0};

    text_printf(&out, "bailey %s running, %zu route%s\n", BAILEY_VERSION, config->route_count,
                config->route_count == 1 ? "" : "s");
    cli_print(&out);
    bailey_log(BAILEY_LOG_INFO, "gateway.started", kv_str("version", BAILEY_VERSION),
               kv_str("instance", config->instance), kv_str("file", config->file),
               kv_u64("routes", config->route_count), kv_u64("brokers", config->broker_count),
               kv_i64("workers", config->workers));
}

static int failed(const struct bailey_error *err)
{
    bailey_log(BAILEY_LOG_ERROR, "gateway.failed", kv_error(err));
    return CLI_FAILED;
}

/* Until a signal comes (its number) or all routes are finished (0). */
static int wait_for_end(struct gateway *gateway, int signals)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = gateway_done_fd(gateway), .events = POLLIN}};

    for (;;) {
        if (poll(fds, 2, -1) <= 0)
            continue;
        int number = fds[0].revents != 0 ? cli_signals_first(signals) : 0;
        if (number != 0 || fds[1].revents != 0)
            return number;
    }
}

static int run_until_end(struct gateway *gateway, const struct config *config, int signals)
{
    struct bailey_error err = {0};
    struct admin *admin = NULL;

    if (config->admin_address != NULL && (admin = admin_start(gateway, config, &err)) == NULL) {
        failed(&err);
        cli_drain(gateway, config->drain_timeout_ms);
        gateway_stop(gateway);
        return CLI_FAILED;
    }
    announce(config);
    int number = wait_for_end(gateway, signals);
    bailey_log(BAILEY_LOG_INFO, "gateway.draining",
               kv_str("reason", number == 0         ? "all routes are finished"
                                : number == SIGTERM ? "SIGTERM"
                                                    : "SIGINT"),
               kv_ms("timeout", config->drain_timeout_ms));

    int64_t began = cli_now_ms();
    cli_drain(gateway, config->drain_timeout_ms);
    admin_stop(admin); /* it looks at the gateway */
    bool drained = gateway_stop(gateway);
    bailey_log(drained ? BAILEY_LOG_INFO : BAILEY_LOG_ERROR, "gateway.stopped",
               kv_str("drained", drained ? "yes" : "no"), kv_ms("took", cli_now_ms() - began));
    return drained ? CLI_OK : CLI_FAILED;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct bailey_error err = {0};
    const char *path;
    int result;
    int parsed = cli_parse(command, argc, argv, NULL, 1, 1, &path);

    if (parsed != CLI_GO)
        return parsed;
    struct config *config = cli_load(path);
    if (config == NULL)
        return CLI_USAGE;
    log_set_level(config->log_level);
    log_set_json(config->log_format == CONFIG_LOG_JSON);
    raise_descriptor_limit();

    int signals = cli_signals_open();
    struct gateway *gateway = NULL;
    if (signals < 0)
        bailey_fail(&err, BAILEY_ERR_TRANSIENT, "cannot watch for signals");
    else
        gateway = gateway_start(config, &err);
    result = gateway == NULL ? failed(&err) : run_until_end(gateway, config, signals);
    if (signals >= 0)
        close(signals);
    config_free(config);
    return result;
}

const struct command run_command = {
    .name = "run",
    .usage = "FILE",
    .summary = "Carry messages as a configuration says.",
    .help = "Runs until it is told to end. SIGTERM and SIGINT drain: nothing more is received, what is in flight is\n"
            "finished and settled; exit code 0, or 1 if drain_timeout was too short. A second signal ends at once.\n"
            "A route that cannot start does not stop the others: it is tried again, and shown by /readyz.\n",
    .run = run,
};
