# connectors/amqp/acks.c: acknowledge by multiple what is not settled
/^static bool next_prefix/,/^}/ s/            break;/            continue;/
