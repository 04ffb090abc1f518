# connectors/kafka/takeover.c: take what another process had for the own
/^enum takeover_owner takeover_owner/,/^}/ s/memcmp(metadata->data + start, instance, len) != 0/false/
