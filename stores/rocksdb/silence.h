/* silence.h: no file LOG. */
#ifndef ROCKSDB_SILENCE_H
#define ROCKSDB_SILENCE_H

#include <rocksdb/c.h>

#ifdef __cplusplus
extern "C"
#endif
    /* Of a database opened with `options`. */
    void
    options_silence(rocksdb_options_t *options);

#endif
