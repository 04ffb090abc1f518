/* What hangs, on a clock that the test moves: name look-ups, connects and handshakes are given up after ten seconds, and nobody
 * else waits for them. Names are looked up by a getaddrinfo() of the test's own.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loop/resolve.h"
#include "virtual_clock.h"
#include "wire_rig.h"

/* ---- A name service that hangs ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool stuck; /* names that begin with "hang" get no answer */
static unsigned asked, answered;

static struct addrinfo *address_of(const char *text, struct addrinfo *next)
{
    struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in));
    struct sockaddr_in *address = (struct sockaddr_in *)(info + 1);

    address->sin_family = AF_INET;
    inet_pton(AF_INET, text, &address->sin_addr);
    *info = (struct addrinfo){
        .ai_family = AF_INET, .ai_addrlen = sizeof *address, .ai_addr = (struct sockaddr *)address, .ai_next = next};
    return info;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    struct in_addr address;

    (void)service;
    if (hints->ai_flags & AI_NUMERICHOST) {
        if (inet_pton(AF_INET, name, &address) != 1)
            return EAI_NONAME;
        *found = address_of(name, NULL);
        return 0;
    }
    pthread_mutex_lock(&lock);
    asked++;
    while (stuck && strncmp(name, "hang", 4) == 0)
        pthread_cond_wait(&changed, &lock);
    answered++;
    pthread_mutex_unlock(&lock);
    if (strcmp(name, "nowhere.test") == 0)
        return EAI_NONAME;
    *found = address_of("127.0.0.1", NULL);
    if (strcmp(name, "two.test") == 0)
        *found = address_of("127.0.0.2", *found); /* nobody listens there */
    if (strcmp(name, "blackhole.test") == 0)
        *found = address_of("192.0.2.1", *found); /* RFC 5737: nobody is there */
    return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;

        free(info);
        info = next;
    }
}

static void hang_names(bool on)
{
    pthread_mutex_lock(&lock);
    stuck = on;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static unsigned count_of(const unsigned *counter)
{
    unsigned count;

    pthread_mutex_lock(&lock);
    count = *counter;
    pthread_mutex_unlock(&lock);
    return count;
}

/* ---- */

static struct wire_server server;
static struct wire_client client;

static int setup(void **state)
{
    asked = answered = 0;
    if (wire_setup(state) != 0)
        return -1;
    wire_listen(&server);
    return 0;
}

static int teardown(void **state)
{
    hang_names(false);
    wire_close(&client);
    wire_stop(&server);
    WIRE_UNTIL(count_of(&answered) == count_of(&asked));
    return wire_teardown(state);
}

static struct bailey_transport *open_name(const char *name, struct wire_client *of)
{
    return of->transport = bailey_transport_open(wire_loop, name, server.port, NULL, NULL, &wire_ops, of);
}

static void pass(int64_t ms)
{
    wire_turn();
    time_ms += ms;
    wire_turn();
}

static void a_look_up_that_hangs_is_given_up_and_no_other_name_waits_for_it(void **state)
{
    enum { HANGING = 40 };
    static struct wire_client hanging[HANGING];
    struct wire_client other = {0};
    char name[32];

    (void)state;
    hang_names(true);
    for (int i = 0; i < HANGING; i++) {
        snprintf(name, sizeof name, "hang%d.test", i);
        open_name(name, &hanging[i]);
    }
    open_name("good.test", &other);
    WIRE_UNTIL(other.connected == 1);
    pass(9990);
    assert_int_equal(hanging[0].lost, 0);
    pass(20);
    for (int i = 0; i < HANGING; i++) {
        assert_int_equal(hanging[i].lost, 1);
        assert_non_null(strstr(hanging[i].err.text, "looking up its name took longer than 10 s"));
        wire_close(&hanging[i]);
    }
    assert_int_equal(loop_jobs(wire_loop), 0); /* the end of the loop does not wait for them either */
    wire_close(&other);
}

static void who_asks_again_for_a_name_that_hangs_takes_no_second_thread_and_gets_its_answer(void **state)
{
    (void)state;
    hang_names(true);
    for (int i = 0; i < 20; i++) {
        open_name("hang.test", &client);
        pass(10010);
        wire_lost(&client, "looking up its name");
        wire_close(&client);
    }
    assert_int_equal(count_of(&asked), 1);
    open_name("hang.test", &client);
    wire_turn();
    hang_names(false);
    WIRE_UNTIL(client.connected == 1);
    assert_int_equal(count_of(&asked), 1);
}

static void more_names_than_threads_wait_their_turn(void **state)
{
    enum { NAMES = RESOLVE_NAMES_MAX + 20 };
    static struct wire_client all[NAMES];
    char name[32];

    (void)state;
    hang_names(true);
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "hang-%d.test", i);
        open_name(name, &all[i]);
    }
    WIRE_UNTIL(count_of(&asked) == RESOLVE_NAMES_MAX);
    wire_turn();
    assert_int_equal(count_of(&asked), RESOLVE_NAMES_MAX);
    bailey_transport_close(all[NAMES - 1].transport); /* one that has no thread yet */
    all[NAMES - 1].transport = NULL;
    hang_names(false);
    for (int i = 0; i < NAMES - 1; i++) {
        WIRE_UNTIL(all[i].connected == 1);
        wire_close(&all[i]);
    }
    assert_int_equal(count_of(&asked), NAMES - 1);
}

