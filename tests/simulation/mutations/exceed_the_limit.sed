# gateway/core/lane.c: take more messages than messages_max
/^static size_t limit/,/^}/ s/size_t kept = count < left ? count : left;/size_t kept = count;/
