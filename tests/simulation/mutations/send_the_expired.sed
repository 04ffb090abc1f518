# gateway/core/lane.c: send what is past its expiry
/^static bool admit/,/^}/ s/msg->expires_at_ms == 0/msg != NULL/
