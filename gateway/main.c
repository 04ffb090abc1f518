/* The program: everything is in cli/. */
#include <signal.h>

#include "base/crash.h"
#include "cli/cli.h"

int main(int argc, char **argv)
{
    CRASH_ARM();
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves is an error of write(), not the end of the process */
    return cli_main(argc, argv);
}
