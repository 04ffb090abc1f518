/* A query is a name that is being looked up, with all who wait for it. Its thread, when it has the answer, hands each of them a
 * copy by the mailbox, and goes on with a query that found no thread free.
 *
 *     WAITING (in its query) → POSTED (in its loop's mailbox) → freed        cancelled while WAITING: freed at once
 */
#include "loop/resolve.h"

#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "loop/thread.h"

struct look_up {
    struct bailey_task task;
    struct bailey_host *loop;
    struct query *query; /* NULL: POSTED; under the lock */
    struct look_up *next;
    void (*done)(void *ctx, int error, const struct addresses *found);
    void *ctx; /* the loop's thread only, as is `cancelled` */
    bool cancelled;
    uint16_t port;
    int error;
    struct addresses found;
};

struct query {
    struct query *next;
    struct look_up *waiting;
    bool running;
    char name[256];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct query *queries;
static unsigned threads;

static void set_port(struct address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET)
        address->v4.sin_port = htons(port);
    else
        address->v6.sin6_port = htons(port);
}

static void take_addresses(const struct addrinfo *info, struct addresses *found)
{
    found->count = 0;
    for (; info != NULL && found->count < RESOLVE_ADDRESSES_MAX; info = info->ai_next) {
        struct address *address = &found->items[found->count];

        if ((info->ai_family != AF_INET && info->ai_family != AF_INET6) || info->ai_addrlen > sizeof address->v6)
            continue;
        memcpy(&address->any, info->ai_addr, info->ai_addrlen);
        address->len = info->ai_addrlen;
        found->count++;
    }
}

/* What getaddrinfo() says, 0 or an error. */
static int ask(const char *name, int flags, struct addresses *found)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags}, *info = NULL;
    int error = getaddrinfo(name, NULL, &hints, &info);

    if (error != 0)
        return error;
    take_addresses(info, found);
    freeaddrinfo(info);
    return found->count > 0 ? 0 : EAI_NONAME;
}

bool resolve_address(const char *name, uint16_t port, struct addresses *found)
{
    if (ask(name, AI_NUMERICHOST, found) != 0)
        return false;
    for (size_t i = 0; i < found->count; i++)
        set_port(&found->items[i], port);
    return true;
}

/* ---- Queries, under the lock ---- */

static struct query *find_query(const char *name)
{
    struct query *query = queries;

    while (query != NULL && strcmp(query->name, name) != 0)
        query = query->next;
    return query;
}

static void drop_query(struct query *query)
{
    struct query **at = &queries;

    while (*at != query)
        at = &(*at)->next;
    *at = query->next;
    free(query);
}

static struct query *next_query(void)
{
    struct query *query = queries;

    while (query != NULL && query->running)
        query = query->next;
    return query;
}

/* The query is over: returns who waited for it, now POSTED. */
static struct look_up *take_waiting(struct query *query)
{
    struct look_up *waiting = query->waiting;

    for (struct look_up *l = waiting; l != NULL; l = l->next)
        l->query = NULL;
    drop_query(query);
    return waiting;
}

/* ---- The thread of a name ---- */

static void answer(struct look_up *waiting, int error, const struct addresses *found)
{
    while (waiting != NULL) {
        struct look_up *look_up = waiting;

        waiting = look_up->next; /* once posted, it is the loop's */
        look_up->error = error;
        if (error == 0)
            look_up->found = *found;
        bailey_post(look_up->loop, &look_up->task);
    }
}

static void *resolve(void *ctx)
{
    struct query *query = ctx;
    struct addresses found;

    while (query != NULL) {
        int error = ask(query->name, 0, &found); /* its name does not change, and nobody else frees it */

        pthread_mutex_lock(&lock);
        struct look_up *waiting = take_waiting(query);

        query = next_query();
        if (query != NULL)
            query->running = true;
        else
            threads--;
        pthread_mutex_unlock(&lock);
        answer(waiting, error, &found);
    }
    return NULL;
}

/* ---- Look-ups, on the loop's thread ---- */

static void finish(struct bailey_task *task)
{
    struct look_up *look_up = task->ctx;

    loop_jobs_add(look_up->loop, -1);
    if (!look_up->cancelled) {
        for (size_t i = 0; look_up->error == 0 && i < look_up->found.count; i++)
            set_port(&look_up->found.items[i], look_up->port);
        look_up->done(look_up->ctx, look_up->error, &look_up->found);
    }
    free(look_up);
}

/* Under the lock: joins the query of that name. Returns who cannot be served, as no thread is to be had. */
static struct look_up *join(struct look_up *look_up, const char *name)
{
    struct query *query = find_query(name);

    if (query == NULL) {
        query = calloc(1, sizeof *query);
        if (query == NULL)
            abort();
        memcpy(query->name, name, strlen(name) + 1);
        query->next = queries;
        queries = query;
    }
    look_up->query = query;
    look_up->next = query->waiting;
    query->waiting = look_up;
    if (query->running || threads == RESOLVE_NAMES_MAX)
        return NULL;
    query->running = thread_start(resolve, query);
    threads += query->running;
    return query->running || threads > 0 ? NULL : take_waiting(query); /* else a thread that is there takes it next */
}

struct look_up *look_up_start(struct bailey_host *loop, const char *name, uint16_t port,
                              void (*done)(void *ctx, int error, const struct addresses *found), void *ctx)
{
    struct look_up *look_up = calloc(1, sizeof *look_up), *unserved;

    if (look_up == NULL)
        abort();
    assert(strlen(name) < sizeof look_up->query->name);
    *look_up = (struct look_up){.loop = loop, .done = done, .ctx = ctx, .port = port};
    look_up->task = (struct bailey_task){.run = finish, .ctx = look_up};
    loop_jobs_add(loop, 1);
    pthread_mutex_lock(&lock);
    unserved = join(look_up, name);
    pthread_mutex_unlock(&lock);
    answer(unserved, EAI_MEMORY, NULL);
    return look_up;
}

/* Under the lock: false if it is POSTED. */
static bool leave_query(struct look_up *look_up)
{
    struct query *query = look_up->query;

    if (query == NULL)
        return false;
    struct look_up **at = &query->waiting;

    while (*at != look_up)
        at = &(*at)->next;
    *at = look_up->next;
    if (query->waiting == NULL && !query->running)
        drop_query(query);
    return true;
}

void look_up_cancel(struct look_up *look_up)
{
    bool left;

    if (look_up == NULL)
        return;
    pthread_mutex_lock(&lock);
    left = leave_query(look_up);
    pthread_mutex_unlock(&lock);
    look_up->cancelled = true;
    if (!left)
        return; /* finish() is still to come */
    loop_jobs_add(look_up->loop, -1);
    free(look_up);
}
