# gateway/core/lane.c: let several of a key go at once, though one may have to wait for another one with its id
/^static void make_order/,/^}/ s/options->pipelines && options->dedup == NULL/options->pipelines/
