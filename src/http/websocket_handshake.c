#include "http/websocket_handshake.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "base/err.h"
#include "rt/random.h"

#define NAME_KEY STR("Sec-WebSocket-Key")
#define NAME_ACCEPT STR("Sec-WebSocket-Accept")
#define NAME_PROTOCOL STR("Sec-WebSocket-Protocol")
#define NAME_VERSION STR("Sec-WebSocket-Version")
#define NAME_EXTENSIONS STR("Sec-WebSocket-Extensions")

static const struct str deflate = STR_INIT("permessage-deflate");

bool ws_is_upgrade(const struct http_headers *headers)
{
    return http_headers_has_token(headers, STR("Upgrade"), STR("websocket"));
}

/* --- lists --- */

bool ws_protocol_next(struct str *protocols, struct str *protocol)
{
    while (str_next(protocols, ',', protocol)) {
        *protocol = str_trim(*protocol);
        if (protocol->len > 0)
            return true;
    }
    return false;
}

bool ws_has_protocol(struct str protocols, struct str protocol)
{
    for (struct str item; ws_protocol_next(&protocols, &item);) {
        if (str_eq(item, protocol))
            return true;
    }
    return false;
}

/* All headers of that name as one list (RFC 9110 section 5.3); ptr NULL without memory. */
static struct str joined(const struct http_headers *headers, struct arena *arena, struct str name)
{
    struct str all = STR("");
    for (uint32_t i = 0; i < headers->count && all.ptr != NULL; i++) {
        if (!str_ieq(headers->items[i].name, name))
            continue;
        struct str parts[] = {all, all.len > 0 ? STR(", ") : STR(""), headers->items[i].value};
        all = all.len > 0 ? arena_concat(arena, parts, ARRAY_LEN(parts)) : headers->items[i].value;
        if (all.len == 0 && all.ptr == NULL)
            all = STR("");
    }
    return all;
}

/* The name of an offer: "permessage-deflate; client_max_window_bits". */
static bool is_deflate(struct str extension)
{
    struct str name;
    str_cut(&extension, ';', &name);
    return str_ieq(str_trim(name), deflate);
}

/* The offers of permessage-deflate among all. No parameter of it holds a comma in quotes. */
static struct str deflate_offers(struct str extensions, struct arena *arena)
{
    struct str kept = STR("");
    for (struct str item; kept.ptr != NULL && ws_protocol_next(&extensions, &item);) {
        struct str parts[] = {kept, kept.len > 0 ? STR(", ") : STR(""), item};
        if (is_deflate(item))
            kept = arena_concat(arena, parts, ARRAY_LEN(parts));
    }
    return kept;
}

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a WebSocket's handshake");
}

/* --- a client's request --- */

/* Base64 of 16 bytes: 22 characters and two '='. */
static bool is_key(struct str key)
{
    if (key.len != WS_KEY_LEN || !str_ends(key, STR("==")))
        return false;
    for (size_t i = 0; i + 2 < key.len; i++) {
        char c = key.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '+' || c == '/'))
            return false;
    }
    return true;
}

static int bad_request(const char *what)
{
    return err_set(ERR_INVALID, FAULT_CLIENT, "This is no valid WebSocket handshake: %s.", what);
}

static bool are_tokens(struct str protocols)
{
    for (struct str item; ws_protocol_next(&protocols, &item);) {
        if (!http_name_is_safe(item))
            return false;
    }
    return true;
}

/* What only HTTP/1.1 needs. */
static int check_upgrade(enum http_method method, const struct http_headers *headers)
{
    if (method != METHOD_GET)
        return bad_request("its method is not GET");
    if (!ws_is_upgrade(headers))
        return bad_request("it has no 'Upgrade: websocket'");
    if (!http_headers_has_token(headers, STR("Connection"), STR("upgrade")))
        return bad_request("it has no 'Connection: Upgrade'");
    return 0;
}

int ws_offer_read(struct ws_offer *offer, struct arena *arena, enum http_method method,
                  const struct http_headers *headers, unsigned *status)
{
    bool is_http1 = method != METHOD_CONNECT;
    *status = 400;
    int r = is_http1 ? check_upgrade(method, headers) : 0;
    if (r < 0)
        return r;
    if (!str_eq(http_headers_get(headers, NAME_VERSION), STR("13"))) {
        *status = 426;
        return bad_request("the version that is spoken is 13 (Sec-WebSocket-Version)");
    }
    offer->key = is_http1 ? http_headers_get(headers, NAME_KEY) : STR_EMPTY;
    if (is_http1 && (http_headers_count(headers, NAME_KEY) != 1 || !is_key(offer->key)))
        return bad_request("Sec-WebSocket-Key is not 16 bytes in Base64");
    offer->protocols = joined(headers, arena, NAME_PROTOCOL);
    if (!are_tokens(offer->protocols))
        return bad_request("Sec-WebSocket-Protocol is no list of names");
    offer->extensions = deflate_offers(joined(headers, arena, NAME_EXTENSIONS), arena);
    return offer->protocols.ptr != NULL && offer->extensions.ptr != NULL ? 0 : no_memory();
}

