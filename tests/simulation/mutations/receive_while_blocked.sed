# gateway/core/lane.c: go on receiving behind a hopeless one
/^static bool may_receive/,/^}/ s/ \&\& lane->blocking == 0//
