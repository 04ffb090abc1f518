# gateway/core/dead_letter.c: do not say what key it had
/^struct bailey_message \*dead_letter_new/,/^}/ s/if (msg->key.data != NULL)/if (msg == NULL)/