void ws_accept(struct str key, char out[WS_ACCEPT_LEN])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[WS_KEY_LEN + sizeof(guid) - 1], digest[SHA_DIGEST_LENGTH];
    unsigned char encoded[WS_ACCEPT_LEN + 1];
    CHECK(key.len == WS_KEY_LEN);
    memcpy(text, key.ptr, key.len);
    memcpy(text + key.len, guid, sizeof(guid) - 1);
    SHA1(text, sizeof(text), digest);
    EVP_EncodeBlock(encoded, digest, sizeof(digest));
    memcpy(out, encoded, WS_ACCEPT_LEN);
}

void ws_make_key(char out[WS_KEY_LEN])
{
    unsigned char bytes[16], encoded[WS_KEY_LEN + 1];
    random_secret(bytes, sizeof(bytes));
    EVP_EncodeBlock(encoded, bytes, sizeof(bytes));
    memcpy(out, encoded, WS_KEY_LEN);
}

static int add_agreed(struct http_headers *headers, struct arena *arena, struct str protocols,
                      struct str extensions)
{
    if (protocols.len > 0 && !http_headers_add(headers, arena, NAME_PROTOCOL, protocols))
        return no_memory();
    if (extensions.len > 0 && !http_headers_add(headers, arena, NAME_EXTENSIONS, extensions))
        return no_memory();
    return 0;
}

int ws_answer_write(struct http_headers *headers, struct arena *arena, struct str key,
                    struct str protocol, struct str extensions)
{
    if (key.len == 0)
        return add_agreed(headers, arena, protocol, extensions);
    char *accept = arena_alloc(arena, WS_ACCEPT_LEN);
    if (accept == NULL)
        return no_memory();
    ws_accept(key, accept);
    if (!http_headers_add(headers, arena, NAME_ACCEPT, str_n(accept, WS_ACCEPT_LEN)))
        return no_memory();
    return add_agreed(headers, arena, protocol, extensions);
}

int ws_offer_write(struct http_headers *headers, struct arena *arena, const struct ws_offer *offer)
{
    if (!http_headers_add(headers, arena, NAME_VERSION, STR("13")) ||
        !http_headers_add(headers, arena, NAME_KEY, offer->key))
        return no_memory();
    return add_agreed(headers, arena, offer->protocols, offer->extensions);
}

/* --- a server's answer --- */

static int bad_answer(const char *what)
{
    return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "the upstream's WebSocket handshake: %s", what);
}

int ws_answer_read(struct ws_agreement *agreed, struct arena *arena, const struct ws_offer *offer,
                   const struct http_headers *headers)
{
    char accept[WS_ACCEPT_LEN];
    ws_accept(offer->key, accept);
    *agreed = (struct ws_agreement){0};
    if (!ws_is_upgrade(headers) ||
        !http_headers_has_token(headers, STR("Connection"), STR("upgrade")))
        return bad_answer("it switched to another protocol");
    if (!str_eq(http_headers_get(headers, NAME_ACCEPT), str_n(accept, sizeof(accept))))
        return bad_answer("Sec-WebSocket-Accept does not fit the key");
    agreed->protocol = http_headers_get(headers, NAME_PROTOCOL);
    if (http_headers_count(headers, NAME_PROTOCOL) > 1 ||
        (agreed->protocol.len > 0 && !ws_has_protocol(offer->protocols, agreed->protocol)))
        return bad_answer("it chose a protocol that was not offered");
    agreed->extensions = joined(headers, arena, NAME_EXTENSIONS);
    if (agreed->extensions.ptr == NULL)
        return no_memory();
    struct str list = agreed->extensions;
    for (struct str item; ws_protocol_next(&list, &item);) {
        if (!is_deflate(item) || offer->extensions.len == 0 || agreed->has_deflate)
            return bad_answer("it chose an extension that was not offered");
        agreed->has_deflate = true;
    }
    return 0;
}
