# gateway/core/filter.c: leave the youngest out when it is filled
/^void filter_fill/,/^}/ s/quarter < QUARTERS \&\&/quarter < QUARTERS \&\& quarter > 0 \&\&/
