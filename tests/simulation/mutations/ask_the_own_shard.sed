# gateway/core/dedup_client.c: ask the shard of the lane, whoever owns the id
/^static bool request/,/^}/ s/id_owner(item->slot->id, client->options.group->count)/client->options.number/
