# tests/simulation/state.c: write a part of a commit
/^static void write_some/,/^}/ s/k < commit->count;/k < commit->count - commit->count \/ 3;/
