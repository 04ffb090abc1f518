# gateway/core/steps.c: ask for the id of the route, which is dead
/^static bool set_id/,/^}/ {
    s/if (options->reader != NULL) {/if (options->reader != NULL \&\& options->dedup->id == NULL) {/
    s/ && options->reader == NULL//
}
