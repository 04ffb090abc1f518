/* crc32.h: CRC-32 as zlib, gzip and PNG use it (ISO 3309, polynomial 0xEDB88320): what Python's zlib.crc32() gives.
 * Any thread, once generate_crc32_init() has run (it may run more than once). */
#ifndef GENERATE_CRC32_H
#define GENERATE_CRC32_H

#include <stddef.h>
#include <stdint.h>

void generate_crc32_init(void);
uint32_t generate_crc32(const void *data, size_t len);

#endif
