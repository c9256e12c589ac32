#include "rt/addr.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void parse_and_format(const char *text, const char *expected)
{
    struct net_addr addr;
    assert_true(net_addr_parse(str_c(text), 443, &addr));
    char out[NET_ADDR_TEXT_BYTES];
    assert_string_equal(net_addr_format(&addr, false, out), expected);
    assert_int_equal(net_addr_port(&addr), 443);
}

static void literals_round_trip(void **state)
{
    (void)state;
    parse_and_format("127.0.0.1", "127.0.0.1");
    parse_and_format("255.255.255.255", "255.255.255.255");
    parse_and_format("::1", "::1");
    parse_and_format("[::1]", "::1");
    parse_and_format("2606:4700:0:0:0:0:0:1111", "2606:4700::1111");
    parse_and_format("::ffff:1.2.3.4", "::ffff:1.2.3.4");
}

static void what_is_no_literal_is_refused(void **state)
{
    (void)state;
    static const struct str bad[] = {
        STR_INIT(""),
        STR_INIT("localhost"),
        STR_INIT("1.2.3"),
        STR_INIT("1.2.3.4.5"),
        STR_INIT("256.1.1.1"),
        STR_INIT("01.2.3.4"),
        STR_INIT("0x7f.1"),
        STR_INIT("2130706433"),
        STR_INIT("[127.0.0.1]"),
        STR_INIT("[::1"),
        STR_INIT("::1]"),
        STR_INIT("[]"),
        STR_INIT("fe80::1%1"),
        STR_INIT("1.2.3.4\0.com"),
        STR_INIT(" 1.2.3.4"),
        STR_INIT("1:2:3:4:5:6:7:8:9"),
        STR_INIT("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct net_addr addr = {.len = 77};
        assert_false(net_addr_parse(bad[i], 1, &addr));
        assert_int_equal(addr.len, 77);
    }
}

static void listen_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected; /* NULL = refused */
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"[::1]:65535", "[::1]:65535"},
        {":8080", "127.0.0.1:8080"},
        {"8080", "127.0.0.1:8080"},
        {"localhost:80", "127.0.0.1:80"},
        {"", NULL},
        {":", NULL},
        {"127.0.0.1", NULL},
        {"127.0.0.1:", NULL},
        {"127.0.0.1:65536", NULL},
        {"127.0.0.1:-1", NULL},
        {"127.0.0.1:80x", NULL},
        {"::1:8080", NULL},
        {"example.com:80", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct net_addr addr;
        char out[NET_ADDR_TEXT_BYTES];
        bool is_ok = net_addr_parse_listen(str_c(cases[i].text), &addr);
        assert_int_equal(is_ok, cases[i].expected != NULL);
        if (is_ok)
            assert_string_equal(net_addr_format(&addr, true, out), cases[i].expected);
    }
}

