/* core/schedule.c on virtual time, over a table that the test holds in its hands. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/big_endian.h"
#include "base/log.h"
#include "core/schedule.h"
#include "core/schedule_recent.h"
#include "core/schedule_row.h"
#include "fake_table.h"
#include "loop/loop.h"
#include "message/codec.h"
#include "message/pool.h"
#include "virtual_clock.h"

enum { NUMBERS = 8192, HOUR_MS = 3600000, LANES_MAX = 4 };

static struct bailey_host *loop;
static struct fake_table fake;
static struct bailey_pool *pool;

/* One life of one lane. */
struct life {
    struct schedule *schedule;
    unsigned kept_ends, dues, dues_seen;
    char trouble[64];
    bool closed;
};
static struct life lives[LANES_MAX], *life = lives;
static size_t window_messages = 1000;

static struct {
    struct schedule_slot slot;
    bool kept;
} slots[NUMBERS];

/* What was taken, in its order. */
static struct {
    struct schedule_entry *entry;
    struct schedule_note note;
    unsigned number;
    int64_t at_ms;
} got[NUMBERS];
static size_t got_count;

/* ---- The rig ---- */

static void on_kept(void *ctx, struct schedule_slot *slot)
{
    size_t number = (size_t)((char *)slot - (char *)slots) / sizeof slots[0];

    (void)ctx;
    assert_true(number < NUMBERS && !slots[number].kept);
    slots[number].kept = true;
    bailey_message_unref(slot->message);
    slot->message = NULL;
}

static void on_kept_end(void *ctx)
{
    ((struct life *)ctx)->kept_ends++;
}

static void on_due(void *ctx)
{
    ((struct life *)ctx)->dues++;
}

static void on_trouble(void *ctx, const char *reason)
{
    struct life *of = ctx;

    assert_string_not_equal(of->trouble, reason);
    snprintf(of->trouble, sizeof of->trouble, "%s", reason);
}

static void on_closed(void *ctx)
{
    ((struct life *)ctx)->closed = true;
}

static void settle_down(void)
{
    for (int i = 0; i < 8; i++)
        loop_turn(loop, 0);
}

static void begin_lane(struct life *of, unsigned lane, unsigned lanes)
{
    *of = (struct life){0};
    of->schedule = schedule_new(&(struct schedule_options){
        .host = loop,
        .table = &fake.table,
        .messages = pool,
        .route = "r",
        .lane = lane,
        .lanes = lanes,
        .window_messages = window_messages,
        .window_bytes = 1 << 20,
        .on_kept = on_kept,
        .on_kept_end = on_kept_end,
        .on_due = on_due,
        .on_trouble = on_trouble,
        .ctx = of,
    });
}

static void begin(void)
{
    begin_lane(life, 0, 1);
    settle_down();
}

static void forget_slots(void)
{
    for (size_t i = 0; i < NUMBERS; i++) {
        bailey_message_unref(slots[i].slot.message);
        slots[i].slot.message = NULL;
    }
}

/* The process dies. */
static void kill_it(bool power_cut)
{
    (power_cut ? fake_table_power_cut : fake_table_kill)(&fake);
    for (size_t i = 0; i < LANES_MAX; i++) {
        schedule_free(lives[i].schedule);
        lives[i].schedule = NULL;
    }
    forget_slots();
    got_count = 0;
}

static void end_in_order(struct life *of)
{
    schedule_close(of->schedule, on_closed);
    assert_false(of->closed);
    UNTIL(loop, of->closed);
    schedule_free(of->schedule);
    of->schedule = NULL;
}

static int set_up(void **state)
{
    (void)state;
    memset(slots, 0, sizeof slots);
    got_count = 0;
    window_messages = 1000;
    wall_ahead_ms = INT64_C(1750000000000);
    fake_table_init(&fake);
    pool = message_pool_new();
    loop = loop_new(&(struct loop_options){0}, NULL);
    return loop == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    kill_it(false);
    fake_table_free(&fake);
    message_pool_free(pool);
    loop_free(loop);
    return 0;
}

static int64_t wait_now(void)
{
    return time_ms + fake.table.clock_ms;
}

static struct id id_of_number(unsigned number)
{
    return (struct id){{number * UINT64_C(0x9e3779b97f4a7c15), number}};
}

static struct schedule_slot *slot_of(unsigned number, enum schedule_line line, int64_t due_ms)
{
    struct schedule_slot *slot = &slots[number].slot;
    struct bailey_message *msg = message_new(pool);
    char body[32];

    assert_true(number < NUMBERS);
    snprintf(body, sizeof body, "%u", number);
    msg->body = bailey_message_copy(msg, body, strlen(body));
    bailey_message_unref(slot->message);
    slots[number].kept = false;
    *slot = (struct schedule_slot){.note = {.due_ms = due_ms, .line = (uint8_t)line, .unique = id_of_number(number)},
                                   .message = msg};
    return slot;
}

static void gather_put(unsigned number, enum schedule_line line, int64_t due_ms)
{
    schedule_put(life->schedule, slot_of(number, line, due_ms));
}

/* Due `delay_ms` from now. */
static void put(unsigned number, int64_t delay_ms)
{
    gather_put(number, SCHEDULE_WAIT, wait_now() + delay_ms);
    schedule_flush(life->schedule);
    settle_down();
    assert_true(slots[number].kept);
}

static bool take_one(struct life *of)
{
    struct bailey_message *msg = NULL;
    struct schedule_note note;
    struct schedule_entry *entry = schedule_take(of->schedule, &msg, &note);

    if (entry == NULL)
        return false;
    assert_true(got_count < NUMBERS);
    got[got_count].entry = entry;
    got[got_count].note = note;
    got[got_count].number = (unsigned)strtoul((const char *)msg->body.data, NULL, 10);
    got[got_count++].at_ms = time_ms;
    assert_true(id_equal(note.unique, id_of_number(got[got_count - 1].number)));
    bailey_message_unref(msg);
    return true;
}

static void take_all(void)
{
    while (take_one(life))
        ;
}

