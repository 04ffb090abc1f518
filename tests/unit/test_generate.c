/* connectors/generate: which message is which, what it holds, and that nothing is left out, whatever stops it. The source runs
 * in a whole gateway, with the memory connector at the other side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "connectors/generate/generate.h"
#include "connectors/generate/payload.h"
#include "connectors/generate/resume.h"
#include "connectors/generate/window.h"
#include "harness.h"
#include "host/registry.h"

enum { PATIENCE_MS = 30000, NUMBERS_MAX = 20000 };

/* ---- Pure parts ---- */

/* The definition of CRC-32, bit by bit. */
static uint32_t plain_crc32(const char *data, size_t len)
{
    uint32_t crc = 0xFFFFFFFFu;

    for (size_t i = 0; i < len; i++) {
        crc ^= (uint8_t)data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320u & -(crc & 1));
    }
    return ~crc;
}

static void the_checksum_is_that_of_zlib(void **state)
{
    char data[1000];

    (void)state;
    assert_int_equal(payload_crc32("123456789", 9), 0xCBF43926); /* the check value of the standard */
    assert_int_equal(payload_crc32("", 0), 0);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 + i / 13);
    for (size_t len = 0; len < sizeof data; len += 7)
        assert_int_equal(payload_crc32(data + len % 5, len - len % 5), plain_crc32(data + len % 5, len - len % 5));
}

static void a_body_says_what_it_is_and_fits_its_size(void **state)
{
    static const uint64_t numbers[] = {0, 1, 99, 100, 12345, UINT64_C(9223372036854775806)};
    static const size_t sizes[] = {PAYLOAD_MIN, 129, 256, 4096, 10000};
    struct payload payload;
    char body[10000 + 1], expected[128]; /* and a NUL */

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
            uint64_t number = numbers[n];
            unsigned crc;

            payload_init(&payload, INT64_MAX, 1000000000, sizes[s]);
            memset(body, 0, sizeof body);
            payload_write(&payload, number, body);
            int len = snprintf(expected, sizeof expected, "bailey 1 %llu %llu key-%llu %llu %zu\n",
                               (unsigned long long)INT64_MAX, (unsigned long long)number,
                               (unsigned long long)(number % 1000000000), (unsigned long long)(number / 1000000000),
                               sizes[s]);
            assert_memory_equal(body, expected, (size_t)len);
            assert_null(memchr(body + len, '\n', sizes[s] - (size_t)len));
            assert_int_equal(strlen(body), sizes[s]);
            assert_int_equal(sscanf(body + sizes[s] - 8, "%8x", &crc), 1);
            assert_int_equal(crc, plain_crc32(body, sizes[s] - 8));
        }
}

static void a_message_made_again_is_equal_and_another_is_not(void **state)
{
    struct payload a, b;
    char first[256], second[256];

    (void)state;
    payload_init(&a, 7, 10, sizeof first);
    payload_init(&b, 7, 10, sizeof second);
    payload_write(&a, 42, first);
    payload_write(&b, 42, second);
    assert_memory_equal(first, second, sizeof first);
    payload_write(&b, 43, second);
    assert_memory_not_equal(first + 100, second + 100, 100);
    payload_init(&b, 8, 10, sizeof second);
    payload_write(&b, 42, second);
    assert_memory_not_equal(first + 100, second + 100, 100);
}

/* Every number belongs to one lane, all of a key to the same, and each lane's come in order. */
static void lanes_share_the_numbers_by_key(void **state)
{
    enum { MOST = 3000 };

    (void)state;
    for (unsigned lanes = 1; lanes <= 9; lanes++)
        for (uint64_t keys = 0; keys <= 13; keys++) {
            static unsigned char owners[MOST];
            int owner_of_key[13];

            memset(owners, 0, sizeof owners);
            memset(owner_of_key, -1, sizeof owner_of_key);
            for (unsigned lane = 0; lane < lanes; lane++) {
                uint64_t before = 0, number;

                for (uint64_t ordinal = 0; (number = generate_number(ordinal, keys, lane, lanes)) < MOST; ordinal++) {
                    assert_true(ordinal == 0 || number > before);
                    before = number;
                    owners[number]++;
                    if (keys == 0)
                        continue;
                    assert_true(owner_of_key[number % keys] == -1 || owner_of_key[number % keys] == (int)lane);
                    owner_of_key[number % keys] = (int)lane;
                }
            }
            for (int i = 0; i < MOST; i++)
                assert_int_equal(owners[i], 1);
        }
}

