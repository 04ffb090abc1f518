/* cli/cli.c: finds the command, sorts its arguments, prints. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/nearest.h"
#include "base/version.h"
#include "host/registry.h"

enum { FLAGS_MAX = 16 };

const struct command *const commands[] = {
    &run_command, &check_command,      &explain_command, &copy_command,
    &dlq_command, &connectors_command, &help_command,    NULL,
};

static int put(int fd, struct text *out)
{
    int result = CLI_OK;

    for (size_t done = 0; done < out->len;) {
        ssize_t n = write(fd, out->data + done, out->len - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            result = errno == EPIPE ? CLI_OK : CLI_FAILED;
            break;
        }
    }
    text_free(out);
    return result;
}

size_t cli_columns(void)
{
    struct winsize size;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

int cli_print(struct text *out)
{
    return put(STDOUT_FILENO, out);
}

void cli_complain(struct text *out)
{
    put(STDERR_FILENO, out);
}

int cli_wrong(const struct command *command, const char *fmt, ...)
{
    struct text out = {0};
    char message[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    text_printf(&out, "bailey %s: %s\n", command->name, message);
    text_printf(&out, "    usage: bailey %s %s\n", command->name, command->usage);
    cli_complain(&out);
    return CLI_USAGE;
}

static const struct cli_flag *find_flag(const struct cli_flag *flags, const char *arg, size_t len)
{
    for (; flags != NULL && flags->name != NULL; flags++)
        if (strlen(flags->name) == len && strncmp(flags->name, arg, len) == 0)
            return flags;
    return NULL;
}

static int unknown_flag(const struct command *command, const struct cli_flag *flags, const char *arg)
{
    const char *names[FLAGS_MAX];
    size_t count = 0;

    for (; flags != NULL && flags->name != NULL && count < FLAGS_MAX - 1; flags++)
        names[count++] = flags->name;
    names[count++] = "--help";
    const char *near = nearest_name(arg, names, count);
    if (near != NULL)
        return cli_wrong(command, "unknown flag %.100s; did you mean %s?", arg, near);
    return cli_wrong(command, "unknown flag %.100s", arg);
}

/* One flag at argv[*i]; *i moves on if its value is the next argument. */
static int parse_flag(const struct command *command, int argc, char **argv, int *i, const struct cli_flag *flags)
{
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    const struct cli_flag *flag = find_flag(flags, arg, equals == NULL ? strlen(arg) : (size_t)(equals - arg));

    if (flag == NULL && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
        struct text out = {0};
        cli_add_help(&out, command);
        cli_print(&out);
        return CLI_OK;
    }
    if (flag == NULL)
        return unknown_flag(command, flags, arg);
    if (flag->set != NULL) {
        *flag->set = true;
        return equals == NULL ? CLI_GO : cli_wrong(command, "%s takes no value", flag->name);
    }
    if (equals == NULL && *i + 1 == argc)
        return cli_wrong(command, "%s needs a value", flag->name);
    *flag->value = equals != NULL ? equals + 1 : argv[++*i];
    return CLI_GO;
}

int cli_parse(const struct command *command, int argc, char **argv, const struct cli_flag *flags, size_t least,
              size_t most, const char **words)
{
    bool only_words = false;
    size_t count = 0;

    for (size_t i = 0; i < most; i++)
        words[i] = NULL;
    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            int parsed = parse_flag(command, argc, argv, &i, flags);
            if (parsed != CLI_GO)
                return parsed;
        } else if (count < most) {
            words[count++] = argv[i];
        } else {
            char shown[100];
            text_mask(shown, sizeof shown, argv[i]);
            return cli_wrong(command, "one argument too many: %s", shown);
        }
    }
    return count >= least ? CLI_GO : cli_wrong(command, "an argument is missing");
}

struct config *cli_load(const char *path)
{
    struct text report = {0};
    struct config_counts counts;
    struct config *config = config_load(path, registry_find, &report, &counts);

    cli_complain(&report);
    return config;
}

static const struct command *find_command(const char *name)
{
    for (const struct command *const *command = commands; *command != NULL; command++)
        if (strcmp((*command)->name, name) == 0)
            return *command;
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[FLAGS_MAX], *near;
    struct text out = {0};
    size_t count = 0;

    for (const struct command *const *command = commands; *command != NULL; command++)
        names[count++] = (*command)->name;
    names[count++] = "--version";
    near = nearest_name(name, names, count);
    text_printf(&out, "bailey: unknown command %.100s%s%s%s\n", name, near == NULL ? "" : "; did you mean ",
                near == NULL ? "" : near, near == NULL ? "" : "?");
    text_add(&out, "    hint: bailey help lists the commands\n");
    cli_complain(&out);
    return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
    struct text out = {0};

    if (argc < 2) {
        cli_add_help(&out, NULL);
        cli_complain(&out);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        text_add(&out, "bailey " BAILEY_VERSION "\n");
        return cli_print(&out);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help_command.run(&help_command, 1, argv + 1);
    const struct command *command = find_command(argv[1]);
    return command == NULL ? unknown_command(argv[1]) : command->run(command, argc - 1, argv + 1);
}
