/* lines: the lines of a file as messages, and messages as lines of a file. The example of docs/connector-guide.md. */
#include <bailey/connector.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 256 }; /* messages */

struct settings {
    const char *file;
};

static bool fail_errno(struct bailey_error *err, const char *what, const char *file)
{
    return bailey_fail_native(err, BAILEY_ERR_CONFIG, "errno", errno, "cannot %s %s: %s", what, file, strerror(errno));
}

/* ---- Source ---- */

struct source {
    struct bailey_port *port;
    struct bailey_task read;
    FILE *in;
    int done_fd; /* FILE.done: how many bytes are settled, in decimal */
    long long done;
    size_t unsettled;
    bool released, draining;
    char line[64 << 10];
};

/* A slice; the next one is read when all of this one is settled, so that what is done is a single number. */
static void read_slice(struct bailey_task *task)
{
    struct source *src = task->ctx;
    struct bailey_message *batch[BATCH];
    size_t count = 0, room = bailey_room(src->port);

    if (room == 0 || src->unsettled > 0 || src->draining)
        return; /* source_resume() or source_settle() will come */
    while (count < room && count < BATCH && fgets(src->line, sizeof src->line, src->in) != NULL) {
        struct bailey_message *msg = bailey_message_new(src->port);

        msg->body = bailey_message_copy(msg, src->line, strcspn(src->line, "\n"));
        batch[count++] = msg;
    }
    src->unsettled = count;
    if (count > 0)
        bailey_receive(src->port, batch, count);
    else
        bailey_finished(src->port);
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    struct source *src = self;

    for (size_t i = 0; i < count; i++)
        src->released |= ended[i].outcome == BAILEY_RELEASED || ended[i].outcome == BAILEY_MODIFIED;
    src->unsettled -= count;
    if (src->unsettled > 0)
        return;
    if (src->released)
        fseeko(src->in, src->done, SEEK_SET); /* a line went nowhere: the slice comes again */
    src->done = ftello(src->in);
    src->released = false;
    if (dprintf(src->done_fd, "%020lld\n", src->done) < 0 || lseek(src->done_fd, 0, SEEK_SET) < 0)
        bailey_log(BAILEY_LOG_WARN, "lines.done_failed", kv_str("route", src->port->route));
    bailey_again(src->port->host, &src->read);
}

static void source_resume(void *self)
{
    struct source *src = self;

    bailey_again(src->port->host, &src->read);
}

static void source_drain(void *self)
{
    struct source *src = self;

    src->draining = true;
    bailey_drained(src->port);
}

static void source_close(void *self)
{
    struct source *src = self;
    struct bailey_port *port = src->port;

    bailey_again_stop(port->host, &src->read);
    fclose(src->in);
    close(src->done_fd);
    free(src);
    bailey_closed(port);
}

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    const char *file = ((const struct settings *)settings)->file;
    struct source *src = calloc(1, sizeof *src);
    char name[4096], text[24] = "";

    (void)broker;
    if (src == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    snprintf(name, sizeof name, "%s.done", file);
    src->port = port;
    src->read = (struct bailey_task){.run = read_slice, .ctx = src};
    src->in = fopen(file, "re");
    if (src->in == NULL)
        goto free_source;
    src->done_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (src->done_fd < 0 || pread(src->done_fd, text, 20, 0) < 0)
        goto close_files;
    src->done = strtoll(text, NULL, 10);
    fseeko(src->in, src->done, SEEK_SET);
    *self = src;
    bailey_up(port);
    bailey_again(port->host, &src->read);
    return true;

close_files:
    if (src->done_fd >= 0)
        close(src->done_fd);
    fclose(src->in);
free_source:
    free(src);
    return fail_errno(err, "open", file);
}

/* ---- Sink ---- */

struct sink {
    struct bailey_port *port;
    const char *file;
    FILE *out;
    struct bailey_delivery *batch[BATCH];
    size_t count;
    struct bailey_job job;
    bool written, writing, closing;
};

