# gateway/core/lane.c: send what is past its expiry
/^static bool admit/,/^}/ s/if (msg->expires_at_ms != 0 \&\& .*/if (false)/
