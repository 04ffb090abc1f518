# connectors/kafka/takeover.c: mark every other message of another process
/^bool takeover_marks/,/^}/ s/    return true;/    return takeover->left % 2 == 0;/