static size_t sink_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    struct sink *sink = self;
    struct bailey_error err;
    size_t taken = 0;

    for (; taken < count && sink->count < BATCH && !sink->writing; taken++) {
        struct bailey_bytes body = batch[taken]->message->body;

        if (body.data != NULL && memchr(body.data, '\n', body.len) == NULL) {
            sink->batch[sink->count++] = batch[taken];
        } else {
            bailey_fail(&err, BAILEY_ERR_PERMANENT, "a null body, or one with a line feed, is no line");
            bailey_refuse(sink->port, batch[taken], &err);
        }
    }
    return taken;
}

/* On a helper thread. The deliveries are the sink's until their verdict, and nobody changes a message. */
static void write_batch(struct bailey_job *job)
{
    struct sink *sink = job->ctx;

    for (size_t i = 0; i < sink->count; i++) {
        fwrite(sink->batch[i]->message->body.data, 1, sink->batch[i]->message->body.len, sink->out);
        fputc('\n', sink->out);
    }
    sink->written = fflush(sink->out) == 0 && !ferror(sink->out) && fdatasync(fileno(sink->out)) == 0;
}

static void finish_close(struct sink *sink)
{
    struct bailey_port *port = sink->port;

    bailey_hand_back(port, sink->batch, sink->count, false);
    fclose(sink->out);
    free(sink);
    bailey_closed(port);
}

static void batch_done(struct bailey_job *job)
{
    struct sink *sink = job->ctx;
    struct bailey_error err;
    size_t count = sink->count;

    sink->writing = false;
    sink->count = 0;
    if (sink->written)
        bailey_confirm(sink->port, sink->batch, count);
    else
        bailey_hand_back(sink->port, sink->batch, count, true);
    if (sink->closing) {
        finish_close(sink);
    } else if (sink->written) {
        bailey_writable(sink->port);
    } else {
        bailey_fail(&err, BAILEY_ERR_TRANSIENT, "cannot write to %s", sink->file);
        bailey_down(sink->port, &err);
    }
}

static void sink_flush(void *self)
{
    struct sink *sink = self;

    if (sink->count == 0 || sink->writing)
        return;
    sink->writing = true;
    bailey_job_start(sink->port->host, &sink->job);
}

static void sink_close(void *self)
{
    struct sink *sink = self;

    sink->closing = true;
    if (!sink->writing)
        finish_close(sink);
}

static bool sink_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    const char *file = ((const struct settings *)settings)->file;
    struct sink *sink = calloc(1, sizeof *sink);

    (void)broker;
    if (sink == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    sink->port = port;
    sink->file = file;
    sink->job = (struct bailey_job){.work = write_batch, .done = batch_done, .ctx = sink};
    sink->out = fopen(file, "ae");
    if (sink->out == NULL) {
        free(sink);
        return fail_errno(err, "open", file);
    }
    *self = sink;
    bailey_up(port);
    return true;
}

/* ---- What the gateway sees ---- */

static const struct bailey_option options[] = {
    {.name = "file",
     .type = BAILEY_OPT_STRING,
     .offset = offsetof(struct settings, file),
     .flags = BAILEY_OPT_REQUIRED | BAILEY_OPT_PATH,
     .min = 1,
     .max = 4000,
     .summary = "File whose lines are the messages."},
    {0},
};

static const struct bailey_source source = {
    .settings_size = sizeof(struct settings),
    .options = options,
    .open = source_open,
    .resume = source_resume,
    .settle = source_settle,
    .drain = source_drain,
    .close = source_close,
};

static const struct bailey_sink sink = {
    .settings_size = sizeof(struct settings),
    .options = options,
    .open = sink_open,
    .send = sink_send,
    .flush = sink_flush,
    .close = sink_close,
};

static bool broker_open(void **broker, const void *settings, const char *name, const char *instance,
                        struct bailey_host *host, struct bailey_error *err)
{
    (void)settings, (void)name, (void)instance, (void)err;
    *broker = host; /* a broker with a connection would begin to make it here */
    return true;
}

static void broker_close(void *broker)
{
    (void)broker;
}

static const struct bailey_connector connector = {
    .size = sizeof connector,
    .abi_major = BAILEY_ABI_MAJOR,
    .abi_minor = BAILEY_ABI_MINOR,
    .name = "lines",
    .summary = "Lines of text files.",
    .broker_open = broker_open,
    .broker_close = broker_close,
    .source = &source,
    .sink = &sink,
};

const struct bailey_connector *bailey_connector_entry(void)
{
    return &connector;
}
