# connectors/amqp/acks.c: acknowledge what was told already
/^static bool next_single/,/^}/ s/set_state(acks, tag, TOLD);/;/
