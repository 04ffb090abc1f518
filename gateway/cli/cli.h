/* cli/cli.h: the command line: one struct command for each word, one file for each command.
 *
 * Exit codes: 0 success, 1 the operation failed, 2 wrong usage or configuration. Data goes to standard output, all
 * else to standard error. Main thread only.
 */
#ifndef BAILEY_CLI_H
#define BAILEY_CLI_H

#include "config/findings.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* Version of the JSON that commands print. */
enum { CLI_JSON_VERSION = 1 };

struct command {
    const char *name;
    const char *usage;              /* what follows the name: "FILE [--json]" */
    const char *summary;            /* one line */
    const char *help;               /* the rest: ends with a newline */
    void (*more)(struct text *out); /* appends to the help what is not known before; may be NULL */
    int (*run)(const struct command *command, int argc, char **argv); /* argv[0] is the command's name */
};
extern const struct command run_command, check_command, explain_command, connectors_command, copy_command, dlq_command,
    help_command;

/* All commands, in the order of the help; ends with NULL. */
extern const struct command *const commands[];

/* The whole program: argv as main() gets it. Returns the exit code. */
int cli_main(int argc, char **argv);

/* One flag of a command. `set` or `value` gets the result. */
struct cli_flag {
    const char *name;   /* "--json"; NULL ends the list */
    bool *set;          /* a flag without value */
    const char **value; /* a flag with one: --count N, --count=N */
};

enum { CLI_GO = -1 }; /* no exit code */

/* Sort argv into flags and words (least to most of them, into `words`, which has room for `most`; NULL where none
 * was given). Returns CLI_GO, or the exit code: --help or what is wrong was printed. */
int cli_parse(const struct command *command, int argc, char **argv, const struct cli_flag *flags, size_t least,
              size_t most, const char **words);

/* "bailey COMMAND: ..." and a hint on standard error. Returns CLI_USAGE. */
int cli_wrong(const struct command *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append the help of a command, or of the whole program (NULL). */
void cli_add_help(struct text *out, const struct command *command);

/* Write and free. CLI_OK, or CLI_FAILED if it could not be written (a reader that has left is no failure). */
int cli_print(struct text *out);
void cli_complain(struct text *out); /* the same, to standard error */

/* Columns of the terminal that standard output goes to; 0: it goes elsewhere. */
size_t cli_columns(void);

/* Load the file with the connectors of the registry, findings to standard error. NULL: exit with CLI_USAGE. */
struct config *cli_load(const char *path);

/* ---- What run, copy and dlq share ---- */

struct gateway;
struct route_status;

/* Block the signals that end the program; before any thread is made. Returns a signalfd, -1 on failure. */
int cli_signals_open(void);
/* Close it, and let them through again. */
void cli_signals_close(int fd);
/* The first of them came (read from the fd): from now on the next one ends the process at once with 128 + n. */
int cli_signals_first(int fd);

/* Begin to drain, and wait until that is done or `timeout_ms` are over: gateway_stop() then tells which. */
void cli_drain(struct gateway *gateway, int64_t timeout_ms);

/* A route that began at `began_ms` (cli_now_ms()), and has moved nothing yet, will not: it had its time, or failed so often that something
 * must be wrong, such as a password or a name. */
bool cli_start_is_hopeless(const struct route_status *status, int64_t began_ms);

int64_t cli_now_ms(void); /* monotonic */

#endif
