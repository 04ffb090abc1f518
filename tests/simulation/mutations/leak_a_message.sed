# gateway/core/lane.c: keep a message that is settled
/^void lane_delivery_free/,/^}/ s/bailey_message_unref(dlv->pub.message);//
