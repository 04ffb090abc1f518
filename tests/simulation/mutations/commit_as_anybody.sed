# tests/simulation/log_broker.c: let a member commit that has lost the partition
s/answer.flags = part->owner != session .*/answer.flags = 0;/