static void the_window_moves_up_to_the_lowest_unsettled(void **state)
{
    static bool settled[50000];
    struct window window;
    uint64_t low = 0, next = 0;

    (void)state;
    window_init(&window, 0);
    srand(1);
    while (low < 40000) { /* against a plain array, in random order within the last few thousand */
        uint64_t number = low + (uint64_t)rand() % 3000;

        window_settle(&window, number);
        settled[number] = true;
        while (settled[low])
            low++;
        next = number > next ? number : next;
        assert_int_equal(window.low, low);
    }
    assert_true(window_has_room(&window, low + WINDOW_MAX - 1));
    assert_false(window_has_room(&window, low + WINDOW_MAX));
    window_settle(&window, low + WINDOW_MAX - 1);
    assert_int_equal(window.low, low);
    window_fini(&window);
}

/* ---- The resume file ---- */

static char folder[] = "/tmp/bailey-test-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    harness_begin();
    if (mkdtemp(folder) == NULL)
        return -1;
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int new_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/resume", folder);
    return 0;
}

static int remove_path(void **state)
{
    (void)state;
    unlink(path);
    for (int lane = 0; lane < 4; lane++) {
        char name[80];

        snprintf(name, sizeof name, "%s.%d", path, lane);
        unlink(name);
    }
    return 0;
}

static const struct resume_owner owner = {.seed = 1, .keys = 100, .lanes = 1};

static uint64_t read_resume(void)
{
    struct bailey_error err = {0};
    struct resume resume;
    uint64_t next = 0;

    assert_true(resume_open(&resume, path, &owner, &next, &err));
    resume_close(&resume);
    return next;
}

static void write_resume(uint64_t next)
{
    struct bailey_error err = {0};
    struct resume resume;
    uint64_t before;

    assert_true(resume_open(&resume, path, &owner, &before, &err));
    assert_true(resume_write(&resume, next, &err));
    resume_close(&resume);
}

static void the_resume_file_keeps_the_last_number(void **state)
{
    (void)state;
    assert_int_equal(read_resume(), 0);
    for (uint64_t next = 10; next < 70; next += 10) {
        write_resume(next);
        assert_int_equal(read_resume(), next);
    }
}

/* Bytes of the record at 0, with its line feed. */
static long first_record_len(void)
{
    FILE *file = fopen(path, "r");
    long len = 0;
    int c;

    assert_non_null(file);
    do {
        c = fgetc(file);
        len++;
    } while (c != '\n' && c != EOF);
    fclose(file);
    return len;
}

/* Whatever byte of the newer record is torn, the older one counts. */
static void a_torn_record_leaves_the_one_before(void **state)
{
    long record_len;

    (void)state;
    write_resume(10);
    write_resume(20); /* turn 2: at 0; the other stands at RESUME_SLOT */
    record_len = first_record_len();
    assert_true(record_len > 60);
    for (long at = 0; at < record_len; at++) {
        FILE *file = fopen(path, "r+");
        int was;

        assert_non_null(file);
        fseek(file, at, SEEK_SET);
        was = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(was ^ 1, file);
        fclose(file);
        assert_int_equal(read_resume(), 10);
        file = fopen(path, "r+");
        assert_non_null(file);
        fseek(file, at, SEEK_SET);
        fputc(was, file);
        fclose(file);
    }
    assert_int_equal(read_resume(), 20);
}