/* As a lane does: when it is told, and until there is no more; virtual time moves on. */
static void run_until(int64_t until_ms)
{
    for (; time_ms <= until_ms; time_ms++) {
        loop_turn(loop, 0);
        loop_turn(loop, 0);
        if (life->dues != life->dues_seen) {
            life->dues_seen = life->dues;
            take_all();
        }
    }
    time_ms--;
}

static void done(size_t i)
{
    schedule_done(life->schedule, got[i].entry);
}

static void done_all(void)
{
    for (size_t i = 0; i < got_count; i++)
        done(i);
    schedule_flush(life->schedule);
    settle_down();
    got_count = 0;
}

static size_t messages_in_table(void)
{
    size_t count = 0;

    for (size_t i = 0; i < fake.now.count; i++)
        count += fake.now.rows[i].key.len == ROW_KEY;
    return count;
}

/* ---- Times ---- */

static void each_comes_at_its_time_and_in_order(void **state)
{
    static const int64_t delays[] = {500, 20, 20, 3000, 0, 1, 100, 20};
    int64_t began_ms = time_ms;

    (void)state;
    begin();
    for (unsigned i = 0; i < 8; i++)
        gather_put(i, SCHEDULE_WAIT, wait_now() + delays[i]);
    schedule_flush(life->schedule);
    run_until(began_ms + 4000);
    static const unsigned order[] = {4, 5, 1, 2, 7, 6, 0, 3}; /* of the same time: as they were put */
    assert_int_equal(got_count, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(got[i].number, order[i]);
        int64_t late_ms = got[i].at_ms - began_ms - delays[order[i]];
        assert_in_range(late_ms, 0, 5);
        assert_false(got[i].note.in_doubt);
    }
    assert_int_equal(schedule_count(life->schedule), 8);
    done_all();
    assert_int_equal(schedule_count(life->schedule), 0);
    assert_int_equal(messages_in_table(), 0);
}

static void what_is_not_taken_is_due_still(void **state)
{
    (void)state;
    begin();
    put(1, 10);
    put(2, 10);
    put(3, 500);
    run_until(time_ms + 5);
    UNTIL(loop, life->dues > 0);
    assert_true(take_one(life)); /* there is credit for one */
    unsigned dues = life->dues;
    time_ms += 600;
    settle_down();
    assert_int_equal(life->dues, dues); /* it has been told */
    assert_true(take_one(life));
    assert_int_equal(got[1].number, 2);
    while (!take_one(life)) /* it may need a write to take that much */
        settle_down();
    assert_int_equal(got[2].number, 3);
}

static void a_jump_of_the_wall_clock_moves_only_what_waits_for_it(void **state)
{
    (void)state;
    begin();
    gather_put(1, SCHEDULE_WALL, time_ms + wall_ahead_ms + HOUR_MS);
    gather_put(2, SCHEDULE_WAIT, wait_now() + HOUR_MS);
    schedule_flush(life->schedule);
    run_until(time_ms + 3000);
    assert_int_equal(got_count, 0);
    wall_ahead_ms += HOUR_MS;
    int64_t jumped_ms = time_ms;
    run_until(time_ms + 3000);
    assert_int_equal(got_count, 1);
    assert_int_equal(got[0].number, 1);
    assert_in_range(got[0].at_ms - jumped_ms, 0, 1100);
    wall_ahead_ms -= 10 * HOUR_MS;
    time_ms += HOUR_MS - 7000;
    settle_down();
    run_until(time_ms + 10000);
    assert_int_equal(got_count, 2);
    assert_int_equal(got[1].number, 2);
}

static void what_is_due_before_1970_or_never_does_no_harm(void **state)
{
    (void)state;
    begin();
    gather_put(1, SCHEDULE_WALL, INT64_MIN);
    gather_put(2, SCHEDULE_WALL, -1);
    gather_put(3, SCHEDULE_WALL, INT64_MAX);
    gather_put(4, SCHEDULE_WAIT, INT64_MAX);
    gather_put(5, SCHEDULE_WAIT, INT64_MIN);
    schedule_flush(life->schedule);
    run_until(time_ms + 100);
    assert_int_equal(got_count, 3);
    assert_int_equal(schedule_count(life->schedule), 5);
}

/* ---- What is written ---- */

static void it_is_kept_when_it_is_synced_and_not_before(void **state)
{
    (void)state;
    begin();
    unsigned ends = life->kept_ends;
    fake.holds = true;
    gather_put(1, SCHEDULE_WAIT, wait_now());
    settle_down();
    assert_int_equal(fake.held_count, 0); /* it is gathered */
    schedule_flush(life->schedule);
    settle_down();
    assert_false(slots[1].kept);
    assert_false(take_one(life)); /* nor is it sent */
    fake_table_release(&fake, 1);
    assert_false(slots[1].kept);
    settle_down();
    assert_true(slots[1].kept);
    assert_int_equal(life->kept_ends, ends + 1);
    kill_it(true);
    fake.holds = false;
    begin();
    run_until(time_ms + 10);
    assert_int_equal(got_count, 1);
}

static void many_share_a_write(void **state)
{
    (void)state;
    begin();
    size_t writes = fake.writes, reads = fake.reads;
    unsigned ends = life->kept_ends;
    for (unsigned i = 0; i < 500; i++)
        gather_put(i, SCHEDULE_WAIT, wait_now() + 100);
    schedule_flush(life->schedule);
    settle_down();
    assert_int_equal(fake.writes, writes + 1);
    assert_int_equal(life->kept_ends, ends + 1);
    run_until(time_ms + 150);
    assert_int_equal(got_count, 500);
    assert_int_equal(fake.reads, reads); /* they went straight to the window */
    writes = fake.writes;
    size_t syncs = fake.syncs;
    done_all();
    assert_int_equal(fake.writes, writes + 1);
    assert_int_equal(fake.syncs, syncs); /* a repetition after a power cut is marked */
    assert_int_equal(messages_in_table(), 0);
}

static void a_steady_flow_costs_a_write_a_second(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < 1000; i++)
        gather_put(i, SCHEDULE_WAIT, wait_now() + 2000 + 10 * (int64_t)i);
    schedule_flush(life->schedule);
    settle_down();
    size_t writes = fake.writes;
    run_until(time_ms + 12100);
    assert_int_equal(got_count, 1000);
    for (size_t i = 0; i < got_count; i++)
        assert_int_equal(got[i].number, i);
    assert_in_range(fake.writes - writes, 8, 25);
}

