#include "gateway/admin.h"

#include "base/err.h"
#include "gateway/exchange.h"

static bool is_on_loopback_alone(const struct settings *settings)
{
    for (unsigned i = 0; i < settings->listener_count; i++) {
        if (net_addr_kind(&settings->listeners[i].addr) != NET_LOOPBACK)
            return false;
    }
    return true;
}

YIELDS int admin_check(struct exchange *ex)
{
    if (ex->key != NULL ? ex->key->is_admin : is_on_loopback_alone(ex->settings))
        return 0;
    if (ex->key != NULL)
        refuse(
            ex, REFUSE_NOT_ADMIN, STR_EMPTY,
            "This is for operators. The API key '%.*s' would need \"admin: true\" in the config.",
            STR_ARG(ex->key->name));
    else
        refuse(ex, REFUSE_NOT_ADMIN, STR_EMPTY,
               "This is for operators. Others than this machine can connect to weir: it takes a "
               "key with \"admin: true\" in the config.");
    return -ERR_FORBIDDEN;
}
