/* loop/mailbox.c: order within a sender, nothing lost between threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "loop/mailbox.h"

enum { SENDERS = 4, TASKS = 50000 };

struct sender {
    struct mailbox *mailbox;
    struct bailey_task *tasks;
    int wakes;
};

static void *send_all(void *ctx)
{
    struct sender *sender = ctx;

    for (int i = 0; i < TASKS; i++)
        sender->wakes += mailbox_post(sender->mailbox, &sender->tasks[i]);
    return NULL;
}

static void only_the_first_post_to_an_empty_mailbox_asks_for_a_wake_up(void **state)
{
    struct mailbox mailbox = {0};
    struct bailey_task one = {0}, two = {0};

    (void)state;
    assert_true(mailbox_post(&mailbox, &one));
    assert_false(mailbox_post(&mailbox, &two));
    assert_ptr_equal(mailbox_take(&mailbox), &one);
    assert_ptr_equal(one.next, &two);
    assert_null(two.next);
    assert_null(mailbox_take(&mailbox));
    assert_true(mailbox_post(&mailbox, &one));
}

static void tasks_of_each_sender_come_all_and_in_order(void **state)
{
    struct mailbox mailbox = {0};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    ptrdiff_t next[SENDERS] = {0};
    int taken = 0;

    (void)state;
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.mailbox = &mailbox, .tasks = calloc(TASKS, sizeof(struct bailey_task))};
        for (int k = 0; k < TASKS; k++)
            senders[i].tasks[k].ctx = &senders[i];
        pthread_create(&threads[i], NULL, send_all, &senders[i]);
    }
    while (taken < SENDERS * TASKS) {
        for (struct bailey_task *task = mailbox_take(&mailbox), *after; task != NULL; task = after, taken++) {
            struct sender *sender = task->ctx;

            after = task->next;
            assert_int_equal(task - sender->tasks, next[sender - senders]++);
        }
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        free(senders[i].tasks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_first_post_to_an_empty_mailbox_asks_for_a_wake_up),
        cmocka_unit_test(tasks_of_each_sender_come_all_and_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
