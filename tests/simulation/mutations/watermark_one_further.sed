# connectors/kafka/watermark.c: commit one further than what is settled
s/>> 1) + 1;/>> 1) + 2;/
