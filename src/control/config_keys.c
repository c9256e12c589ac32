#include "control/config_keys.h"

#include "control/config_rows.h"

/* --- listen ---------------------------------------------------------------------------------- */

static const struct config_key listener_tls_keys[] = {
    {"cert_file", CONFIG_PATH, FIELD(struct listener_settings, tls.cert_file), .is_required = true,
     .help = "certificate chain, PEM, the server's own first", .example = "tls/fullchain.pem"},
    {"key_file", CONFIG_PATH, FIELD(struct listener_settings, tls.key_file), .is_required = true,
     .help = "private key of the certificate, PEM", .example = "tls/privkey.pem"},
    {"client_ca_file", CONFIG_PATH, FIELD(struct listener_settings, tls.client_ca_file),
     .help = "certificate authorities of clients, PEM",
     .detail = "When it is set, a client must present a certificate that one of them has signed.",
     .example = "tls/clients.pem"},
};
static const struct config_section listener_tls = SECTION(listener_tls_keys);

static const struct config_key listener_keys[] = {
    {"address", CONFIG_STRING, .set = config_set_listen_address, .is_required = true,
     .help = "address and port",
     .detail = "`127.0.0.1:8080`, `[::1]:8080`, `0.0.0.0:8080`; a port alone listens on "
               "127.0.0.1. Port 0 takes a free one (see `weir run --print-port`). A host name "
               "other than `localhost` is not accepted.",
     .example = "0.0.0.0:8080"},
    {"tls", CONFIG_SECTION, .section = &listener_tls, .set = config_set_listen_tls,
     .help = "serve HTTPS instead of HTTP",
     .detail = "The files are read at start and again at every reload."},
};
static const struct config_section listener = {
    .keys = listener_keys, .count = ARRAY_LEN(listener_keys), .shorthand = "address"};

/* --- keys ------------------------------------------------------------------------------------ */

static const struct config_key key_aws_keys[] = {
    {"access_key_id", CONFIG_STRING, .set = config_set_key_aws_id, .is_required = true,
     .help = "what the client tells AWS's SDK as access key id",
     .detail = "4 to 128 letters, digits, `_` and `-`; unique.", .example = "AKIAWEIRWEBTEAM"},
    {"secret_access_key", CONFIG_SECRET, .set = config_set_key_aws_secret, .is_required = true,
     .help = "the secret of the pair, best from the environment or a file",
     .detail = "At least 16 characters. weir has to keep it as it is, because signatures can be "
               "checked in no other way; it is never shown.",
     .example = "${WEB_TEAM_AWS_SECRET}"},
};
static const struct config_section key_aws = SECTION(key_aws_keys);

