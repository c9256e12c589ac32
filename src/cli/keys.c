#include <termios.h>
#include <unistd.h>

#include "cli/command.h"
#include "control/config_fields.h"
#include "govern/keys.h"
#include "rt/random.h"

enum { KEY_BYTES_MAX = 1024, GENERATED_CHARS = 43 };

/* A line of the standard input without its line break; false at its end or when it is too long. */
static bool read_line(char out[KEY_BYTES_MAX])
{
    if (fgets(out, KEY_BYTES_MAX, stdin) == NULL)
        return false;
    size_t len = strlen(out);
    if (len == KEY_BYTES_MAX - 1)
        return false;
    while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == '\r'))
        out[--len] = '\0';
    return true;
}

/* Asks for it at a terminal, without showing what is typed. */
static bool read_key(char out[KEY_BYTES_MAX])
{
    struct termios before;
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
        return read_line(out);
    struct termios silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    fputs("Key: ", stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    bool is_read = read_line(out);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputs("\n", stderr);
    return is_read;
}

/* 256 bits as 43 characters of the URL-safe base64 alphabet, after a prefix that leak scanners and
 * people can recognise. */
static void generate(char out[KEY_BYTES_MAX])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[GENERATED_CHARS];
    random_secret(bytes, sizeof(bytes));
    memcpy(out, "wk-", 3);
    for (size_t i = 0; i < sizeof(bytes); i++)
        out[3 + i] = alphabet[bytes[i] % 64];
    out[3 + sizeof(bytes)] = '\0';
}

static int print_hash(struct str key, const char *label)
{
    struct virtual_key parsed = {0};
    const char *expected = config_set_key_value(&parsed, NULL, key);
    if (expected != NULL) {
        fprintf(stderr, "weir keys hash: expected %s\n", expected);
        return 1;
    }
    char hex[2 * KEY_HASH_BYTES];
    str_to_hex(parsed.sha256, KEY_HASH_BYTES, hex);
    printf("%ssha256:%.*s\n", label, (int)sizeof(hex), hex);
    return 0;
}

int keys_command(const struct arguments *arguments)
{
    if (strcmp(arguments->words[0], "hash") != 0) {
        fprintf(stderr, "weir keys: there is no \"%s\"; expected hash\n", arguments->words[0]);
        return EXIT_WRONG_USE;
    }
    char key[KEY_BYTES_MAX];
    if (arguments->generate) {
        generate(key);
        printf("key   %s\n", key);
        return print_hash(str_c(key), "hash  ");
    }
    if (!read_key(key)) {
        fputs("weir keys hash: expected a key on the standard input\n", stderr);
        return 1;
    }
    return print_hash(str_c(key), "");
}
