/* The pages by path, and all refusals. Every answer forbids caching and guessing of its type, and may not be embedded
 * by other sites: nothing here is meant for a browser's page. */
#include "admin/reply.h"

#include <stdio.h>
#include <string.h>

#include "admin/health.h"
#include "admin/metrics.h"

/* Renders the body, returns the status. */
typedef int render_page(struct text *out, const struct pages *pages);

static int render_metrics(struct text *out, const struct pages *pages)
{
    struct snapshot snapshot;

    snapshot_take(&snapshot, pages->gateway, pages->config);
    metrics_render(out, &snapshot);
    snapshot_free(&snapshot);
    return 200;
}

static int render_healthz(struct text *out, const struct pages *pages)
{
    (void)pages;
    health_render_live(out);
    return 200;
}

static int render_readyz(struct text *out, const struct pages *pages)
{
    struct snapshot snapshot;
    bool ready;

    snapshot_take(&snapshot, pages->gateway, pages->config);
    health_render_ready(out, &snapshot);
    ready = snapshot_ready(&snapshot);
    snapshot_free(&snapshot);
    return ready ? 200 : 503;
}

static const struct page {
    const char *path, *type;
    render_page *render;
    bool small; /* served even when many large answers wait for slow readers */
} all_pages[] = {
    {"/metrics", METRICS_TYPE, render_metrics, false},
    {"/healthz", HEALTH_TYPE, render_healthz, true},
    {"/readyz", HEALTH_TYPE, render_readyz, false},
};

static const struct page *find_page(const struct request *request)
{
    for (size_t i = 0; i < sizeof all_pages / sizeof *all_pages; i++)
        if (request->path_len == strlen(all_pages[i].path) &&
            memcmp(request->path, all_pages[i].path, request->path_len) == 0)
            return &all_pages[i];
    return NULL;
}

static const struct status {
    int code;
    const char *phrase, *error;
} statuses[] = {
    {200, "OK", NULL},
    {400, "Bad Request", "this is no well-formed HTTP/1.1 request"},
    {403, "Forbidden",
     "not for pages of other sites: no Origin, and as Host an address, localhost or the configured name"},
    {404, "Not Found", "no such page: there are /metrics, /healthz and /readyz"},
    {405, "Method Not Allowed", "only GET and HEAD"},
    {413, "Content Too Large", "a request for a page has no body"},
    {431, "Request Header Fields Too Large", "the request's head is too large"},
    {503, "Service Unavailable", "too many answers wait for slow readers"},
    {505, "HTTP Version Not Supported", "only HTTP/1.1 and HTTP/1.0"},
};

static const struct status *find_status(int code)
{
    const struct status *status = statuses;

    while (status->code != code)
        status++; /* all codes that we use are in the table */
    return status;
}

void reply_refuse(struct reply *reply, int status)
{
    *reply = (struct reply){.status = status, .type = HEALTH_TYPE};
    health_render_error(&reply->body, find_status(status)->error);
}

static bool is_trusted(const struct request *request, const struct pages *pages)
{
    return !request->has_origin &&
           (request->host == NULL || request_host_allowed(request->host, request->host_len, pages->names));
}

void reply_to(struct reply *reply, const struct pages *pages, const struct request *request, size_t room)
{
    const struct page *page = find_page(request);

    if (!is_trusted(request, pages)) {
        reply_refuse(reply, 403);
    } else if (page == NULL) {
        reply_refuse(reply, 404);
    } else if (request->method == REQUEST_OTHER) {
        reply_refuse(reply, 405);
    } else if (request->has_body) {
        reply_refuse(reply, 413);
    } else if (room == 0 && !page->small) {
        reply_refuse(reply, 503);
    } else {
        *reply = (struct reply){.type = page->type};
        reply->status = page->render(&reply->body, pages);
    }
}

void reply_head(struct text *out, const struct reply *reply, bool keep_alive, time_t now)
{
    char date[64];
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    text_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", reply->status,
                find_status(reply->status)->phrase, date, reply->type, reply->body.len);
    text_add(out, "Cache-Control: no-store\r\n"
                  "X-Content-Type-Options: nosniff\r\n"
                  "Cross-Origin-Resource-Policy: same-origin\r\n"
                  "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n");
    if (reply->status == 405)
        text_add(out, "Allow: GET, HEAD\r\n");
    text_printf(out, "Connection: %s\r\n\r\n", keep_alive ? "keep-alive" : "close");
}

void reply_free(struct reply *reply)
{
    text_free(&reply->body);
}
