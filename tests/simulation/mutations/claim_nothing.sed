# connectors/kafka/takeover.c: leave a partition unclaimed that nobody has committed
/^struct takeover takeover_begin/,/^}/ s/owner != TAKEOVER_OURS/owner == TAKEOVER_ANOTHERS/
