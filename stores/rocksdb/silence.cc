/* silence.cc: a logger that says nothing. C++, as RocksDB 7.8 has no other way to one.
 *
 * Its own logger writes to a file beside the data, and its second line that a full disk refuses ends the process, by an assertion of
 * WritableFileWriter that Debian's library has kept. What went wrong is in the error that each call returns.
 */
#include "silence.h"

#include <memory>
#include <rocksdb/env.h>

namespace
{
class Silent : public rocksdb::Logger
{
  public:
    using rocksdb::Logger::Logv;
    void Logv(const char *, va_list) override {}
};
} // namespace

struct rocksdb_logger_t { /* as in RocksDB's c.cc */
    std::shared_ptr<rocksdb::Logger> rep;
};

void options_silence(rocksdb_options_t *options)
{
    rocksdb_logger_t logger{std::make_shared<Silent>()};

    rocksdb_options_set_info_log(options, &logger); /* copies the pointer */
}
