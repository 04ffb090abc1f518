/* config/findings.c: a list with positions, sorted at the end.
 *
 * A text goes through one filter on its way in: whatever put it together, an URL in it loses its password.
 */
#include "config/findings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void findings_init(struct findings *findings, const char *file)
{
    *findings = (struct findings){.arena = arena_new(), .file = file};
    if (findings->arena == NULL)
        findings_no_memory(findings);
}

void findings_fini(struct findings *findings)
{
    arena_free(findings->arena);
    *findings = (struct findings){0};
}

bool findings_no_memory(struct findings *findings)
{
    if (!findings->no_memory)
        findings->counts.errors++;
    findings->no_memory = true;
    return false;
}

static const char *keep(struct findings *findings, const char *fmt, va_list args)
{
    char raw[1024], masked[1024];

    vsnprintf(raw, sizeof raw, fmt, args);
    text_mask(masked, sizeof masked, raw);
    const char *kept = arena_strdup(findings->arena, masked);
    if (kept == NULL)
        findings_no_memory(findings);
    return kept;
}

struct finding *findings_add(struct findings *findings, bool warning, struct place at, const char *fmt, va_list args)
{
    if (warning)
        findings->counts.warnings++;
    else
        findings->counts.errors++;
    if (findings->arena == NULL || findings->kept == FINDINGS_MAX)
        return NULL;

    const char *text = keep(findings, fmt, args);
    struct finding *finding = text == NULL ? NULL : arena_alloc(findings->arena, sizeof *finding);
    if (finding == NULL) {
        findings_no_memory(findings);
        return NULL;
    }
    *finding = (struct finding){.at = at, .warning = warning, .text = text, .hint = ""};
    if (findings->last == NULL)
        findings->first = finding;
    else
        findings->last->next = finding;
    findings->last = finding;
    findings->kept++;
    return finding;
}

struct finding *findings_error(struct findings *findings, struct place at, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    struct finding *finding = findings_add(findings, false, at, fmt, args);
    va_end(args);
    return finding;
}

struct finding *findings_warn(struct findings *findings, struct place at, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    struct finding *finding = findings_add(findings, true, at, fmt, args);
    va_end(args);
    return finding;
}

void findings_hint(struct findings *findings, struct finding *finding, const char *fmt, ...)
{
    va_list args;

    if (finding == NULL)
        return;
    va_start(args, fmt);
    const char *hint = keep(findings, fmt, args);
    va_end(args);
    if (hint != NULL)
        finding->hint = hint;
}

static bool before(const struct finding *a, const struct finding *b)
{
    return a->at.line != b->at.line ? a->at.line < b->at.line : a->at.column < b->at.column;
}

static bool same(const struct finding *a, const struct finding *b)
{
    return a->at.line == b->at.line && a->at.column == b->at.column && a->warning == b->warning &&
           strcmp(a->text, b->text) == 0;
}

/* Insertion keeps the order of what stands at one place; there are at most FINDINGS_MAX. */
void findings_sort(struct findings *findings)
{
    struct finding *rest = findings->first;

    findings->first = findings->last = NULL;
    while (rest != NULL) {
        struct finding *finding = rest, **slot = &findings->first;
        bool known = false;

        rest = rest->next;
        for (; *slot != NULL && !before(finding, *slot); slot = &(*slot)->next)
            known = known || same(finding, *slot);
        if (known) {
            *(finding->warning ? &findings->counts.warnings : &findings->counts.errors) -= 1;
            findings->kept--;
            continue;
        }
        finding->next = *slot;
        *slot = finding;
    }
}

void findings_print(const struct findings *findings, struct text *out)
{
    for (const struct finding *f = findings->first; f != NULL; f = f->next) {
        text_add(out, findings->file);
        if (f->at.line > 0)
            text_printf(out, ":%u:%u", f->at.line, f->at.column);
        text_printf(out, ": %s: %s\n", f->warning ? "warning" : "error", f->text);
        if (f->hint[0] != '\0')
            text_printf(out, "    hint: %s\n", f->hint);
    }
    if (findings->no_memory)
        text_printf(out, "%s: error: out of memory\n", findings->file);
    size_t total = findings->counts.errors + findings->counts.warnings - findings->no_memory;
    if (total > findings->kept && !findings->no_memory)
        text_printf(out, "%s: %zu more findings are not shown\n", findings->file, total - findings->kept);
}

void findings_json(const struct findings *findings, struct text *out)
{
    text_add(out, "[");
    for (const struct finding *f = findings->first; f != NULL; f = f->next) {
        text_printf(out, "%s{\"severity\":\"%s\",\"line\":%u,\"column\":%u,\"text\":", f == findings->first ? "" : ",",
                    f->warning ? "warning" : "error", f->at.line, f->at.column);
        text_add_json(out, f->text, strlen(f->text));
        if (f->hint[0] != '\0') {
            text_add(out, ",\"hint\":");
            text_add_json(out, f->hint, strlen(f->hint));
        }
        text_add(out, "}");
    }
    text_add(out, "]");
}
