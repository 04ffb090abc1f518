# gateway/core/replay.c: do not count how often a dead letter was replayed
/^void replay_unwrap/,/^}/ s/dlv->replays = .*/dlv->replays = 1;/