static void a_file_that_is_not_ours_is_refused(void **state)
{
    const struct resume_owner others[] = {{.seed = 2, .keys = 100, .lanes = 1}, {.seed = 1, .keys = 99, .lanes = 1}};
    struct bailey_error err = {0};
    struct resume resume, second;
    uint64_t next;
    FILE *file;

    (void)state;
    write_resume(10);
    for (size_t i = 0; i < 2; i++) {
        assert_false(resume_open(&resume, path, &others[i], &next, &err));
        assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
        assert_non_null(strstr(err.text, "seed 1, 100 keys"));
    }
    assert_true(resume_open(&resume, path, &owner, &next, &err));
    assert_false(resume_open(&second, path, &owner, &next, &err));
    assert_non_null(strstr(err.text, "in use"));
    resume_close(&resume);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("something else", file);
    fclose(file);
    assert_false(resume_open(&resume, path, &owner, &next, &err));
    assert_non_null(strstr(err.text, "damaged"));
    assert_false(resume_open(&resume, "/nonexistent/file", &owner, &next, &err));
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
}

/* ---- The source in a gateway ---- */

static struct {
    int seen[NUMBERS_MAX];
    int count, distinct;
    bool in_order; /* of each key */
    long long last_of_key[256];
} tally;

static void note(void *ctx, const struct bailey_message *msg)
{
    unsigned long long seed, number, key_number;
    char key[64];
    size_t size;
    unsigned crc;

    (void)ctx;
    assert_int_equal(sscanf((const char *)msg->body.data, "bailey 1 %llu %llu %63s %llu %zu", &seed, &number, key,
                            &key_number, &size),
                     5);
    assert_int_equal(size, msg->body.len);
    assert_int_equal(sscanf((const char *)msg->body.data + size - 8, "%8x", &crc), 1);
    assert_int_equal(crc, plain_crc32((const char *)msg->body.data, size - 8));
    assert_in_range(number, 0, NUMBERS_MAX - 1);
    assert_true(strcmp(key, "-") == 0 ? msg->key.data == NULL : bailey_bytes_is(msg->key, key));
    assert_int_equal(bailey_message_header(msg, bailey_bytes_of("sequence"))->value.i64, number);
    tally.count++;
    tally.distinct += tally.seen[number]++ == 0;
    if (msg->key.data != NULL && tally.seen[number] == 1) {
        unsigned k = (unsigned)strtoul(key + 4, NULL, 10) & 255;

        tally.in_order = tally.in_order && (long long)key_number > tally.last_of_key[k];
        tally.last_of_key[k] = (long long)key_number;
    }
}

static void take(const char *queue)
{
    memory_queues->take(queue, SIZE_MAX, note, NULL);
}

static int begin_tally(void **state)
{
    memset(&tally, 0, sizeof tally);
    memset(tally.last_of_key, -1, sizeof tally.last_of_key);
    tally.in_order = true;
    return new_path(state);
}

/* generate, with its settlements changed on their way: of these numbers the first acceptance becomes a release. The core of
 * today releases only in a drain; the contract lets it do so at any time. */
enum { RELEASED_FIRST = 40, RELEASED_COUNT = 20 };
static const struct bailey_source *real_source;
static bool is_released[RELEASED_COUNT];

static void settle_releasing(void *self, const struct bailey_settlement *ended, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bailey_settlement one = ended[i];
        uint64_t index = one.position - RELEASED_FIRST;

        if (one.position >= RELEASED_FIRST && index < RELEASED_COUNT && !is_released[index]) {
            is_released[index] = true;
            one.outcome = index % 2 == 0 ? BAILEY_RELEASED : BAILEY_MODIFIED;
        }
        real_source->settle(self, &one, 1);
    }
}

static const struct bailey_connector *find_releasing(const char *name, struct bailey_error *err)
{
    static struct bailey_connector connector;
    static struct bailey_source releasing;
    const struct bailey_connector *found = registry_find(name, err);

    if (found == NULL || strcmp(name, "generate") != 0)
        return found;
    real_source = found->source;
    releasing = *real_source;
    releasing.settle = settle_releasing;
    connector = *found;
    connector.source = &releasing;
    return &connector;
}

