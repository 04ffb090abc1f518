# gateway/core/recall.c: go on remembering what has come again
/^bool recall_take(/,/^}/ s/    forget(recall, place);//
