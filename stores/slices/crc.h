/* crc.h: CRC-32C (Castagnoli), as in iSCSI and ext4. Any thread. */
#ifndef SLICES_CRC_H
#define SLICES_CRC_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` is the checksum of (0: nothing) with `data` behind it. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The same without the processor's instruction: for tests. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t len);

#endif
