/* kafka_lib.h: librdkafka's header, without the one warning that it gives. */
#ifndef KAFKA_LIB_H
#define KAFKA_LIB_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-qualifiers"
#include <librdkafka/rdkafka.h>
#pragma GCC diagnostic pop

#if RD_KAFKA_VERSION < 0x020601ff
#error "librdkafka 2.6.1 or newer is needed: older ones lose or repeat messages around pause and batch consume"
#endif

#endif
