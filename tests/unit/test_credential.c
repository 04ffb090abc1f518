/* test_credential.c: a `!file` secret that is rotated while Bailey runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "fake_connector.h"

static char folder[] = "/tmp/bailey-credential-XXXXXX", secret[64], other[64], text[64];
static struct bailey_error err;

static int make_folder(void **state)
{
    (void)state;
    strncpy(strrchr(folder, '-'), "-XXXXXX", 8);
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(secret, sizeof secret, "%s/secret", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    unlink(secret);
    unlink(other);
    return rmdir(folder);
}

static void write_file(const char *path, const char *data, size_t len)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void must_fail(const struct bailey_credential *credential, size_t size, const char *expected)
{
    err = (struct bailey_error){0};
    assert_false(bailey_credential_read(credential, text, size, &err));
    assert_string_equal(text, "");
    assert_int_equal(err.kind, BAILEY_ERR_CONFIG);
    if (strstr(err.text, expected) == NULL)
        fail_msg("expected '%s', got '%s'", expected, err.text);
}

static void the_configuration_keeps_the_path_and_each_reading_is_fresh(void **state)
{
    static const char yaml[] =
        "brokers: { a: { connector: fake, url: \"fake://h\", password: !file secret } }\n"
        "routes:\n  - name: r\n    from: { broker: a, topic: t }\n    to: { broker: a, exchange: x }\n";
    char path[80];
    struct text report = {0};
    struct config_counts counts;

    (void)state;
    write_file(secret, "first\n", 6);
    snprintf(path, sizeof path, "%s/b.yaml", folder);
    struct config *config = config_load_text(yaml, strlen(yaml), path, fake_find, &report, &counts);
    if (config == NULL)
        fail_msg("%s", report.data);
    const struct fake_broker *broker = config->brokers[0].settings;

    assert_string_equal(broker->password.value, "first");
    assert_string_equal(broker->password.file, secret);
    write_file(secret, "second\r\n", 8);
    assert_true(bailey_credential_read(&broker->password, text, sizeof text, &err));
    assert_string_equal(text, "second");
    config_free(config);
    text_free(&report);
}

static void what_came_from_no_file_is_its_value(void **state)
{
    struct bailey_credential literal = {.value = "pass"}, absent = {0};
    struct bailey_stamp stamp = {0};

    (void)state;
    assert_true(bailey_credential_read(&literal, text, 5, &err));
    assert_string_equal(text, "pass");
    assert_true(bailey_credential_read(&absent, text, 1, &err));
    assert_string_equal(text, "");
    must_fail(&literal, 4, "a secret is longer than 3 bytes");
    assert_null(strstr(err.text, "pass"));
    assert_false(bailey_credential_changed(&literal, &stamp));
}

static void a_file_that_cannot_serve_is_named_and_nothing_of_it_is_left(void **state)
{
    struct bailey_credential credential = {.value = "old", .file = secret};

    (void)state;
    must_fail(&credential, sizeof text, "No such file or directory");
    assert_non_null(strstr(err.text, secret));
    assert_string_not_equal(err.hint, "");
    write_file(secret, "a\0b", 3);
    must_fail(&credential, sizeof text, "a zero byte in it");
    assert_null(memchr(text, 'b', sizeof text));
    write_file(secret, "0123456789", 10);
    must_fail(&credential, 10, "it is too long");
    assert_null(memchr(text, '5', sizeof text));
    unlink(secret);
    assert_int_equal(mkdir(secret, 0700), 0);
    must_fail(&credential, sizeof text, "not a regular file");
    rmdir(secret);
    assert_int_equal(mkfifo(secret, 0600), 0); /* nobody writes: reading must not hang */
    must_fail(&credential, sizeof text, "not a regular file");
}

static void a_change_is_seen_once_also_when_a_link_is_moved(void **state)
{
    struct bailey_credential credential = {.value = "x", .file = secret};
    struct bailey_stamp stamp = {0};
    char new_link[80];

    (void)state;
    assert_false(bailey_credential_changed(&credential, &stamp)); /* there is none */
    write_file(secret, "x", 1);
    assert_true(bailey_credential_changed(&credential, &stamp));
    assert_false(bailey_credential_changed(&credential, &stamp));
    write_file(other, "y", 1);
    snprintf(new_link, sizeof new_link, "%s/link", folder);
    assert_int_equal(symlink(other, new_link), 0);
    assert_int_equal(rename(new_link, secret), 0); /* how secrets that are mounted into a container are exchanged */
    assert_true(bailey_credential_changed(&credential, &stamp));
    assert_false(bailey_credential_changed(&credential, &stamp));
    unlink(other);
    assert_true(bailey_credential_changed(&credential, &stamp));
}

int main(void)
{
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(the_configuration_keeps_the_path_and_each_reading_is_fresh),
        WITH_FOLDER(what_came_from_no_file_is_its_value),
        WITH_FOLDER(a_file_that_cannot_serve_is_named_and_nothing_of_it_is_left),
        WITH_FOLDER(a_change_is_seen_once_also_when_a_link_is_moved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
