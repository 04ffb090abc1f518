/* Reads the gateway and the process once for a page. What /proc cannot tell is left out of the page, never guessed. */
#include "admin/snapshot.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/version.h"

static void *array_of(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);

    if (memory == NULL)
        abort();
    return memory;
}

static int64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long pages = -1;

    if (file == NULL)
        return -1;
    if (fscanf(file, "%*d %ld", &pages) != 1)
        pages = -1;
    fclose(file);
    return pages < 0 ? -1 : (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static int64_t open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int64_t count = 0;

    if (dir == NULL)
        return -1;
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count - 1; /* the directory itself */
}

static int64_t cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

void snapshot_take(struct snapshot *snapshot, struct gateway *gateway, const struct config *config)
{
    *snapshot = (struct snapshot){
        .instance = config->instance,
        .version = BAILEY_VERSION,
        .route_count = gateway_route_count(gateway),
        .broker_count = gateway_broker_count(gateway),
        .resident_bytes = resident_bytes(),
        .open_fds = open_fds(),
        .cpu_us = cpu_us(),
    };
    snapshot->routes = array_of(snapshot->route_count, sizeof *snapshot->routes);
    snapshot->brokers = array_of(snapshot->broker_count, sizeof *snapshot->brokers);
    for (size_t i = 0; i < snapshot->route_count; i++)
        gateway_status(gateway, i, &snapshot->routes[i]);
    for (size_t i = 0; i < snapshot->broker_count; i++)
        gateway_connection(gateway, i, &snapshot->brokers[i]);
}

void snapshot_free(struct snapshot *snapshot)
{
    free(snapshot->routes);
    free(snapshot->brokers);
    *snapshot = (struct snapshot){0};
}

bool snapshot_ready(const struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->route_count; i++)
        if (snapshot->routes[i].state != LANE_RUNNING && snapshot->routes[i].state != LANE_FINISHED)
            return false;
    return true;
}
