#include "cli/command.h"
#include "control/config_docs.h"

static const struct {
    const char *name;
    void (*write)(struct buf *out);
} pages[] = {
    {"reference", config_write_reference},
    {"schema", config_write_schema},
};

int config_command(const struct arguments *arguments)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (strcmp(pages[i].name, arguments->words[0]) != 0)
            continue;
        struct buf page = BUF_INIT;
        pages[i].write(&page);
        bool is_written = buf_ok(&page) && fwrite(page.ptr, 1, page.len, stdout) == page.len;
        buf_fini(&page);
        return is_written ? 0 : 1;
    }
    fprintf(stderr, "weir config: there is no \"%s\"; expected reference or schema\n",
            arguments->words[0]);
    return EXIT_WRONG_USE;
}
