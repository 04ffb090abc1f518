/* loop/job.h: helper threads for calls that block (those of client libraries; names are resolve.h's), shared by all loops of the process.
 *
 * Threads are started when jobs wait, up to JOB_THREADS_MAX, and end after JOB_IDLE_MS without work.
 */
#ifndef BAILEY_JOB_H
#define BAILEY_JOB_H

#include <bailey/host.h>

enum { JOB_THREADS_MAX = 8, JOB_IDLE_MS = 10000 };

/* Any thread: run job->work on a helper thread, then post job->task to job->host. */
void job_submit(struct bailey_job *job);

#endif
