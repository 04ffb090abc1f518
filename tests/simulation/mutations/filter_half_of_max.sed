# gateway/core/filter.c: remember half of max
/^int64_t filter_expire/,/^}/ s/>= filter->max/>= filter->max \/ 2/
