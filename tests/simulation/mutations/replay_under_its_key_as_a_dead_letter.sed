# gateway/core/replay.c: keep the dead letter's key
/^void replay_unwrap/,/^}/ s/text_of(letter, DEAD_LETTER_KEY), DEAD_LETTER_PREFIX/letter->key, DEAD_LETTER_PREFIX/
