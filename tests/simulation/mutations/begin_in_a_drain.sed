# gateway/core/lane.c: begin with others when one was left to its source
/^static bool may_begin/,/^}/ s/return .*/return lane != NULL;/
