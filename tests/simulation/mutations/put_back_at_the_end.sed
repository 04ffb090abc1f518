# gateway/core/outlet.c: put what a full sink did not take behind the others
/^static void put_back/,/^}/ { s/outlet->head = (outlet->head - 1).*//; s/outlet->ready\[outlet->head\] = batch\[i\];/outlet->ready[(outlet->head + outlet->len) \& (outlet->cap - 1)] = batch[count - 1 - i];/; }