static void kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum net_kind kind;
    } cases[] = {
        {"1.1.1.1", NET_PUBLIC},
        {"127.0.0.1", NET_LOOPBACK},
        {"127.255.255.254", NET_LOOPBACK},
        {"10.1.2.3", NET_PRIVATE},
        {"172.15.255.255", NET_PUBLIC},
        {"172.16.0.0", NET_PRIVATE},
        {"172.31.255.255", NET_PRIVATE},
        {"172.32.0.0", NET_PUBLIC},
        {"192.168.0.1", NET_PRIVATE},
        {"100.64.0.1", NET_PRIVATE},
        {"100.127.255.255", NET_PRIVATE},
        {"100.128.0.1", NET_PUBLIC},
        {"100.100.100.200", NET_LINK_LOCAL},
        {"169.254.169.254", NET_LINK_LOCAL},
        {"168.63.129.16", NET_LINK_LOCAL},
        {"192.0.0.192", NET_RESERVED},
        {"0.0.0.0", NET_RESERVED},
        {"0.1.2.3", NET_RESERVED},
        {"224.0.0.1", NET_RESERVED},
        {"255.255.255.255", NET_RESERVED},
        {"203.0.113.9", NET_RESERVED},
        {"198.19.0.1", NET_PRIVATE},
        {"2606:4700:4700::1111", NET_PUBLIC},
        {"::1", NET_LOOPBACK},
        {"::", NET_RESERVED},
        {"::2", NET_RESERVED},
        {"::127.0.0.1", NET_RESERVED},
        {"fc00::1", NET_PRIVATE},
        {"fd12:3456::1", NET_PRIVATE},
        {"fd00:ec2::254", NET_LINK_LOCAL},
        {"fe80::1", NET_LINK_LOCAL},
        {"febf::1", NET_LINK_LOCAL},
        {"ff02::1", NET_RESERVED},
        {"2001:db8::1", NET_RESERVED},
        {"2001:0:1::1", NET_RESERVED},
        {"4000::1", NET_RESERVED},
        /* IPv4 in disguise */
        {"::ffff:127.0.0.1", NET_LOOPBACK},
        {"::ffff:169.254.169.254", NET_LINK_LOCAL},
        {"::ffff:8.8.8.8", NET_PUBLIC},
        {"64:ff9b::a9fe:a9fe", NET_LINK_LOCAL},
        {"64:ff9b::808:808", NET_PUBLIC},
        {"64:ff9b:1::808:808", NET_PRIVATE},
        {"64:ff9b:1::a9fe:a9fe", NET_LINK_LOCAL},
        {"2002:7f00:1::", NET_LOOPBACK},
        {"2002:a9fe:a9fe::1", NET_LINK_LOCAL},
        {"2002:808:808::1", NET_PUBLIC},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct net_addr addr;
        assert_true(net_addr_parse(str_c(cases[i].text), 0, &addr));
        if (net_addr_kind(&addr) != cases[i].kind)
            fail_msg("%s is of kind %d", cases[i].text, net_addr_kind(&addr));
    }
    const struct net_addr local = {.u.any.sa_family = AF_UNIX, .len = 2};
    assert_int_equal(net_addr_kind(&local), NET_RESERVED);
}

static void mapped_addresses_become_ipv4(void **state)
{
    (void)state;
    struct net_addr addr;
    char out[NET_ADDR_TEXT_BYTES];
    assert_true(net_addr_parse(STR("::ffff:10.0.0.7"), 99, &addr));
    net_addr_unmap(&addr);
    assert_string_equal(net_addr_format(&addr, true, out), "10.0.0.7:99");
    assert_true(net_addr_parse(STR("::1"), 99, &addr));
    net_addr_unmap(&addr);
    assert_string_equal(net_addr_format(&addr, true, out), "[::1]:99");
}

static void equality_is_of_family_address_and_port(void **state)
{
    (void)state;
    static const char *const texts[] = {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.2:1",
                                        "[::1]:1",     "[::1]:2",     "[::2]:1"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        for (size_t j = 0; j < ARRAY_LEN(texts); j++) {
            struct net_addr a, b;
            assert_true(net_addr_parse_listen(str_c(texts[i]), &a));
            assert_true(net_addr_parse_listen(str_c(texts[j]), &b));
            assert_int_equal(net_addr_equal(&a, &b), i == j);
        }
    }
    const struct net_addr none = {.len = 0};
    struct net_addr some;
    assert_true(net_addr_parse_listen(STR("1"), &some));
    assert_true(net_addr_equal(&none, &none));
    assert_false(net_addr_equal(&none, &some));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_round_trip),
        cmocka_unit_test(what_is_no_literal_is_refused),
        cmocka_unit_test(listen_addresses),
        cmocka_unit_test(kinds),
        cmocka_unit_test(mapped_addresses_become_ipv4),
        cmocka_unit_test(equality_is_of_family_address_and_port),
    };
    return cmocka_run_group_tests_name("rt/addr", tests, NULL, NULL);
}
