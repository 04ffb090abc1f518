/* cli/help.c: `bailey help [COMMAND]`. */
#include "cli/cli.h"

#include <string.h>

#include "base/nearest.h"
#include "base/version.h"

static void add_overview(struct text *out)
{
    text_add(out, "bailey " BAILEY_VERSION ": carries messages between message brokers.\n\n");
    for (const struct command *const *command = commands; *command != NULL; command++)
        text_printf(out, "  %-11s %s\n", (*command)->name, (*command)->summary);
    text_printf(out, "  %-11s %s\n", "--version", "Print the version.");
    text_add(out, "\nbailey help COMMAND says more. Exit codes: 0 success, 1 the operation failed, 2 wrong usage or "
                  "configuration.\n");
}

void cli_add_help(struct text *out, const struct command *command)
{
    if (command == NULL) {
        add_overview(out);
        return;
    }
    text_printf(out, "bailey %s %s\n\n%s\n\n%s", command->name, command->usage, command->summary, command->help);
    if (command->more != NULL)
        command->more(out);
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *name, *names[16];
    struct text out = {0};
    size_t count = 0;
    int parsed = cli_parse(command, argc, argv, NULL, 0, 1, &name);

    if (parsed != CLI_GO)
        return parsed;
    const struct command *found = NULL;
    for (const struct command *const *c = commands; *c != NULL; c++) {
        names[count++] = (*c)->name;
        if (name != NULL && strcmp((*c)->name, name) == 0)
            found = *c;
    }
    if (name != NULL && found == NULL) {
        const char *near = nearest_name(name, names, count);
        return near == NULL ? cli_wrong(command, "there is no command %.100s", name)
                            : cli_wrong(command, "there is no command %.100s; did you mean %s?", name, near);
    }
    cli_add_help(&out, found);
    return cli_print(&out);
}

const struct command help_command = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "Say what a command does.",
    .help = "Without COMMAND: list the commands.\n",
    .run = run,
};
