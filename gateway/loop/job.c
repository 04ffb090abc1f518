/* One queue under one lock: jobs are rare (a commit at a rebalance), so simplicity counts, not speed. A job that finds no idle
 * helper starts one; so a call that takes its whole time-out delays others only when all are taken. */
#include "loop/job.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "loop/thread.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static struct bailey_job *first, **last = &first;
static unsigned threads, idle, queued;

/* The next job, or NULL after JOB_IDLE_MS without one. Called with the lock held. */
static struct bailey_job *wait_for_job(void)
{
    struct timespec until;
    struct bailey_job *job;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOB_IDLE_MS / 1000;
    idle++;
    while (first == NULL)
        if (pthread_cond_timedwait(&arrived, &lock, &until) != 0)
            break;
    idle--;
    job = first;
    if (job != NULL) {
        first = job->next;
        if (first == NULL)
            last = &first;
        queued--;
    }
    return job;
}

static void *help(void *unused)
{
    struct bailey_job *job;

    (void)unused;
    pthread_mutex_lock(&lock);
    while ((job = wait_for_job()) != NULL) {
        pthread_mutex_unlock(&lock);
        job->work(job);
        bailey_post(job->host, &job->task);
        pthread_mutex_lock(&lock);
    }
    threads--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

void job_submit(struct bailey_job *job)
{
    pthread_mutex_lock(&lock);
    job->next = NULL;
    *last = job;
    last = &job->next;
    queued++;
    if (queued > idle && threads < JOB_THREADS_MAX) {
        if (thread_start(help, NULL))
            threads++;
        else if (threads == 0)
            abort(); /* no thread at all can be had: nothing could go on */
    }
    pthread_cond_signal(&arrived);
    pthread_mutex_unlock(&lock);
}
