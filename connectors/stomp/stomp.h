/* stomp.h: what the files of this connector share: dialects, and settings as the option tables in stomp.c fill them. */
#ifndef STOMP_H
#define STOMP_H

#include <bailey/connector.h>

/* How a broker speaks STOMP, where it differs from the specification; docs/stomp.md has the table. */
enum stomp_dialect {
    STOMP_AUTO, /* by the `server` header of CONNECTED; never on an open connection */
    STOMP_ACTIVEMQ,
    STOMP_ARTEMIS,
    STOMP_RABBITMQ,
    STOMP_GENERIC,
};

enum stomp_persistent { STOMP_PERSISTENT_ALWAYS, STOMP_PERSISTENT_AS_MESSAGE, STOMP_PERSISTENT_NEVER };

#endif
