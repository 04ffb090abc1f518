# gateway/core/lane.c: put what a full sink did not take behind the others
/^static void dispatch/,/^}/ { s/lane->ready_head = (lane->ready_head - (count - taken)) .*/;/; s/lane->ready_len += count - taken;/for (size_t i = taken; i < count; i++)\
                ready_push(lane, (struct delivery *)batch[i]);/; }