static const struct config_key key_keys[] = {
    {"name", CONFIG_STRING, FIELD(struct virtual_key, name), .set = config_set_key_name,
     .is_required = true, .help = "name of the key in logs and metrics",
     .detail = "Letters, digits, `.`, `_` and `-`, at most 64; unique.", .example = "web-team"},
    {"hash", CONFIG_SECRET, .set = config_set_key_hash,
     .help = "SHA-256 of the key, as `weir keys hash` prints it",
     .detail = "Either this or `value`. A hash in the file means that who reads the file cannot "
               "use the key.",
     .example = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"},
    {"value", CONFIG_SECRET, .set = config_set_key_value,
     .help = "the key itself, best from the environment or a file",
     .detail = "Either this or `hash`. At least 8 characters. weir keeps only its hash.",
     .example = "${WEB_TEAM_KEY}"},
    {"aws", CONFIG_SECTION, .section = &key_aws,
     .help = "a pair with which AWS's clients sign requests",
     .detail = "For clients that speak Bedrock's API (Signature Version 4). With it, `hash` and "
               "`value` may both be left out."},
    {"models", CONFIG_STRINGS, ARRAY(struct virtual_key, models, model_count),
     .fallback_note = "all", .help = "models that the key may ask for",
     .detail = "Names with `*` for any run of characters, compared with the name that the client "
               "writes and with the `provider/model` behind it.",
     .example = "[\"openai/gpt-4o*\", \"fast\"]"},
    {"expires", CONFIG_TIME, FIELD(struct virtual_key, expires_wall_ns), .fallback_note = "never",
     .help = "when the key stops working",
     .detail = "A time like `2027-01-31T18:00:00Z` (RFC 3339), or a date, meaning its first "
               "moment in UTC.",
     .example = "2027-01-31"},
    {"disabled", CONFIG_BOOL, FIELD(struct virtual_key, is_disabled), .fallback = "false",
     .help = "refuse the key without removing it"},
    {"team", CONFIG_STRING, FIELD(struct virtual_key, team), .set = config_set_key_team,
     .help = "team that the key belongs to, for the conditions of routes",
     .detail = "Letters, digits, `.`, `_` and `-`, at most 64.", .example = "search"},
    {"admin", CONFIG_BOOL, FIELD(struct virtual_key, is_admin), .fallback = "false",
     .help = "the key may see the health of providers and ask for plans",
     .detail = "`GET /v1/weir/health` and `POST /v1/weir/plan`."},
};
static const struct config_section key = SECTION(key_keys);

/* --- providers ------------------------------------------------------------------------------- */

static const struct config_key provider_auth_keys[] = {
    {"kind", CONFIG_ENUM, FIELD(struct provider, auth), .names = provider_auth_names,
     .fallback = "bearer", .help = "how the credential travels, and where it comes from",
     .detail = "`bearer`: in `Authorization: Bearer`; `header`: in the header `name`; `query`: "
               "in the query parameter `name`; `none`: no credential is sent. `aws`: requests are "
               "signed (Signature Version 4); `google`, `entra`: an OAuth token of Google Cloud or "
               "of Microsoft Entra ID. For these three credentials are found where the cloud's own "
               "SDKs find them (see docs/providers.md) and refreshed before they expire; with an "
               "`api_key` it is sent as a bearer token instead."},
    {"name", CONFIG_STRING, FIELD(struct provider, auth_header),
     .help = "header or query parameter that carries the key", .example = "x-api-key"},
    {"service", CONFIG_STRING, FIELD(struct provider, auth_settings.service),
     .fallback_note = "bedrock", .help = "`aws`: service to sign for"},
    {"region", CONFIG_STRING, FIELD(struct provider, auth_settings.region),
     .fallback_note = "the provider's `region`", .help = "`aws`: region to sign for",
     .example = "eu-central-1"},
    {"profile", CONFIG_STRING, FIELD(struct provider, auth_settings.profile),
     .fallback_note = "`AWS_PROFILE`, or `default`",
     .help = "`aws`: profile of the shared credentials and config files", .example = "bedrock"},
    {"role_arn", CONFIG_STRING, FIELD(struct provider, auth_settings.role_arn),
     .help = "`aws`: role to assume with the credentials that were found",
     .example = "arn:aws:iam::123456789012:role/bedrock"},
    {"external_id", CONFIG_STRING, FIELD(struct provider, auth_settings.external_id),
     .help = "`aws`: external id that the role asks for"},
    {"access_key_id", CONFIG_SECRET, FIELD(struct provider, auth_settings.access_key_id),
     .help = "`aws`: access key", .example = "${BEDROCK_ACCESS_KEY_ID}"},
    {"secret_access_key", CONFIG_SECRET, FIELD(struct provider, auth_settings.secret_access_key),
     .help = "`aws`: secret of the access key", .example = "${BEDROCK_SECRET_ACCESS_KEY}"},
    {"session_token", CONFIG_SECRET, FIELD(struct provider, auth_settings.session_token),
     .help = "`aws`: session token of a temporary access key"},
    {"credentials_file", CONFIG_PATH, FIELD(struct provider, auth_settings.credentials_file),
     .fallback_note =
         "`GOOGLE_APPLICATION_CREDENTIALS`, the SDK's own file, or the metadata server",
     .help = "`google`: JSON file of a service account, a user or a workload identity",
     .example = "vertex.json"},
    {"tenant_id", CONFIG_STRING, FIELD(struct provider, auth_settings.tenant_id),
     .fallback_note = "`AZURE_TENANT_ID`", .help = "`entra`: tenant"},
    {"client_id", CONFIG_STRING, FIELD(struct provider, auth_settings.client_id),
     .fallback_note = "`AZURE_CLIENT_ID`",
     .help = "`entra`: application, or user-assigned managed identity"},
    {"client_secret", CONFIG_SECRET, FIELD(struct provider, auth_settings.client_secret),
     .fallback_note = "`AZURE_CLIENT_SECRET`, a federated token, or a managed identity",
     .help = "`entra`: secret of the application"},
    {"scope", CONFIG_STRING, FIELD(struct provider, auth_settings.scope),
     .fallback_note = "the cloud's usual one",
     .help = "`google`, `entra`: OAuth scopes, separated by spaces",
     .example = "https://cognitiveservices.azure.com/.default"},
};
static const struct config_section provider_auth = SECTION(provider_auth_keys);

static const struct config_key provider_path_keys[] = {
    {"chat", CONFIG_STRING, FIELD(struct provider, paths[OPERATION_CHAT]),
     .help = "path of chat in the provider's dialect", .example = "/chat/completions",
     .detail = "`{model}` in a path stands for the model, percent-encoded."},
    {"chat_stream", CONFIG_STRING, FIELD(struct provider, paths[OPERATION_CHAT_STREAM]),
     .fallback_note = "as `chat`", .help = "path of streamed chat, where it is another",
     .example = "/v1beta/models/{model}:streamGenerateContent?alt=sse"},
    {"completions", CONFIG_STRING, FIELD(struct provider, paths[OPERATION_COMPLETIONS]),
     .help = "path of text completions", .example = "/completions"},
    {"models", CONFIG_STRING, FIELD(struct provider, paths[OPERATION_MODELS]),
     .help = "path of the model list", .example = "/models"},
    {"count_tokens", CONFIG_STRING, FIELD(struct provider, paths[OPERATION_COUNT_TOKENS]),
     .help = "path where tokens are counted", .example = "/v1/messages/count_tokens"},
    {"responses", CONFIG_STRING, FIELD(struct provider, paths[OPERATION_RESPONSES]),
     .help = "path where the provider speaks OpenAI's Responses API as well",
     .example = "/responses"},
    {"messages", CONFIG_STRING, FIELD(struct provider, paths[OPERATION_MESSAGES]),
     .help = "path where the provider speaks Anthropic's Messages API as well",
     .example = "/v1/messages"},
    {"realtime", CONFIG_STRING, FIELD(struct provider, paths[OPERATION_REALTIME]),
     .help = "path of realtime sessions (WebSocket) in OpenAI's events",
     .example = "\"/realtime?model={model}\""},
    {"live", CONFIG_STRING, FIELD(struct provider, paths[OPERATION_LIVE]),
     .help = "path of realtime sessions (WebSocket) in Gemini's messages",
     .example = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"},
};
static const struct config_section provider_paths = SECTION(provider_path_keys);

static const struct config_key provider_tls_keys[] = {
    {"ca_file", CONFIG_PATH, FIELD(struct provider, ca_file), .fallback_note = "the system's",
     .help = "certificate authorities to trust for this provider, PEM",
     .example = "tls/internal-ca.pem"},
    {"cert_file", CONFIG_PATH, FIELD(struct provider, client_cert_file),
     .help = "client certificate chain to present, PEM", .example = "tls/weir.pem"},
    {"key_file", CONFIG_PATH, FIELD(struct provider, client_key_file),
     .help = "private key of the client certificate, PEM", .example = "tls/weir-key.pem"},
};
static const struct config_section provider_tls = SECTION(provider_tls_keys);

static const struct config_key provider_grpc_keys[] = {
    {"services", CONFIG_STRINGS, ARRAY(struct provider, grpc_services, grpc_service_count),
     .help = "services that the provider offers, by their full names",
     .detail = "With `*` for any run of characters. A full name counts more than a pattern, and "
               "`*` takes what nobody else is named for. Several providers of one name are asked "
               "in the order of the file.",
     .example = "[inference.GRPCInferenceService]"},
    {"authorities", CONFIG_STRINGS, ARRAY(struct provider, grpc_authorities, grpc_authority_count),
     .fallback_note = "any", .help = "only for calls to one of these authorities",
     .detail = "As clients write it: `host` or `host:port`. Without `services`, any of theirs.",
     .example = "[triton.internal.example]"},
};
static const struct config_section provider_grpc = SECTION(provider_grpc_keys);

static const struct config_key provider_quirk_keys[] = {
    {"stream_usage", CONFIG_ENUM, FIELD(struct provider, quirks.stream_usage),
     .names = provider_stream_usage_names,
     .help = "whether a stream's token usage must be asked for",
     .detail = "`on_request`: it comes when `stream_options.include_usage` asks for it; `always`: "
               "it comes unasked; `no_option`: the provider refuses the option, so weir never "
               "sends it."},
    {"ends_without_done", CONFIG_BOOL, FIELD(struct provider, quirks.ends_without_done),
     .fallback = "false", .help = "its streams end without `[DONE]`"},
    {"usage_is_cumulative", CONFIG_BOOL, FIELD(struct provider, quirks.usage_is_cumulative),
     .fallback = "false", .help = "every chunk carries a growing usage: the last one counts"},
    {"total_includes_reasoning", CONFIG_BOOL,
     FIELD(struct provider, llm_quirks.total_includes_reasoning), .fallback = "false",
     .help = "total_tokens counts reasoning tokens that completion_tokens leaves out"},
    {"reasoning_field", CONFIG_STRING, FIELD(struct provider, llm_quirks.reasoning_field),
     .help = "field of a message or delta that holds the model's reasoning",
     .example = "reasoning_content"},
    {"refused_params", CONFIG_STRINGS,
     ARRAY(struct provider, llm_quirks.refused_params, llm_quirks.refused_param_count),
     .help = "request parameters that the provider refuses", .example = "[logit_bias]"},
    {"max_tokens_field", CONFIG_STRING, FIELD(struct provider, llm_quirks.max_tokens_field),
     .fallback_note = "max_tokens", .help = "field that bounds the length of an answer",
     .example = "max_completion_tokens"},
    {"developer_role", CONFIG_BOOL, .set = config_set_developer_role, .fallback = "false",
     .help = "it knows the role `developer` beside `system`"},
    {"short_tool_ids", CONFIG_BOOL, FIELD(struct provider, llm_quirks.has_short_tool_ids),
     .fallback = "false", .help = "ids of tool calls must be nine letters or digits"},
    {"alternating_roles", CONFIG_BOOL, FIELD(struct provider, llm_quirks.needs_alternating_roles),
     .fallback = "false", .help = "it refuses two messages of the same role in a row"},
    {"prefill", CONFIG_ENUM, FIELD(struct provider, llm_quirks.prefill), .names = llm_prefill_names,
     .help = "how it is told to go on with a last message of the assistant",
     .detail = "What a broken stream is continued with. `last_message`: by the message alone; "
               "`prefix`: by `prefix: true` in it; `prefix_echoed`: the same, and the answer "
               "begins with the prefix; `continue_final_message`: as vLLM and SGLang call it. "
               "With `none` the model is asked to go on, in words."},
    {"prefill_path", CONFIG_STRING, FIELD(struct provider, llm_quirks.prefill_path),
     .fallback_note = "as all others", .help = "path of requests with such a message",
     .example = "/beta/chat/completions"},
};
static const struct config_section provider_quirks = SECTION(provider_quirk_keys);

/* In the order of enum tri. */
static const char *const knowledge_words[] = {"unknown", "false", "true", NULL};
#define KNOWN(name_, member, help_)                                                   \
    {                                                                                 \
        name_, CONFIG_ENUM, FIELD(struct provider_traits_row, traits.member),         \
            .names = knowledge_words, .fallback_note = "what is known", .help = help_ \
    }

static const struct config_key trait_keys[] = {
    {"models", CONFIG_STRING, FIELD(struct provider_traits_row, pattern), .is_required = true,
     .help = "models that this is about",
     .detail = "The id as the provider writes it, with `*` for any run of characters. What is not "
               "written below is what weir knows of the model.",
     .example = "my-finetune-*"},
    {"max_output_tokens", CONFIG_INTEGER,
     FIELD(struct provider_traits_row, traits.max_output_tokens), .min = 1, .max = 100000000,
     .fallback_note = "what is known",
     .help = "longest answer; supplied where the dialect asks for one and the client names none",
     .example = "8192"},
    {"thinking", CONFIG_ENUM, FIELD(struct provider_traits_row, traits.thinking),
     .names = llm_thinking_names, .fallback_note = "what is known",
     .help = "how the model is told to think",
     .detail = "`none`: it does not; `budget`: in tokens; `effort`, `level`: by a word; "
               "`adaptive`: Claude from 4.6."},
    {"structured", CONFIG_ENUM, FIELD(struct provider_traits_row, traits.structured),
     .names = llm_structured_names, .fallback_note = "what is known",
     .help = "how the model is held to a JSON schema"},
    KNOWN("images", takes_images, "it takes images"),
    KNOWN("audio", takes_audio, "it takes audio"),
    KNOWN("video", takes_video, "it takes video"),
    KNOWN("documents", takes_documents, "it takes PDF and other documents"),
    KNOWN("tools", takes_tools, "it calls tools"),
    KNOWN("forced_tools", takes_forced_tools, "a call of a tool can be demanded"),
    KNOWN("thinking_off", takes_thinking_off, "it can be told not to think"),
    KNOWN("sampling", takes_sampling, "it takes temperature, top_p and top_k"),
    KNOWN("prefill", takes_prefill, "it continues a last message of the assistant"),
    KNOWN("many_choices", takes_many_choices, "it takes n > 1"),
    KNOWN("logprobs", takes_logprobs, "it tells logprobs"),
};
static const struct config_section provider_traits_section = SECTION(trait_keys);

static const struct config_key pool_key_keys[] = {
    {"name", CONFIG_STRING, FIELD(struct provider_key, name), .set = config_set_pool_key_name,
     .fallback_note = "`key-1`, `key-2` and so on, by its place",
     .help = "name of the key in logs and metrics",
     .detail = "Letters, digits, `.`, `_` and `-`, at most 64; unique in its provider.",
     .example = "account-a"},
    {"api_key", CONFIG_SECRET, FIELD(struct provider_key, api_key), .is_required = true,
     .help = "the credential", .example = "${OPENAI_API_KEY_A}"},
    {"weight", CONFIG_INTEGER, FIELD(struct provider_key, weight), .min = 0, .max = 1000,
     .fallback = "1", .help = "its share of the requests",
     .detail = "A key of weight 0 is taken only when no other can be."},
};
static const struct config_section pool_key = {
    .keys = pool_key_keys, .count = ARRAY_LEN(pool_key_keys), .shorthand = "api_key"};

static const struct config_key provider_keys[] = {
    {"enabled", CONFIG_BOOL, .set = config_check_bool, .fallback_note = "true",
     .help = "`false` leaves the provider out",
     .detail = "The simulated provider `sim` is always there unless it is switched off so."},
    {"catalogue", CONFIG_STRING, .set = config_ignore, .fallback_note = "the provider's own name",
     .help = "row of the built-in catalogue to start from",
     .detail = "What the row says holds unless it is written here. So a second account of a known "
               "provider is `openai-eu: {catalogue: openai, api_key: ...}`.",
     .example = "openai"},
    {"title", CONFIG_STRING, FIELD(struct provider, title), .help = "name for people"},
    {"dialect", CONFIG_ENUM, FIELD(struct provider, dialect), .names = dialect_names,
     .help = "API that the provider speaks"},
    {"variant", CONFIG_ENUM, FIELD(struct provider, variant), .names = provider_variant_names,
     .fallback = "native", .help = "in which cloud the dialect is spoken",
     .detail = "`vertex`: by `rawPredict` of Vertex AI; `bedrock`: by Bedrock's `invoke`."},
    {"base_url", CONFIG_STRING, FIELD(struct provider, base_url), .set = config_set_base_url,
     .help = "where the API is",
     .detail = "`http://` or `https://`, host, and the part of the path that all operations "
               "share. Needed for a provider that is not in the catalogue. `{region}`, "
               "`{project}`, `{location}` and `{resource}` stand for the keys of these names, here "
               "and in `paths`.",
     .example = "https://llm.internal.example/v1"},
    {"region", CONFIG_STRING, FIELD(struct provider, places[PLACE_REGION]),
     .fallback_note = "`AWS_REGION`, `AWS_DEFAULT_REGION`",
     .help = "region of AWS, for `{region}` and for signing", .example = "eu-central-1"},
    {"project", CONFIG_STRING, FIELD(struct provider, places[PLACE_PROJECT]),
     .fallback_note = "`GOOGLE_CLOUD_PROJECT`, `ANTHROPIC_VERTEX_PROJECT_ID`",
     .help = "project of Google Cloud, for `{project}`", .example = "my-project"},
    {"location", CONFIG_STRING, FIELD(struct provider, places[PLACE_LOCATION]),
     .fallback_note = "`GOOGLE_CLOUD_LOCATION`, `CLOUD_ML_REGION`",
     .help = "location of Google Cloud, for `{location}` and `{vertex_host}`",
     .example = "europe-west4"},
    {"resource", CONFIG_STRING, FIELD(struct provider, places[PLACE_RESOURCE]),
     .fallback_note = "`AZURE_RESOURCE_NAME`", .help = "resource of Azure, for `{resource}`",
     .example = "my-resource"},
    {"api_key", CONFIG_SECRET, FIELD(struct provider, api_key),
     .fallback_note = "the environment variable of the catalogue row",
     .help = "the provider's credential",
     .detail = "Without it the variable that the catalogue names for this provider is used "
               "(`OPENAI_API_KEY` for `openai`), unless `base_url` is written as well: a key is "
               "never sent to another place than its provider's just because it was lying there.",
     .example = "${OPENAI_API_KEY}"},
    {"keys", CONFIG_LIST, ARRAY(struct provider, keys, key_count), .section = &pool_key,
     .help = "several credentials that share the traffic, instead of `api_key`",
     .detail = "weir learns the limits of each from the provider's answers and passes over one "
               "that is near its limit, or refused.",
     .example = "[{name: a, api_key: \"${OPENAI_A}\"}, {name: b, api_key: \"${OPENAI_B}\"}]"},
    {"auth", CONFIG_SECTION, .section = &provider_auth, .help = "how the credential is sent"},
    {"headers", CONFIG_PAIRS, FIELD(struct provider, headers),
     .help = "headers to send with every request",
     .detail = "Values are treated as secrets: they are never shown.",
     .example = "{OpenAI-Organization: org-123}"},
    {"models", CONFIG_STRINGS, ARRAY(struct provider, models, model_count),
     .help = "models that the provider offers",
     .detail = "A client may ask for one of them by its bare name, and `GET /v1/models` lists "
               "them. With `*` for any run of characters.",
     .example = "[gpt-4o, gpt-4o-mini]"},
    {"passthrough", CONFIG_STRINGS, ARRAY(struct provider, passthrough, passthrough_count),
     .fallback_note = "none", .help = "paths that clients may open as a WebSocket",
     .detail = "`/passthrough/PROVIDER/path` is joined to that path of the provider, whatever is "
               "spoken there. With `*` for any run of characters. A key's `models` hold for "
               "`PROVIDER/path`.",
     .example = "[\"/v1/listen\", \"/v1/speak*\"]"},
    {"paths", CONFIG_SECTION, .section = &provider_paths, .fallback_note = "the dialect's",
     .help = "paths of the operations, after base_url",
     .detail = "When one is written, those that are not written (here or in the catalogue) are "
               "not offered by the provider; an empty one is not offered either."},
    {"http2", CONFIG_ENUM, FIELD(struct provider, http2), .names = provider_http2_names,
     .fallback = "auto", .help = "when HTTP/2 is spoken to the provider",
     .detail =
         "`auto`: where the TLS handshake agrees on it; `off`: never; `always`: without TLS as "
         "well, from the first byte."},
    {"grpc", CONFIG_SECTION, .section = &provider_grpc,
     .help = "which calls of gRPC are passed on to the provider",
     .detail = "Without TLS it is then spoken to by HTTP/2 alone."},
    {"tls", CONFIG_SECTION, .section = &provider_tls, .help = "certificates for this provider"},
    {"allow_private", CONFIG_BOOL, FIELD(struct provider, allow_private), .fallback = "false",
     .help = "let its host name lead to private and loopback addresses",
     .detail = "An address or `localhost` written in `base_url` needs no permission. Link-local "
               "addresses, among them the metadata services of clouds, are never connected to."},
    {"proxy", CONFIG_SECRET, FIELD(struct provider, proxy_url),
     .fallback_note = "`HTTPS_PROXY` and `NO_PROXY` of the environment",
     .help = "HTTP proxy to reach it through", .example = "http://proxy.internal.example:3128"},
    {"quirks", CONFIG_SECTION, .section = &provider_quirks,
     .help = "how its API differs from its dialect"},
    {"traits", CONFIG_LIST, ARRAY(struct provider, traits, trait_count),
     .section = &provider_traits_section, .help = "what its models can do, where weir cannot know",
     .detail = "The first entry whose `models` fits counts, then weir's own table.",
     .example = "[{models: my-finetune-*, max_output_tokens: 8192}]"},
    {"simulated", CONFIG_BOOL, FIELD(struct provider, is_simulated), .fallback = "false",
     .help = "answer inside weir, without a model and without the network",
     .detail = "Every answer says that it is simulated. For tests and first steps."},
    {"env_key", CONFIG_STRING, FIELD(struct provider, env_key),
     .help = "environment variable with the credential",
     .detail = "Set in the catalogue. Without a config file, the variable switches the provider "
               "on.",
     .example = "OPENAI_API_KEY"},
    {"env_base_url", CONFIG_STRING, FIELD(struct provider, env_base_url),
     .help = "environment variable with another base URL",
     .detail = "Set in the catalogue; read only when weir runs without a config file.",
     .example = "OPENAI_BASE_URL"},
    {"docs_url", CONFIG_STRING, FIELD(struct provider, docs_url),
     .help = "where the provider documents its API"},
};
const struct config_section config_provider = {
    .keys = provider_keys,
    .count = ARRAY_LEN(provider_keys),
    .name_offset = offsetof(struct provider, name),
    .element = "provider",
    .naming = NAMING_LOWER,
    .begin = config_provider_begin,
};

/* --- models ---------------------------------------------------------------------------------- */

static const struct config_key alias_keys[] = {
    {"target", CONFIG_STRING, FIELD(struct alias_settings, target), .is_required = true,
     .help = "what answers, as `provider/model`", .example = "openai/gpt-4o-mini"},
};
static const struct config_section alias = {.keys = alias_keys,
                                            .count = ARRAY_LEN(alias_keys),
                                            .shorthand = "target",
                                            .name_offset = offsetof(struct alias_settings, name),
                                            .element = "model"};

/* --- responses ------------------------------------------------------------------------------- */

static const struct config_key response_keys[] = {
    {"store", CONFIG_SIZE, FIELD(struct settings, response_store_bytes), .min = 0, .max = 64 * GIB,
     .fallback = "0B",
     .help = "memory for answers that a next turn may name as `previous_response_id`; `0B` = none",
     .detail = "For providers that have no Responses API; where the provider has one, it keeps its "
               "answers itself. The oldest go first."},
    {"ttl", CONFIG_DURATION, FIELD(struct settings, response_store_ttl_ns), .min = NS_PER_SEC,
     .max = 30 * DAY_NS, .fallback = "1h", .help = "how long such an answer is kept"},
};
static const struct config_section responses = SECTION(response_keys);

/* --- limits ---------------------------------------------------------------------------------- */

static const struct config_key limit_keys[] = {
    {"request_body", CONFIG_SIZE, FIELD(struct settings, limits.body_bytes), .min = KIB, .max = GIB,
     .fallback = "32MiB", .help = "largest request body, decompressed",
     .detail = "A larger one is answered with 413."},
    {"request_headers", CONFIG_SIZE, FIELD(struct settings, limits.head_bytes), .min = KIB,
     .max = MIB, .fallback = "64KiB", .help = "largest request line and headers together",
     .detail = "More is answered with 431. The same bound holds for the heads of providers' "
               "answers."},
    {"request_target", CONFIG_SIZE, FIELD(struct settings, limits.target_bytes), .min = 256,
     .max = MIB, .fallback = "16KiB", .help = "longest path and query",
     .detail = "A longer one is answered with 414."},
    {"header_count", CONFIG_INTEGER, FIELD(struct settings, limits.header_count), .min = 8,
     .max = 4096, .fallback = "128", .help = "most headers of a message"},
    {"trailers", CONFIG_SIZE, FIELD(struct settings, limits.trailer_bytes), .min = 256, .max = MIB,
     .fallback = "8KiB", .help = "largest trailers after a chunked body"},
    {"chunk_extensions", CONFIG_SIZE, FIELD(struct settings, limits.chunk_ext_bytes), .min = 0,
     .max = MIB, .fallback = "1KiB", .help = "most bytes of chunk extensions in a body"},
    {"pipelined", CONFIG_SIZE, FIELD(struct settings, limits.pipeline_bytes), .min = KIB,
     .max = 16 * MIB, .fallback = "64KiB",
     .help = "most bytes read ahead of the request being served"},
    {"json_depth", CONFIG_INTEGER, FIELD(struct settings, json_depth), .min = 8, .max = 1024,
     .fallback = "128", .help = "deepest nesting of a JSON body",
     .detail = "A deeper one is answered with 400."},
    {"response_body", CONFIG_SIZE, FIELD(struct settings, response_bytes), .min = KIB,
     .max = 4 * GIB, .fallback = "64MiB", .help = "largest answer of a provider, not streamed",
     .detail = "A larger one is answered with 502."},
    {"stream_event", CONFIG_SIZE, FIELD(struct settings, event_bytes), .min = KIB, .max = GIB,
     .fallback = "16MiB", .help = "largest event of a provider's stream"},
};
static const struct config_section limits = SECTION(limit_keys);

/* --- timeouts -------------------------------------------------------------------------------- */

static const struct config_key timeout_keys[] = {
    {"connect", CONFIG_DURATION, FIELD(struct settings, timeouts.connect), .min = NS_PER_MS,
     .max = 10 * MINUTE_NS, .fallback = "5s", .help = "resolving a provider's name and connecting"},
    {"tls", CONFIG_DURATION, FIELD(struct settings, timeouts.tls), .min = NS_PER_MS,
     .max = 10 * MINUTE_NS, .fallback = "10s", .help = "TLS handshake with a provider"},
    {"first_byte", CONFIG_DURATION, FIELD(struct settings, timeouts.first_byte), .min = NS_PER_MS,
     .max = DAY_NS, .fallback = "10m", .help = "from the request's last byte to the answer's first",
     .detail = "A model that thinks before it answers needs all of this when the answer is not "
               "streamed."},
    {"stall", CONFIG_DURATION, FIELD(struct settings, timeouts.stall), .min = NS_PER_MS,
     .max = DAY_NS, .fallback = "5m", .help = "longest silence inside a provider's answer"},
    {"total", CONFIG_DURATION, FIELD(struct settings, timeouts.total), .min = 0, .max = DAY_NS,
     .fallback = "1h", .help = "a request from beginning to end; `0s` = no bound"},
    {"client_header", CONFIG_DURATION, FIELD(struct settings, timeouts.client_header),
     .min = NS_PER_MS, .max = 10 * MINUTE_NS, .fallback = "10s",
     .help = "from a request's first byte to the end of its headers"},
    {"client_body", CONFIG_DURATION, FIELD(struct settings, timeouts.client_body), .min = NS_PER_MS,
     .max = DAY_NS, .fallback = "30s", .help = "longest silence inside a request's body"},
    {"client_idle", CONFIG_DURATION, FIELD(struct settings, timeouts.client_idle), .min = NS_PER_MS,
     .max = DAY_NS, .fallback = "75s",
     .help = "how long a client's connection may lie idle between requests"},
    {"client_stall", CONFIG_DURATION, FIELD(struct settings, timeouts.client_stall),
     .min = NS_PER_MS, .max = DAY_NS, .fallback = "60s",
     .help = "how long a client may take nothing of its answer before it is cut off"},
    {"heartbeat", CONFIG_DURATION, FIELD(struct settings, timeouts.heartbeat), .min = 0,
     .max = DAY_NS, .fallback = "15s",
     .help = "a comment is sent on a stream that is silent for so long; `0s` = never",
     .detail = "It keeps proxies between weir and the client from cutting a stream while the "
               "model thinks."},
    {"drain", CONFIG_DURATION, FIELD(struct settings, timeouts.drain), .min = 0, .max = DAY_NS,
     .fallback = "30s", .help = "how long requests may go on after SIGTERM or an upgrade",
     .detail = "What is not finished then is ended with an error event."},
};
static const struct config_section timeouts = SECTION(timeout_keys);

/* --- pool, log, metrics ---------------------------------------------------------------------- */

static const struct config_key pool_keys[] = {
    {"idle_per_provider", CONFIG_INTEGER, FIELD(struct settings, pool.idle_per_origin), .min = 0,
     .max = 100000, .fallback = "128", .is_restart = true,
     .help = "most idle connections kept per provider and thread"},
    {"idle_total", CONFIG_INTEGER, FIELD(struct settings, pool.idle_total), .min = 0, .max = 100000,
     .fallback = "1024", .is_restart = true, .help = "most idle connections kept per thread"},
    {"idle_timeout", CONFIG_DURATION, FIELD(struct settings, pool.idle_timeout_ns),
     .min = NS_PER_MS, .max = DAY_NS, .fallback = "60s", .is_restart = true,
     .help = "how long an idle connection is kept"},
};
static const struct config_section pool = SECTION(pool_keys);

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};

static const char *const log_targets[] = {"stdout", "stderr", "off", NULL};

static const struct config_key log_keys[] = {
    {"access", CONFIG_PATH, FIELD(struct settings, access_log), .set = config_set_access_log,
     .names = log_targets, .fallback = "stdout", .help = "where the line of each request goes",
     .detail = "`stdout`, `stderr`, `off`, or the path of a file, relative to the config file's "
               "folder. SIGUSR1 opens the file anew after a rotation.",
     .example = "/var/log/weir/access.log"},
    {"level", CONFIG_ENUM, FIELD(struct settings, log_level), .names = log_levels,
     .fallback = "info", .help = "least important diagnostic line that is written"},
};
static const struct config_section log_section = SECTION(log_keys);

static const struct config_key metrics_keys[] = {
    {"max_series", CONFIG_INTEGER, FIELD(struct settings, metrics_series), .min = 16,
     .max = 1000000, .fallback = "2000", .is_restart = true,
     .help = "most label sets of all metrics",
     .detail = "What comes after that is counted under `other`."},
    {"require_key", CONFIG_BOOL, FIELD(struct settings, metrics_need_key),
     .fallback_note = "true when keys are configured and weir listens on more than loopback",
     .help = "`GET /metrics` asks for a key like any other request"},
};
static const struct config_section metrics = SECTION(metrics_keys);

/* --- the whole ------------------------------------------------------------------------------- */

static const char *const unmappable_modes[] = {"drop", "reject", NULL};
static const char *const auth_modes[] = {"keys", "none", NULL};

static const struct config_key root_keys[] = {
    {"listen", CONFIG_LIST, ARRAY(struct settings, listeners, listener_count), .section = &listener,
     .fallback_note = "127.0.0.1:8080", .help = "where clients connect",
     .detail = "Each entry is an address, or a mapping with the keys below. Entries that came or "
               "went are opened and closed on reload.",
     .example = "[\"127.0.0.1:8080\"]"},
    {"threads", CONFIG_INTEGER, FIELD(struct settings, threads), .min = 1, .max = 512,
     .fallback_note = "one for each processor that weir may use", .is_restart = true,
     .help = "threads that serve requests"},
    {"auth", CONFIG_ENUM, FIELD(struct settings, auth), .names = auth_modes, .fallback = "keys",
     .help = "who may use the gateway",
     .detail = "`keys`: clients present one of `keys`; while none is configured weir is open, "
               "and listens on loopback only. `none`: anyone who can connect."},
    {"keys", CONFIG_LIST, ARRAY(struct settings, keys, key_count), .section = &key,
     .help = "virtual keys that clients present"},
    {"providers", CONFIG_MAP, ARRAY(struct settings, providers, provider_count),
     .section = &config_provider, .help = "model APIs to call",
     .detail = "A name that is in the catalogue needs nothing but a credential: `openai: "
               "{api_key: ...}`, or `openai:` alone when `OPENAI_API_KEY` is set. Names are made "
               "of lower-case letters, digits, `.`, `_` and `-`.",
     .example = "{openai: {api_key: \"${OPENAI_API_KEY}\"}}"},
    {"models", CONFIG_MAP, ARRAY(struct settings, aliases, alias_count), .section = &alias,
     .help = "names that clients may ask for, and what is behind them",
     .detail = "Each entry is `name: provider/model`.", .example = "{fast: openai/gpt-4o-mini}"},
    {"routes", CONFIG_MAP, ARRAY(struct settings, routes, route_count), .section = &config_route,
     .help = "names that clients may ask for, with several targets behind each",
     .detail = "A strategy picks among the targets, and a request goes on to the next one when a "
               "target fails. `NAME:floor` asks for the cheapest target first, `NAME:nitro` for "
               "the fastest. A list alone is the route's targets, in their order.",
     .example = "{fast: [openai/gpt-4o-mini, anthropic/claude-haiku-4-5]}"},
    {"prices", CONFIG_LIST, ARRAY(struct settings, prices, price_count), .section = &config_price,
     .help = "what tokens cost, where weir cannot know",
     .detail = "The first entry that fits counts, then weir's own table. A model that neither has "
               "is shown as unpriced, never as free.",
     .example = "[{provider: openai, model: \"my-*\", input: 2.5, output: 10}]"},
    {"unmappable", CONFIG_ENUM, FIELD(struct settings, unmappable), .names = unmappable_modes,
     .fallback = "drop", .help = "what becomes of what the target's dialect cannot express",
     .detail = "`drop`: it is left out and named in the answer's `x-weir-dropped`. `reject`: the "
               "request is answered with 400. A client may ask for the latter with the header "
               "`x-weir-unmappable: reject`."},
    {"responses", CONFIG_SECTION, .section = &responses,
     .help = "answers of the Responses API that weir keeps itself"},
    {"limits", CONFIG_SECTION, .section = &limits, .help = "bounds on what peers may send"},
    {"timeouts", CONFIG_SECTION, .section = &timeouts, .help = "how long anything may take"},
    {"routing", CONFIG_SECTION, .section = &config_routing, .is_early = true,
     .help = "how requests are kept alive, where a route does not say otherwise"},
    {"journal", CONFIG_SECTION, .section = &config_journal,
     .help = "memory for streams, so that they survive a break on either side"},
    {"realtime", CONFIG_SECTION, .section = &config_realtime,
     .help = "sessions of realtime models (WebSocket)"},
    {"bridge", CONFIG_SECTION, .section = &config_bridge,
     .help = "WebSockets that carry many requests (`GET /v1/ws`)"},
    {"pool", CONFIG_SECTION, .section = &pool, .help = "idle connections to providers"},
    {"log", CONFIG_SECTION, .section = &log_section, .help = "what is written where"},
    {"metrics", CONFIG_SECTION, .section = &metrics, .help = "`GET /metrics`"},
};
const struct config_section config_root = SECTION(root_keys);

const struct config_key *config_key_find(const struct config_section *section, struct str name)
{
    for (uint32_t i = 0; i < section->count; i++) {
        if (str_eq(str_c(section->keys[i].name), name))
            return &section->keys[i];
    }
    return NULL;
}

const char *config_type_name(enum config_type type)
{
    static const char *const names[CONFIG_TYPE_COUNT] = {
        [CONFIG_STRING] = "string",
        [CONFIG_SECRET] = "secret",
        [CONFIG_PATH] = "path",
        [CONFIG_BOOL] = "boolean",
        [CONFIG_INTEGER] = "integer",
        [CONFIG_DURATION] = "duration",
        [CONFIG_SIZE] = "size",
        [CONFIG_ENUM] = "one of",
        [CONFIG_TIME] = "time",
        [CONFIG_USD] = "US dollars",
        [CONFIG_PERCENT] = "percentage",
        [CONFIG_STRINGS] = "list of strings",
        [CONFIG_PAIRS] = "mapping of names to secrets",
        [CONFIG_PARAMS] = "mapping of names to values",
        [CONFIG_CONDITION] = "mapping of conditions",
        [CONFIG_SECTION] = "mapping",
        [CONFIG_LIST] = "list",
        [CONFIG_MAP] = "mapping of names",
    };
    return names[type];
}