static void what_was_put_comes_back_whole(void **state)
{
    struct bailey_message *msg = message_new(pool), *back;
    struct bailey_header header = {.name = bailey_bytes_of("h"), .value = {.kind = BAILEY_KIND_I64, .i64 = -5}};
    struct schedule_note note;

    (void)state;
    begin();
    msg->key = bailey_bytes_of("k");
    msg->headers = &header;
    msg->header_count = 1;
    msg->origin.topic = bailey_bytes_of("t");
    msg->origin.offset = 77;
    slots[0].slot = (struct schedule_slot){.note = {.due_ms = wait_now(),
                                                    .has_id = true,
                                                    .in_doubt = true,
                                                    .attempts = 3,
                                                    .counted = 2,
                                                    .first_failed_ms = -1,
                                                    .last_failed_ms = 1750000000001,
                                                    .unique = id_of_number(0)},
                                           .message = msg};
    schedule_put(life->schedule, &slots[0].slot);
    schedule_flush(life->schedule);
    settle_down();
    kill_it(false);
    begin();
    UNTIL(loop, life->dues > 0);
    struct schedule_entry *entry = schedule_take(life->schedule, &back, &note);
    assert_non_null(entry);
    assert_true(bailey_bytes_is(back->key, "k") && back->body.data == NULL && back->origin.offset == 77);
    assert_true(bailey_bytes_is(back->origin.topic, "t") && back->headers[0].value.i64 == -5);
    assert_true(note.has_id && note.in_doubt && note.attempts == 3 && note.counted == 2 && note.first_failed_ms == -1);
    assert_int_equal(note.last_failed_ms, 1750000000001);
    bailey_message_unref(back);
    schedule_leave(life->schedule, entry, false);
}

/* ---- The window ---- */

static void memory_holds_the_next_of_many(void **state)
{
    enum { COUNT = 6000 };

    (void)state;
    window_messages = 200;
    begin();
    srand(3);
    for (unsigned i = 0; i < COUNT; i++) {
        gather_put(i, rand() % 2 ? SCHEDULE_WAIT : SCHEDULE_WALL, 0);
        slots[i].slot.note.due_ms =
            rand() % 20000 + (slots[i].slot.note.line == SCHEDULE_WAIT ? wait_now() : time_ms + wall_ahead_ms);
        if (i % 97 == 0) {
            schedule_flush(life->schedule);
            settle_down();
        }
    }
    schedule_flush(life->schedule);
    settle_down();
    assert_int_equal(schedule_count(life->schedule), COUNT);
    assert_true(fake.rows_read < 400 + 2 * COUNT);
    for (int64_t end_ms = time_ms + 20100; time_ms < end_ms;) {
        run_until(time_ms + 50);
        done_all();
    }
    assert_int_equal(schedule_count(life->schedule), 0);
    assert_int_equal(messages_in_table(), 0);
}

static void order_is_kept_over_refills_and_new_ones(void **state)
{
    int64_t last_ms = 0, began_ms = time_ms;
    size_t taken = 0;
    unsigned next = 0;

    (void)state;
    window_messages = 20;
    begin();
    srand(5);
    while (time_ms < began_ms + 3000) {
        for (int i = rand() % 4; i > 0 && next < NUMBERS - 1; i--, next++)
            gather_put(next, SCHEDULE_WAIT, wait_now() + 1 + rand() % 300);
        schedule_flush(life->schedule);
        run_until(time_ms + 1 + rand() % 3);
        for (size_t i = 0; i < got_count; i++) {
            assert_true(got[i].note.due_ms >= last_ms - 10); /* one may be put at its time */
            last_ms = got[i].note.due_ms > last_ms ? got[i].note.due_ms : last_ms;
            assert_in_range(got[i].at_ms + fake.table.clock_ms - got[i].note.due_ms, 0, 8);
        }
        taken += got_count;
        done_all();
    }
    run_until(time_ms + 400);
    assert_int_equal(taken + got_count, next);
}

static void a_put_while_the_window_is_read_is_neither_lost_nor_doubled(void **state)
{
    (void)state;
    window_messages = 8;
    begin();
    for (unsigned i = 0; i < 40; i++)
        gather_put(i, SCHEDULE_WAIT, wait_now() + 100 + 10 * (int64_t)i);
    schedule_flush(life->schedule);
    settle_down();
    unsigned next = 40;
    fake.holds = true;
    /* One request at a time is made, the oldest first, with a put or two before each. */
    for (int64_t end_ms = time_ms + 1500; time_ms < end_ms; time_ms++) {
        if (time_ms % 3 == 0 && next < 400) {
            gather_put(next, SCHEDULE_WAIT, wait_now() + 5 + (int64_t)(next * 37 % 200));
            next++;
            schedule_flush(life->schedule);
        }
        loop_turn(loop, 0);
        if (time_ms % 2 == 0)
            fake_table_release(&fake, 1);
        loop_turn(loop, 0);
        take_all();
    }
    fake.holds = false;
    fake_table_release(&fake, FAKE_TABLE_REQUESTS);
    for (int i = 0; i < 400; i++) {
        time_ms++;
        settle_down();
        take_all();
    }
    static unsigned times[NUMBERS];
    memset(times, 0, sizeof times);
    for (size_t i = 0; i < got_count; i++)
        times[got[i].number]++;
    for (unsigned i = 0; i < next; i++)
        assert_int_equal(times[i], 1);
}

static void a_read_that_fails_beside_puts_hides_nothing(void **state)
{
    (void)state;
    window_messages = 16; /* eight of a line */
    begin();
    for (unsigned i = 0; i < 20; i++)
        gather_put(i, SCHEDULE_WAIT, wait_now() + 100 + (int64_t)i);
    schedule_flush(life->schedule);
    settle_down();
    time_ms += 103;
    settle_down();
    fake.holds = true;
    for (unsigned i = 20; i < 30; i++) /* behind all of them */
        gather_put(i, SCHEDULE_WAIT, wait_now() + 1000 + (int64_t)i);
    schedule_flush(life->schedule);
    take_all();
    assert_int_equal(got_count, 4); /* and more is read */
    fake_table_release(&fake, 1);
    settle_down();
    assert_true(slots[29].kept);
    fake.fails_reads = true;
    fake_table_release(&fake, 1);
    settle_down();
    assert_string_not_equal(life->trouble, "");
    fake.fails_reads = fake.holds = false;
    put(30, 500);
    time_ms += 1100; /* it is tried again */
    run_until(time_ms + 1100);
    assert_int_equal(got_count, 31);
}

