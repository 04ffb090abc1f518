# gateway/core/dead_letter.c: give a dead letter the key of its message
/^struct bailey_message \*dead_letter_new/,/^}/ s/return message_with_headers(msg, bailey_bytes_of(id)/return message_with_headers(msg, msg->key/
