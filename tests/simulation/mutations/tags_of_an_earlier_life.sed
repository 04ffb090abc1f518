# connectors/amqp/acks.c: go on with the tags of an earlier channel
/^void amq_acks_reset/,/^}/ s/acks->base = acks->next = acks->scan = 1;/if (acks->next == 0)\
        acks->base = acks->next = acks->scan = 1;/
