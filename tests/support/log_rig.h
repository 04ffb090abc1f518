/* log_rig.h: what the log says, for tests that count its events. One log at a time. */
#ifndef BAILEY_TEST_LOG_RIG_H
#define BAILEY_TEST_LOG_RIG_H

void log_rig_begin(void);
/* How many lines have this text in them. */
int log_rig_count(const char *text);
/* The log is the standard error stream again. */
void log_rig_end(void);

#endif
