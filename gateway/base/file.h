/* base/file.h: small text files that are read as a whole (secrets), and whether a file has changed.
 *
 * Any thread. Reading blocks as long as the disk does.
 */
#ifndef BAILEY_FILE_H
#define BAILEY_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <bailey/option.h>

enum file_result { FILE_OK, FILE_TOO_LARGE, FILE_FAILED };

/* Read the regular file `path` into `text` of `size` bytes, ended by a zero byte: its content without one newline (\n or
 * \r\n) at its end. FILE_TOO_LARGE: it has `size` bytes or more. FILE_FAILED: `*reason` says why; a zero byte in it is
 * a reason too. What was read into `text` then is wiped. */
enum file_result file_read_text(const char *path, char *text, size_t size, size_t *len, const char **reason);

/* True if the file at `path` (what a symbolic link leads to) is not the one of `*stamp`, which is then the new one's. A
 * stamp of zeros is that of no file: of one that is missing, too. */
bool file_changed(const char *path, struct bailey_stamp *stamp);

#endif
