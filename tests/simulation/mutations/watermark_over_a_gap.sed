# connectors/kafka/watermark.c: commit over what is not settled
s/while (mark->count > 0 \&\& (\*entry(mark, 0) \& 1) != 0) {/while (mark->count > 0 \&\& (int64_t)(*entry(mark, 0) >> 1) <= offset) {/
