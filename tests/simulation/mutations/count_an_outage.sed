# gateway/core/lane.c: count what was handed back as an attempt
/^void bailey_hand_back/,/^}/ s/        dlv->is_in_doubt |= in_doubt;/        dlv->is_in_doubt |= in_doubt;\
        dlv->counted++;/
