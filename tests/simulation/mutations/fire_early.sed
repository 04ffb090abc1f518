# gateway/core/schedule.c: let messages go before their time
/^static struct schedule_entry \*next_due/,/^}/ s/if (next == NULL || left < \*wait_ms)/left -= 300;\
            if (next == NULL || left < *wait_ms)/
