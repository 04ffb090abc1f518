# gateway/message/message.c: leave the first header of a dead letter out
/^struct bailey_message \*message_with_headers/,/^}/ s/for (uint32_t i = 0; i < msg->header_count; i++)/for (uint32_t i = 1; i < msg->header_count; i++)/