static void a_clock_that_is_set_back_lets_nothing_be_taken_twice(void **state)
{
    (void)state;
    window_messages = 16;
    begin();
    gather_put(0, SCHEDULE_WALL, time_ms + wall_ahead_ms + HOUR_MS);
    schedule_flush(life->schedule);
    settle_down();
    wall_ahead_ms += 2 * HOUR_MS;
    run_until(time_ms + 1100);
    assert_int_equal(got_count, 1);
    wall_ahead_ms -= 2 * HOUR_MS;
    for (unsigned i = 1; i < 20; i++) /* more than the window holds, and all before it */
        gather_put(i, SCHEDULE_WALL, time_ms + wall_ahead_ms + 100 * (int64_t)i);
    schedule_flush(life->schedule);
    settle_down();
    run_until(time_ms + 3000);
    assert_int_equal(got_count, 20);
    wall_ahead_ms += 2 * HOUR_MS;
    run_until(time_ms + 3000);
    assert_int_equal(got_count, 20);
    done_all();
    assert_int_equal(messages_in_table(), 0);
    assert_int_equal(schedule_count(life->schedule), 0);
}

/* ---- Again ---- */

static void a_refused_one_waits_again_in_its_place(void **state)
{
    (void)state;
    begin();
    put(1, 0);
    run_until(time_ms + 10);
    assert_int_equal(got_count, 1);
    struct schedule_slot *slot = slot_of(1, SCHEDULE_WAIT, wait_now() + 1000);
    slot->note.attempts = 1;
    slot->note.first_failed_ms = slot->note.last_failed_ms = 5;
    size_t writes = fake.writes;
    schedule_again(life->schedule, got[0].entry, slot);
    schedule_flush(life->schedule);
    settle_down();
    assert_true(slots[1].kept);
    assert_int_equal(fake.writes, writes + 1);
    assert_int_equal(messages_in_table(), 1);
    assert_int_equal(schedule_count(life->schedule), 1);
    run_until(time_ms + 990);
    assert_int_equal(got_count, 1);
    run_until(time_ms + 20);
    assert_int_equal(got_count, 2);
    assert_true(got[1].note.attempts == 1 && got[1].note.first_failed_ms == 5 && !got[1].note.in_doubt);
    schedule_done(life->schedule, got[1].entry);
    schedule_flush(life->schedule);
    settle_down();
    assert_int_equal(messages_in_table(), 0);
}

/* ---- What a source gives again ---- */

static void a_repetition_replaces_what_waits(void **state)
{
    (void)state;
    begin();
    put(1, 500);
    put(2, 500);
    time_ms += 100;
    put(1, 500);
    assert_int_equal(messages_in_table(), 2);
    assert_int_equal(schedule_count(life->schedule), 2);
    run_until(time_ms + 450);
    assert_int_equal(got_count, 1);
    assert_int_equal(got[0].number, 2);
    run_until(time_ms + 60);
    assert_int_equal(got_count, 2);
    assert_int_equal(got[1].number, 1);
    assert_false(got[1].note.in_doubt);
}

static void a_repetition_after_a_crash_replaces_what_waits(void **state)
{
    (void)state;
    for (int power_cut = 0; power_cut < 2; power_cut++) {
        begin();
        put(1, 5000);
        time_ms += 1000;
        kill_it(power_cut);
        time_ms += 1000;
        begin();
        put(1, 5000);
        assert_int_equal(messages_in_table(), 1);
        assert_int_equal(schedule_count(life->schedule), 1);
        run_until(time_ms + 4990);
        assert_int_equal(got_count, 0);
        run_until(time_ms + 20);
        assert_int_equal(got_count, 1);
        assert_false(got[0].note.in_doubt);
        done_all();
        kill_it(false);
    }
}

static void a_repetition_of_what_was_taken_is_marked(void **state)
{
    (void)state;
    begin();
    put(1, 0); /* taken */
    put(2, 0); /* sent */
    run_until(time_ms + 5);
    assert_int_equal(got_count, 2);
    done(1);
    schedule_flush(life->schedule);
    settle_down();
    put(1, 100);
    put(2, 100);
    assert_int_equal(messages_in_table(), 3);
    run_until(time_ms + 110);
    assert_int_equal(got_count, 4);
    assert_true(got[2].number == 1 && got[2].note.in_doubt);
    assert_true(got[3].number == 2 && got[3].note.in_doubt);
    kill_it(true);
    begin();
    put(2, HOUR_MS);
    assert_int_equal(messages_in_table(), 3);
    run_until(time_ms + 5);
    for (size_t i = 0; i < got_count; i++)
        assert_true(got[i].note.in_doubt);
}

static void two_in_one_write_are_one(void **state)
{
    (void)state;
    begin();
    gather_put(1, SCHEDULE_WAIT, wait_now() + 100);
    struct schedule_slot other = {.note = {.due_ms = wait_now() + 50, .unique = id_of_number(1)},
                                  .message = slots[1].slot.message};
    slots[2].slot = other;
    bailey_message_ref(other.message);
    schedule_put(life->schedule, &slots[2].slot);
    schedule_flush(life->schedule);
    settle_down();
    assert_true(slots[1].kept && slots[2].kept);
    assert_int_equal(messages_in_table(), 1);
    run_until(time_ms + 200);
    assert_int_equal(got_count, 1);
    assert_int_equal(schedule_count(life->schedule), 1);
}

/* ---- Ends ---- */

