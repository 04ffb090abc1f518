# gateway/core/lane.c: never tell the source that there is room again
/^static void do_work/,/^}/ s/lane->options.source->resume(lane->from.self);//
