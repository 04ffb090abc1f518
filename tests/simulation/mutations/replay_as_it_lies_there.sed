# gateway/core/replay.c: leave on it what made it a dead letter
/^void replay_unwrap/,/^}/ s/text_of(letter, DEAD_LETTER_KEY), DEAD_LETTER_PREFIX/text_of(letter, DEAD_LETTER_KEY), "nothing"/