static struct bridge generate_found(config_find *find, const char *lanes, const char *from, const char *to)
{
    char yaml[1024];

    snprintf(yaml, sizeof yaml,
             "workers: 2\nbrokers: { g: { connector: generate }, m: { connector: memory } }\nroutes:\n"
             "  - { name: r, lanes: %s, credit: { messages: 500 }, from: { broker: g, %s }, to: { broker: m, %s } }\n",
             lanes, from, to);
    return bridge_start_with(yaml, find);
}

static struct bridge generate(const char *lanes, const char *from, const char *to)
{
    return generate_found(registry_find, lanes, from, to);
}

static void it_makes_as_many_as_asked_and_ends(void **state)
{
    struct bridge bridge = generate("3", "count: 10001, keys: 10", "queue: count");

    (void)state;
    assert_true(bridge_wait_finished(&bridge, PATIENCE_MS));
    assert_int_equal(bridge_status(&bridge, "r").state, LANE_FINISHED);
    assert_int_equal(bridge_status(&bridge, "r").received, 10001);
    bridge_stop(&bridge);
    take("count");
    assert_int_equal(tally.count, 10001);
    assert_int_equal(tally.distinct, 10001);
    assert_true(tally.in_order);
}

static void more_lanes_than_keys_end_too(void **state)
{
    struct bridge bridge = generate("4", "count: 100, keys: 2", "queue: few");

    (void)state;
    assert_true(bridge_wait_finished(&bridge, PATIENCE_MS));
    bridge_stop(&bridge);
    take("few");
    assert_int_equal(tally.distinct, 100);
}

static void a_refused_one_comes_later_and_the_end_waits_for_it(void **state)
{
    struct bridge bridge = generate("1", "count: 100, keys: 0", "queue: refused, fail_every: 20");

    (void)state;
    assert_true(bridge_wait_finished(&bridge, PATIENCE_MS));
    assert_int_equal(bridge_status(&bridge, "r").refused[BAILEY_ERR_TRANSIENT], 5);
    bridge_stop(&bridge);
    take("refused");
    assert_int_equal(tally.count, 100);
    assert_int_equal(tally.distinct, 100);
}

static void it_stays_within_its_credit(void **state)
{
    struct bridge bridge = generate("1", "count: 5000", "queue: credit, delay: 10ms");
    int64_t most = 0;

    (void)state;
    while (!bridge_wait_finished(&bridge, 0)) {
        int64_t unsettled = bridge_status(&bridge, "r").unsettled;

        most = unsettled > most ? unsettled : most;
    }
    bridge_stop(&bridge);
    assert_in_range(most, 250, 500);
    memory_queues->clear("credit");
}

static void a_rate_is_kept(void **state)
{
    int64_t began_ms = monotonic_ms(), took_ms;
    struct bridge bridge = generate("2", "count: 1000, rate: 1000, keys: 7", "queue: rate");

    (void)state;
    assert_true(bridge_wait_finished(&bridge, PATIENCE_MS));
    took_ms = monotonic_ms() - began_ms;
    bridge_stop(&bridge);
    assert_in_range(took_ms, 850, 20000); /* never faster, but for the first burst; a busy machine may be slower */
    memory_queues->clear("rate");
}

/* The stop before may have settled the very last: then there is nothing to deliver. */
static bool has_moved_or_finished(void *ctx)
{
    struct bridge *bridge = ctx;

    return bridge_status(bridge, "r").delivered >= 1 || bridge_wait_finished(bridge, 0);
}

