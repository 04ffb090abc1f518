/* harness.c: see the header. */
#include "harness.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "host/registry.h"

const struct memory_api *memory_queues;

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "harness: %s%s%s\n", what, detail[0] != '\0' ? ": " : "", detail);
    abort();
}

/* The folder of what was built: this program is BUILD/tests/KIND/NAME. */
static void find_build(char path[static PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 32);

    if (len <= 0)
        fail("where is this program?", "");
    path[len] = '\0';
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(path, '/');

        if (slash != NULL)
            *slash = '\0';
    }
}

void harness_begin(void)
{
    char path[PATH_MAX];
    void *library;

    find_build(path);
    strncat(path, "/connectors", sizeof path - strlen(path) - 1);
    setenv("BAILEY_CONNECTOR_PATH", path, 1);
    strncat(path, "/memory.so", sizeof path - strlen(path) - 1);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* the same one that the registry gets */
    if (library == NULL)
        fail("cannot load the memory connector", dlerror());
    memory_queues = dlsym(library, "memory_api");
    if (memory_queues == NULL)
        fail("the memory connector has no memory_api", path);
    if (getenv("BAILEY_TEST_LOG") == NULL)
        log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
}

struct bridge bridge_start_with(const char *yaml, config_find *find)
{
    struct text report = {0};
    struct config_counts counts = {0};
    struct bailey_error err = {0};
    struct bridge bridge = {0};

    bridge.config = config_load_text(yaml, strlen(yaml), "test.yaml", find, &report, &counts);
    if (bridge.config == NULL) {
        fprintf(stderr, "%s\n", yaml);
        fail("the configuration is wrong", report.data != NULL ? report.data : "");
    }
    text_free(&report);
    bridge.gateway = gateway_start(bridge.config, &err);
    if (bridge.gateway == NULL)
        fail("the gateway does not start", err.text);
    return bridge;
}

struct bridge bridge_start(const char *yaml)
{
    return bridge_start_with(yaml, registry_find);
}

struct route_status bridge_status(const struct bridge *bridge, const char *name)
{
    struct route_status status = {0};

    for (size_t i = 0; i < gateway_route_count(bridge->gateway); i++) {
        gateway_status(bridge->gateway, i, &status);
        if (strcmp(status.name, name) == 0)
            return status;
    }
    fail("no such route", name);
    return status;
}

bool bridge_wait_finished(const struct bridge *bridge, int timeout_ms)
{
    struct pollfd done = {.fd = gateway_done_fd(bridge->gateway), .events = POLLIN};

    return poll(&done, 1, timeout_ms) == 1;
}

bool bridge_drain(const struct bridge *bridge, int timeout_ms)
{
    gateway_drain(bridge->gateway);
    return bridge_wait_finished(bridge, timeout_ms);
}

void bridge_stop(struct bridge *bridge)
{
    gateway_stop(bridge->gateway);
    config_free(bridge->config);
    *bridge = (struct bridge){0};
}

int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool wait_until(bool (*holds)(void *ctx), void *ctx, int timeout_ms)
{
    int64_t until_ms = monotonic_ms() + timeout_ms;

    while (!holds(ctx)) {
        if (monotonic_ms() >= until_ms)
            return false;
        poll(NULL, 0, 1);
    }
    return true;
}

struct awaited {
    const struct bridge *bridge;
    const char *route;
    int64_t delivered;
    enum lane_state state;
};

static bool has_delivered(void *ctx)
{
    struct awaited *awaited = ctx;

    return bridge_status(awaited->bridge, awaited->route).delivered >= awaited->delivered;
}

static bool has_state(void *ctx)
{
    struct awaited *awaited = ctx;

    return bridge_status(awaited->bridge, awaited->route).state == awaited->state;
}

bool bridge_wait_delivered(const struct bridge *bridge, const char *route, int64_t count, int timeout_ms)
{
    return wait_until(has_delivered, &(struct awaited){.bridge = bridge, .route = route, .delivered = count},
                      timeout_ms);
}

bool bridge_wait_state(const struct bridge *bridge, const char *route, enum lane_state state, int timeout_ms)
{
    return wait_until(has_state, &(struct awaited){.bridge = bridge, .route = route, .state = state}, timeout_ms);
}
