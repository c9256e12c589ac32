#include "provider/catalogue.h"

#include "weir_embed.h"

WEIR_EMBED(catalogue_bytes, "provider/catalogue.yaml");

struct str catalogue_yaml(void)
{
    return str_n(catalogue_bytes, catalogue_bytes_len);
}
