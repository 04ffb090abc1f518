# gateway/core/lane_dedup.c: let what may go at once overtake those that wait for their answer
/^static bool ask/,/^}/ s/ \&\& ids->asked.asked_next == &ids->asked//