/* Stopped at once, many times, with confirms on their way: what the sink has not confirmed comes again, nothing is left out. */
static void with_a_resume_file_nothing_is_left_out(void **state)
{
    char from[160];
    int stops = 0;
    bool is_finished = false;

    (void)state;
    snprintf(from, sizeof from, "count: 4000, keys: 10, resume: %s", path);
    for (; !is_finished; stops++) {
        struct bridge bridge = generate("3", from, "queue: resume, store: confirmed, delay: 20ms");

        assert_true(wait_until(has_moved_or_finished, &bridge, PATIENCE_MS));
        is_finished = bridge_wait_finished(&bridge, 0) || stops > 500;
        bridge_stop(&bridge);
    }
    take("resume");
    assert_in_range(stops, 2, 500);
    assert_int_equal(tally.distinct, 4000);
    assert_int_equal(tally.count, 4000); /* close writes what was settled: no duplicates either */
}

static void a_drain_leaves_the_rest_to_the_next_run(void **state)
{
    char from[160];
    struct bridge bridge;

    (void)state;
    snprintf(from, sizeof from, "count: 3000, resume: %s", path);
    bridge = generate("1", from, "queue: drain, fail_every: 1000, fail_times: 0, delay: 2ms");
    assert_true(bridge_wait_delivered(&bridge, "r", 1500, PATIENCE_MS));
    assert_true(bridge_drain(&bridge, PATIENCE_MS)); /* one or two were refused, and wait */
    bridge_stop(&bridge);
    bridge = generate("1", from, "queue: drain");
    assert_true(bridge_wait_finished(&bridge, PATIENCE_MS));
    bridge_stop(&bridge);
    take("drain");
    assert_int_equal(tally.distinct, 3000);
}

static void what_is_released_is_made_again_before_the_end(void **state)
{
    (void)state;
    for (int with_file = 0; with_file < 2; with_file++) {
        char from[160], queue[32], to[64];
        struct bridge bridge;

        begin_tally(state);
        memset(is_released, 0, sizeof is_released);
        snprintf(from, sizeof from, "count: 60, keys: 0%s%s", with_file ? ", resume: " : "", with_file ? path : "");
        snprintf(queue, sizeof queue, "released%d", with_file);
        snprintf(to, sizeof to, "queue: %s", queue);
        bridge = generate_found(find_releasing, "1", from, to);
        assert_true(bridge_wait_finished(&bridge, PATIENCE_MS));
        bridge_stop(&bridge);
        take(queue);
        assert_int_equal(tally.distinct, 60);
        for (int i = 0; i < 60; i++)
            assert_int_equal(tally.seen[i], i >= RELEASED_FIRST && i < RELEASED_FIRST + RELEASED_COUNT ? 2 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_that_of_zlib),
        cmocka_unit_test(a_body_says_what_it_is_and_fits_its_size),
        cmocka_unit_test(a_message_made_again_is_equal_and_another_is_not),
        cmocka_unit_test(lanes_share_the_numbers_by_key),
        cmocka_unit_test(the_window_moves_up_to_the_lowest_unsettled),
        cmocka_unit_test_setup_teardown(the_resume_file_keeps_the_last_number, new_path, remove_path),
        cmocka_unit_test_setup_teardown(a_torn_record_leaves_the_one_before, new_path, remove_path),
        cmocka_unit_test_setup_teardown(a_file_that_is_not_ours_is_refused, new_path, remove_path),
        cmocka_unit_test_setup_teardown(it_makes_as_many_as_asked_and_ends, begin_tally, remove_path),
        cmocka_unit_test_setup_teardown(more_lanes_than_keys_end_too, begin_tally, remove_path),
        cmocka_unit_test_setup_teardown(a_refused_one_comes_later_and_the_end_waits_for_it, begin_tally, remove_path),
        cmocka_unit_test_setup_teardown(what_is_released_is_made_again_before_the_end, begin_tally, remove_path),
        cmocka_unit_test_setup_teardown(it_stays_within_its_credit, begin_tally, remove_path),
        cmocka_unit_test_setup_teardown(a_rate_is_kept, begin_tally, remove_path),
        cmocka_unit_test_setup_teardown(with_a_resume_file_nothing_is_left_out, begin_tally, remove_path),
        cmocka_unit_test_setup_teardown(a_drain_leaves_the_rest_to_the_next_run, begin_tally, remove_path),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