static void after_a_clean_end_nothing_is_marked(void **state)
{
    (void)state;
    begin();
    put(1, 0);
    put(2, 300);
    run_until(time_ms + 10);
    assert_int_equal(got_count, 1);
    schedule_leave(life->schedule, got[0].entry, false);
    got_count = 0;
    end_in_order(life);
    fake_table_power_cut(&fake);
    begin();
    run_until(time_ms + 400);
    assert_int_equal(got_count, 2);
    assert_false(got[0].note.in_doubt || got[1].note.in_doubt);
}

static void what_is_left_in_doubt_is_marked_and_stays_so(void **state)
{
    (void)state;
    begin();
    put(1, 0);
    put(2, 5000);
    run_until(time_ms + 10);
    schedule_leave(life->schedule, got[0].entry, true);
    end_in_order(life);
    fake_table_power_cut(&fake);
    got_count = 0;
    begin();
    end_in_order(life); /* a life that takes nothing */
    begin();
    run_until(time_ms + 5100);
    assert_int_equal(got_count, 2);
    assert_true(got[0].number == 1 && got[0].note.in_doubt);
    assert_true(got[1].number == 2 && !got[1].note.in_doubt);
}

static void what_is_taken_at_the_end_is_marked(void **state)
{
    (void)state;
    begin();
    put(1, 0);
    put(2, 10000);
    run_until(time_ms + 10);
    end_in_order(life);
    got_count = 0;
    begin();
    run_until(time_ms + 10100);
    assert_int_equal(got_count, 2);
    assert_true(got[0].note.in_doubt && !got[1].note.in_doubt);
}

static void what_is_gathered_at_the_end_is_written(void **state)
{
    (void)state;
    begin();
    put(1, 0);
    put(3, 0);
    run_until(time_ms + 10);
    assert_int_equal(got_count, 2);
    done(0);
    schedule_again(life->schedule, got[1].entry, slot_of(3, SCHEDULE_WAIT, wait_now() + 50));
    gather_put(2, SCHEDULE_WAIT, wait_now());
    end_in_order(life);
    assert_true(slots[2].kept && slots[3].kept);
    fake_table_power_cut(&fake);
    got_count = 0;
    begin();
    run_until(time_ms + 100);
    assert_int_equal(got_count, 2);
    assert_true(got[0].number == 2 && got[1].number == 3);
    assert_false(got[0].note.in_doubt || got[1].note.in_doubt);
}

static void the_end_waits_for_what_is_asked(void **state)
{
    (void)state;
    begin();
    put(1, 0);
    fake.holds = true;
    gather_put(2, SCHEDULE_WAIT, wait_now());
    schedule_flush(life->schedule);
    schedule_close(life->schedule, on_closed);
    settle_down();
    assert_false(life->closed);
    fake_table_release(&fake, 1);
    settle_down();
    assert_false(life->closed); /* that it was clean is not written */
    assert_true(slots[2].kept);
    fake_table_release(&fake, 1);
    settle_down();
    assert_true(life->closed);
}

static void it_can_end_before_it_has_begun(void **state)
{
    (void)state;
    begin();
    put(1, 0);
    kill_it(false);
    for (size_t answers = 0; answers < 3; answers++) {
        fake.holds = true;
        begin();
        for (size_t i = 0; i < answers; i++) {
            fake_table_release(&fake, 1);
            settle_down();
        }
        schedule_close(life->schedule, on_closed);
        fake.holds = false;
        fake_table_release(&fake, FAKE_TABLE_REQUESTS);
        UNTIL(loop, life->closed);
        schedule_free(life->schedule);
        life->schedule = NULL;
    }
    begin();
    run_until(time_ms + 2000);
    assert_int_equal(got_count, 1);
}

static void a_store_that_fails_does_not_hold_up_the_end(void **state)
{
    (void)state;
    begin();
    put(1, 0);
    put(2, 30000);
    run_until(time_ms + 10);
    done(0);
    fake.fails_writes = true;
    end_in_order(life);
    fake.fails_writes = false;
    got_count = 0;
    begin();
    run_until(time_ms + 30100);
    assert_int_equal(got_count, 2); /* that it was done is lost: so it is marked */
    assert_true(got[0].note.in_doubt && !got[1].note.in_doubt);
}

/* ---- Crashes ---- */

/* A life that is drawn from a seed, and killed at `kill_at`; what is kept must come, and be marked if it was taken before. */
static void live_and_die(unsigned seed, int kill_at, bool power_cut)
{
    enum { COUNT = 60 };
    bool kept[COUNT] = {false}, taken[COUNT] = {false}, finished[COUNT] = {false};
    int64_t due_ms[COUNT] = {0};
    unsigned next = 0, came[COUNT] = {0};

    srand(seed);
    begin();
    for (int step = 0; step < kill_at; step++) {
        fake.holds = rand() % 2 == 0;
        switch (rand() % 4) {
        case 0:
            for (int i = rand() % 4; i > 0 && next < COUNT; i--, next++)
                gather_put(next, rand() % 2 ? SCHEDULE_WAIT : SCHEDULE_WALL, 0),
                    due_ms[next] = rand() % 400,
                    slots[next].slot.note.due_ms =
                        due_ms[next] +
                        (slots[next].slot.note.line == SCHEDULE_WAIT ? wait_now() : time_ms + wall_ahead_ms);
            schedule_flush(life->schedule);
            break;
        case 1:
            take_all();
            break;
        case 2:
            if (got_count > 0) {
                finished[got[--got_count].number] = true;
                schedule_done(life->schedule, got[got_count].entry);
                schedule_flush(life->schedule);
            }
            break;
        default:
            time_ms += rand() % 40;
        }
        loop_turn(loop, 0);
        if (rand() % 3 > 0)
            fake_table_release(&fake, 1 + (size_t)rand() % 3);
        loop_turn(loop, 0);
        for (size_t i = 0; i < got_count; i++)
            taken[got[i].number] = true;
        if (rand() % 8 == 0) /* the wall clock is set */
            wall_ahead_ms += rand() % 2 ? 700 : -700;
    }
    for (unsigned i = 0; i < next; i++)
        kept[i] = slots[i].kept;
    kill_it(power_cut);
    int64_t died_ms = time_ms;
    wall_ahead_ms += rand() % 2 ? HOUR_MS : -HOUR_MS;
    time_ms += rand() % 5000;
    fake.holds = false;
    begin();
    wall_ahead_ms += 2 * HOUR_MS;
    run_until(time_ms + 3000);
    (void)died_ms;
    for (size_t i = 0; i < got_count; i++) {
        came[got[i].number]++;
        if (taken[got[i].number] && !got[i].note.in_doubt)
            fail_msg("seed %u, killed at %d: %u was taken before, and comes unmarked", seed, kill_at, got[i].number);
    }
    for (unsigned i = 0; i < next; i++) {
        if (came[i] > 1 || (came[i] == 0 && kept[i] && !finished[i]))
            fail_msg("seed %u, killed at %d: %u came %u times", seed, kill_at, i, came[i]);
        if (finished[i] && came[i] > 0)
            assert_true(taken[i] || kept[i]);
    }
    assert_int_equal(schedule_count(life->schedule), got_count);
    done_all();
    assert_int_equal(messages_in_table(), 0);
    kill_it(false);
    fake_table_free(&fake);
    fake_table_init(&fake);
}

