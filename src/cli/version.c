#include <ares.h>
#include <brotli/decode.h>
#include <llhttp.h>
#include <openssl/crypto.h>
#include <yaml.h>
#include <yyjson.h>
#include <zlib.h>
#include <zstd.h>

#include "cli/command.h"
#include "weir_version.h"

int version_command(const struct arguments *arguments)
{
    (void)arguments;
    uint32_t yyjson = yyjson_version(), brotli = BrotliDecoderVersion();
    printf("weir %s (%s)\n", WEIR_VERSION, WEIR_VERSION_GIT);
    printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
    printf("c-ares %s\n", ares_version(NULL));
    printf("llhttp %d.%d.%d\n", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
    printf("yyjson %u.%u.%u\n", yyjson >> 16, yyjson >> 8 & 255, yyjson & 255);
    printf("libyaml %s\n", yaml_get_version_string());
    printf("zlib %s\n", zlibVersion());
    printf("brotli %u.%u.%u\n", brotli >> 24, brotli >> 12 & 4095, brotli & 4095);
    printf("zstd %s\n", ZSTD_versionString());
    return 0;
}
