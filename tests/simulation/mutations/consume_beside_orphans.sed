# tests/simulation/queue_source.c: ask for a whole credit while an earlier channel's messages are out
/^static void adjust(struct source \*source)$/,/^}/ s/if (room > 0 \&\& room < source->window)/if (room == SIZE_MAX)/