static void killed_at_any_step_it_loses_nothing_and_marks_what_was_taken(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 6; seed++)
        for (int kill_at = 1; kill_at < 80; kill_at += seed % 2 ? 1 : 3)
            live_and_die(seed, kill_at, kill_at % 2);
}

static void what_became_due_while_nothing_ran_is_not_marked(void **state)
{
    (void)state;
    begin();
    put(1, 0);
    put(2, 3000);
    run_until(time_ms + 10);
    kill_it(true);
    time_ms += 60000;
    begin();
    run_until(time_ms + 10);
    assert_int_equal(got_count, 2);
    assert_true(got[0].note.in_doubt && !got[1].note.in_doubt);
}

static void a_wall_clock_that_is_set_back_hides_nothing(void **state)
{
    (void)state;
    begin();
    gather_put(1, SCHEDULE_WALL, time_ms + wall_ahead_ms + 100);
    schedule_flush(life->schedule);
    run_until(time_ms + 200);
    assert_int_equal(got_count, 1);
    kill_it(false);
    wall_ahead_ms -= HOUR_MS;
    begin();
    put(2, 0);
    run_until(time_ms + 100);
    assert_int_equal(got_count, 1); /* not yet */
    assert_false(got[0].note.in_doubt);
    kill_it(false); /* twice */
    begin();
    wall_ahead_ms += HOUR_MS;
    run_until(time_ms + 1200);
    assert_int_equal(got_count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(got[i].note.in_doubt);
}

/* ---- Failures ---- */

static void what_cannot_be_written_is_tried_again_each_second(void **state)
{
    (void)state;
    for (int sync_fails = 0; sync_fails < 2; sync_fails++) {
        begin();
        put(5, 0);
        run_until(time_ms + 5);
        *(sync_fails ? &fake.fails_syncs : &fake.fails_writes) = true;
        gather_put(1, SCHEDULE_WAIT, wait_now());
        schedule_flush(life->schedule);
        settle_down();
        assert_string_equal(life->trouble, "no space left");
        assert_false(slots[1].kept);
        gather_put(2, SCHEDULE_WAIT, wait_now());
        done(got_count - 1);
        schedule_flush(life->schedule);
        size_t writes = fake.writes;
        run_until(time_ms + 3500);
        assert_in_range(fake.writes - writes, 3, 4);
        assert_false(slots[1].kept || slots[2].kept);
        assert_int_equal(got_count, 1); /* what is not kept is not sent */
        fake.fails_syncs = fake.fails_writes = false;
        run_until(time_ms + 1100);
        assert_true(slots[1].kept && slots[2].kept);
        assert_string_equal(life->trouble, "");
        assert_int_equal(got_count, 3);
        assert_int_equal(schedule_count(life->schedule), 2);
        got[0] = got[2];
        got_count = 2;
        done_all();
        assert_int_equal(messages_in_table(), 0);
        kill_it(false);
    }
}

static void what_cannot_be_read_is_tried_again_each_second(void **state)
{
    (void)state;
    window_messages = 20;
    begin();
    for (unsigned i = 0; i < 100; i++)
        gather_put(i, SCHEDULE_WAIT, wait_now() + i);
    schedule_flush(life->schedule);
    settle_down();
    kill_it(false);
    fake.fails_reads = true;
    begin();
    run_until(time_ms + 1000);
    assert_string_equal(life->trouble, "input/output error");
    assert_int_equal(schedule_count(life->schedule), -1);
    fake.fails_reads = false;
    run_until(time_ms + 1100);
    assert_string_equal(life->trouble, "");
    assert_int_equal(got_count, 100);
    done_all();
    for (unsigned i = 0; i < 100; i++)
        gather_put(i, SCHEDULE_WAIT, wait_now() + 10 * (int64_t)i);
    schedule_flush(life->schedule);
    settle_down();
    fake.fails_reads = true;
    run_until(time_ms + 1000);
    assert_in_range(got_count, 5, 25);
    fake.fails_reads = false;
    run_until(time_ms + 1100);
    assert_int_equal(got_count, 100);
}

static char log_path[] = "/tmp/bailey-schedule-XXXXXX";

static unsigned logged(const char *what)
{
    static char text[65536];
    FILE *file = fopen(log_path, "re");
    unsigned count = 0;

    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

static void a_damaged_row_is_told_of_once_and_stays_aside(void **state)
{
    static const uint8_t short_key[] = {0, 0, 0, 0x80, 1}, prefix[] = {0, 0, 0};
    struct bailey_bytes line = {prefix, 3};

    (void)state;
    window_messages = 8;
    begin();
    for (unsigned i = 0; i < 30; i++)
        gather_put(i, SCHEDULE_WAIT, wait_now() + 10 * (int64_t)i);
    schedule_flush(life->schedule);
    settle_down();
    kill_it(false);
    int fd = mkstemp(log_path);
    assert_true(fd >= 0);
    log_set_fd(fd);
    ((uint8_t *)fake_table_row(&fake, line, 3)->value.data)[0] = 9; /* a later version of the row, */
    ((uint8_t *)fake_table_row(&fake, line, 7)->value.data)[ROW_HEAD] = CODEC_VERSION + 1; /* of the message, */
    fake_table_row(&fake, line, 11)->value.len -= 3;                                       /* and what is no message */
    fake_table_row(&fake, line, 15)->value.len = 0;
    fake_table_put(&fake, (struct bailey_bytes){short_key, sizeof short_key}, bailey_bytes_of("?"));
    begin();
    run_until(time_ms + 2000);
    assert_int_equal(got_count, 26);
    assert_int_equal(logged("schedule.damaged"), 5);
    assert_int_equal(logged("key=0000008001"), 1);
    done_all();
    run_until(time_ms + 2000);
    assert_int_equal(logged("schedule.damaged"), 5);
    assert_int_equal(messages_in_table(), 4);
    assert_non_null(fake_table_row(&fake, (struct bailey_bytes){short_key, sizeof short_key}, 0));
    log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    unlink(log_path);
}

static void a_damaged_row_of_a_lane_marks_all_that_it_had(void **state)
{
    static const uint8_t prefix[] = {0xff, 0xfe};

    (void)state;
    begin();
    put(1, 5000);
    end_in_order(life);
    fake_table_row(&fake, (struct bailey_bytes){prefix, 2}, 0)->value.len -= 1;
    begin();
    put(2, 5000);
    run_until(time_ms + 5100);
    assert_int_equal(got_count, 2);
    assert_true(got[0].note.in_doubt && !got[1].note.in_doubt);
}

static void rows_of_a_later_version_are_left_alone(void **state)
{
    static const uint8_t prefix[] = {0xff, 0xfe};

    (void)state;
    begin();
    put(1, 0);
    end_in_order(life);
    ((uint8_t *)fake_table_row(&fake, (struct bailey_bytes){prefix, 2}, 0)->value.data)[0] = 2;
    begin();
    size_t writes = fake.writes;
    run_until(time_ms + 3000);
    assert_non_null(strstr(life->trouble, "are of a later version"));
    assert_true(got_count == 0 && fake.writes == writes);
}

/* ---- Lanes ---- */

static void lanes_dealt_anew_lose_nothing_and_double_nothing(void **state)
{
    static const unsigned dealings[] = {4, 2, 3, 1, 4};
    enum { COUNT = 400 };
    unsigned next = 0;
    static unsigned times[NUMBERS];

    (void)state;
    memset(times, 0, sizeof times);
    window_messages = 30;
    for (size_t d = 0; d < 5; d++) {
        for (unsigned lane = 0; lane < dealings[d]; lane++)
            begin_lane(&lives[lane], lane, dealings[d]);
        settle_down();
        for (unsigned i = 0; i < COUNT; i++, next++) {
            life = &lives[i % dealings[d]];
            gather_put(next, i % 3 ? SCHEDULE_WAIT : SCHEDULE_WALL, 0);
            slots[next].slot.note.due_ms = (int64_t)(i * 7919 % 8000) + (i % 3 ? wait_now() : time_ms + wall_ahead_ms);
        }
        for (unsigned lane = 0; lane < dealings[d]; lane++)
            schedule_flush(lives[lane].schedule);
        settle_down();
        int64_t count = 0;
        for (unsigned lane = 0; lane < dealings[d]; lane++)
            count += schedule_count(lives[lane].schedule);
        for (int64_t end_ms = time_ms + (d == 4 ? 10000 : 1000); time_ms < end_ms; time_ms += 20) {
            settle_down();
            for (unsigned lane = 0; lane < dealings[d]; lane++) {
                life = &lives[lane];
                take_all();
                for (size_t i = 0; i < got_count; i++)
                    times[got[i].number]++;
                count -= (int64_t)got_count;
                done_all();
            }
        }
        int64_t left = 0;
        for (unsigned lane = 0; lane < dealings[d]; lane++) {
            left += schedule_count(lives[lane].schedule);
            end_in_order(&lives[lane]);
        }
        assert_int_equal(left, count);
        assert_int_equal(left, messages_in_table());
    }
    life = lives;
    assert_int_equal(messages_in_table(), 0);
    for (unsigned i = 0; i < next; i++)
        assert_int_equal(times[i], 1);
}

static void after_a_crash_a_lane_marks_what_it_inherits(void **state)
{
    (void)state;
    for (unsigned lane = 0; lane < 4; lane++)
        begin_lane(&lives[lane], lane, 4);
    settle_down();
    for (unsigned i = 0; i < 8; i++) {
        life = &lives[i % 4];
        gather_put(i, SCHEDULE_WAIT, wait_now() + (i < 4 ? 0 : 10000));
        schedule_flush(life->schedule);
    }
    settle_down();
    time_ms += 100;
    for (unsigned lane = 0; lane < 4; lane++) {
        life = &lives[lane];
        settle_down();
        take_all();
    }
    assert_int_equal(got_count, 4);
    kill_it(true);
    for (unsigned lane = 0; lane < 3; lane++)
        begin_lane(&lives[lane], lane, 3);
    for (int64_t end_ms = time_ms + 11000; time_ms < end_ms; time_ms += 10) {
        settle_down();
        for (unsigned lane = 0; lane < 3; lane++) {
            life = &lives[lane];
            take_all();
        }
    }
    life = lives;
    assert_int_equal(got_count, 8);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(got[i].note.in_doubt, got[i].number < 4);
}

/* Two lanes give their rows the same stamps. */
static void what_is_erased_of_one_lane_hides_nothing_of_another(void **state)
{
    (void)state;
    for (unsigned lane = 0; lane < 2; lane++)
        begin_lane(&lives[lane], lane, 2);
    settle_down();
    for (unsigned lane = 0; lane < 2; lane++) {
        life = &lives[lane];
        put(1 + lane, 1000);
    }
    time_ms += 10;
    put(1, 1000); /* lane 1 gets it again, and knows nothing of the other row */
    life = lives;
    kill_it(false);
    fake.holds = true;
    begin_lane(life, 0, 1);
    for (int i = 0; i < 4; i++) { /* the lanes, two logs, the first write: then its windows are read */
        settle_down();
        fake_table_release(&fake, 1);
    }
    settle_down();
    assert_int_equal(fake.held_count, 4);
    gather_put(2, SCHEDULE_WAIT, wait_now() + 1000);
    schedule_flush(life->schedule);
    fake_table_release(&fake, 5);
    fake.holds = false;
    run_until(time_ms + 1100);
    assert_int_equal(got_count, 2); /* that of the lane 1 went in its place */
    done_all();
    assert_int_equal(messages_in_table(), 0);
    assert_int_equal(schedule_count(life->schedule), 0);
}

static void of_the_logs_of_several_lanes_the_newest_word_counts(void **state)
{
    (void)state;
    begin_lane(&lives[1], 1, 2);
    settle_down();
    life = &lives[1];
    put(1, 0);
    end_in_order(life);
    life = lives;
    begin();
    run_until(time_ms + 10);
    assert_int_equal(got_count, 1);
    done_all();
    end_in_order(life);
    begin();
    put(1, 100); /* it is at the sink */
    assert_int_equal(schedule_count(life->schedule), 1);
    assert_int_equal(messages_in_table(), 1);
    run_until(time_ms + 110);
    assert_int_equal(got_count, 1);
    assert_true(got[0].note.in_doubt);
}

/* ---- The log of what was put lately ---- */

static void the_log_does_not_grow_with_what_was_put(void **state)
{
    size_t at_most = 0;

    (void)state;
    begin();
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < NUMBERS; i++)
            gather_put(i, SCHEDULE_WAIT, wait_now() + HOUR_MS);
        schedule_flush(life->schedule);
        settle_down();
        size_t log = 0;
        static const uint8_t prefix[] = {0xff, 0xfd};
        for (const struct state_row *row; (row = fake_table_row(&fake, (struct bailey_bytes){prefix, 2}, log)) != NULL;)
            log++;
        at_most = log > at_most ? log : at_most;
    }
    assert_in_range(at_most, 2, RECENT_MAX / NUMBERS + 2);
    assert_int_equal(messages_in_table(), NUMBERS); /* each round replaced the one before */
    assert_int_equal(schedule_count(life->schedule), NUMBERS);
    kill_it(true);
    begin();
    assert_int_equal(schedule_count(life->schedule), NUMBERS);
    put(7, 0);
    assert_int_equal(messages_in_table(), NUMBERS);
}