static void a_name_without_address_is_told(void **state)
{
    (void)state;
    open_name("nowhere.test", &client);
    wire_lost(&client, "cannot resolve the host name nowhere.test");
    wire_close(&client);
    static char endless[400];

    memset(endless, 'a', sizeof endless - 1);
    open_name(endless, &client);
    wire_lost(&client, "is longer than 255 bytes");
    assert_int_equal(client.err.kind, BAILEY_ERR_CONFIG);
}

static void the_next_address_is_tried_when_one_refuses_or_hangs(void **state)
{
    (void)state;
    open_name("two.test", &client);
    WIRE_UNTIL(client.connected == 1);
    wire_close(&client);

    open_name("blackhole.test", &client);
    WIRE_UNTIL(count_of(&answered) == 2);
    pass(4990);
    pass(20); /* half of the ten seconds is its share, where the network does not refuse it at once */
    WIRE_UNTIL(client.connected == 1);
    assert_int_equal(client.lost, 0);
}

static void a_peer_that_accepts_and_stays_silent_in_a_handshake_is_given_up(void **state)
{
    static const struct bailey_websocket websocket = {.path = "/"};
    static const struct bailey_tls tls = {.enabled = true, .insecure = true};
    struct wire_client silent[2] = {0};

    (void)state;
    wire_open(&silent[0], server.port, &tls, NULL);
    wire_open(&silent[1], server.port, NULL, &websocket); /* the kernel accepts both */
    pass(9990);
    assert_int_equal(silent[0].lost + silent[1].lost, 0);
    pass(20);
    wire_lost(&silent[0], "the TLS handshake took longer than 10 s");
    wire_lost(&silent[1], "the WebSocket handshake took longer than 10 s");
    wire_close(&silent[0]);
    wire_close(&silent[1]);
}

static void one_byte_a_second_does_not_stretch_a_handshake(void **state)
{
    static const struct bailey_websocket websocket = {.path = "/"};

    (void)state;
    wire_open(&client, server.port, NULL, &websocket);
    wire_accept(&server);
    for (int i = 0; i < 11 && client.lost == 0; i++) {
        wire_send(&server, &"HTTP/1.1 101"[i], 1);
        pass(1000);
    }
    wire_lost(&client, "the WebSocket handshake took longer than 10 s");
}

int main(void)
{
#define WITH_PEER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_PEER(a_look_up_that_hangs_is_given_up_and_no_other_name_waits_for_it),
        WITH_PEER(who_asks_again_for_a_name_that_hangs_takes_no_second_thread_and_gets_its_answer),
        WITH_PEER(more_names_than_threads_wait_their_turn),
        WITH_PEER(a_name_without_address_is_told),
        WITH_PEER(the_next_address_is_tried_when_one_refuses_or_hangs),
        WITH_PEER(a_peer_that_accepts_and_stays_silent_in_a_handshake_is_given_up),
        WITH_PEER(one_byte_a_second_does_not_stretch_a_handshake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
