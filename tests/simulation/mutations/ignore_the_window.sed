# gateway/core/dedup.c: take an id for known, however long ago it was
/^static bool is_recorded/,/^}/ s/ && found->time_ms >= since_ms//; /^static bool is_recorded/,/^}/ s/^{/{\
    (void)since_ms;/
