/* config/scalar.h: the value of a scalar: the environment, files of secrets, the literal `$${`. */
#ifndef BAILEY_SCALAR_H
#define BAILEY_SCALAR_H

#include "config/yaml.h"

enum { SCALAR_FILE_MAX = 1 << 20 }; /* bytes of a !file */

/* Fill text and pattern of `node` from its `shown`. False if memory ran out; mistakes become findings. */
bool scalar_expand(struct arena *arena, struct yaml_node *node, struct findings *findings);

/* The node is `!file PATH`: expand the path, then take the file's content, without one newline at its end. */
bool scalar_read_file(struct arena *arena, struct yaml_node *node, const char *folder, struct findings *findings);

#endif