static void the_ring_agrees_with_a_list(void **state)
{
    enum { UNIQUES = 50000, EVENTS = 3 * RECENT_MAX };
    static uint64_t newest[UNIQUES];
    struct recent *recent = recent_new();
    uint8_t ended[RECENT_KEY];

    (void)state;
    srand(11);
    memset(newest, 0, sizeof newest);
    for (uint64_t stamp = 1; stamp <= EVENTS; stamp++) {
        unsigned number = (unsigned)rand() % UNIQUES, other = (unsigned)rand() % UNIQUES;
        struct recent_event event = {.key = {.stamp = stamp, .unique = id_of_number(number)}};

        bool has_ended = recent_add(recent, &event, ended);
        assert_int_equal(has_ended, stamp > RECENT_MAX && (stamp - RECENT_MAX) % 10 == 0);
        if (has_ended)
            assert_int_equal(big_endian_get(ended + 4, 8), stamp - RECENT_MAX);
        if (stamp % 10 == 0)
            assert_int_equal(recent_end_row(recent), stamp);
        newest[number] = stamp;
        const struct recent_event *found = recent_find(recent, id_of_number(other));
        bool is_there = newest[other] > 0 && newest[other] + RECENT_MAX > stamp;
        assert_int_equal(found != NULL, is_there);
        if (is_there)
            assert_int_equal(found->key.stamp, newest[other]);
    }
    recent_free(recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(each_comes_at_its_time_and_in_order),
        TEST(what_is_not_taken_is_due_still),
        TEST(a_jump_of_the_wall_clock_moves_only_what_waits_for_it),
        TEST(what_is_due_before_1970_or_never_does_no_harm),
        TEST(it_is_kept_when_it_is_synced_and_not_before),
        TEST(many_share_a_write),
        TEST(a_steady_flow_costs_a_write_a_second),
        TEST(what_was_put_comes_back_whole),
        TEST(memory_holds_the_next_of_many),
        TEST(order_is_kept_over_refills_and_new_ones),
        TEST(a_put_while_the_window_is_read_is_neither_lost_nor_doubled),
        TEST(a_read_that_fails_beside_puts_hides_nothing),
        TEST(a_clock_that_is_set_back_lets_nothing_be_taken_twice),
        TEST(a_refused_one_waits_again_in_its_place),
        TEST(a_repetition_replaces_what_waits),
        TEST(a_repetition_after_a_crash_replaces_what_waits),
        TEST(a_repetition_of_what_was_taken_is_marked),
        TEST(two_in_one_write_are_one),
        TEST(after_a_clean_end_nothing_is_marked),
        TEST(what_is_left_in_doubt_is_marked_and_stays_so),
        TEST(what_is_taken_at_the_end_is_marked),
        TEST(what_is_gathered_at_the_end_is_written),
        TEST(the_end_waits_for_what_is_asked),
        TEST(it_can_end_before_it_has_begun),
        TEST(a_store_that_fails_does_not_hold_up_the_end),
        TEST(killed_at_any_step_it_loses_nothing_and_marks_what_was_taken),
        TEST(what_became_due_while_nothing_ran_is_not_marked),
        TEST(a_wall_clock_that_is_set_back_hides_nothing),
        TEST(what_cannot_be_written_is_tried_again_each_second),
        TEST(what_cannot_be_read_is_tried_again_each_second),
        TEST(a_damaged_row_is_told_of_once_and_stays_aside),
        TEST(a_damaged_row_of_a_lane_marks_all_that_it_had),
        TEST(rows_of_a_later_version_are_left_alone),
        TEST(lanes_dealt_anew_lose_nothing_and_double_nothing),
        TEST(after_a_crash_a_lane_marks_what_it_inherits),
        TEST(what_is_erased_of_one_lane_hides_nothing_of_another),
        TEST(of_the_logs_of_several_lanes_the_newest_word_counts),
        TEST(the_log_does_not_grow_with_what_was_put),
        TEST(the_ring_agrees_with_a_list),
#undef TEST
    };

    if (getenv("BAILEY_TEST_LOG") == NULL)
        log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
