#include "control/config_finish.h"

#include "http/message.h"
#include "route/plan.h"

static struct config_mark mark_of(const struct config_node *node, const struct config_node *parent)
{
    return node != NULL ? node->mark : parent->key_mark;
}

/* A name that a client could write as well. */
static bool is_target_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if ((unsigned char)name.ptr[i] <= ' ' || name.ptr[i] == 0x7f)
            return false;
    }
    return name.len > 0 && name.ptr[0] != '/' && !str_ends(name, STR("/"));
}

/* --- policies ----------------------------------------------------------------------------------
 */

/* `who` is "routing" or "route \"NAME\"". */
static void check_policy(struct config_reader *reader, const struct config_node *node,
                         const char *who, const struct route_policy *policy)
{
    const struct config_node *mirror = config_node_get(node, STR("mirror"));
    const struct config_node *backoff = config_node_get(node, STR("backoff"));
    if (backoff == NULL)
        backoff = config_node_get(node, STR("backoff_max"));
    if (policy->backoff_ns > policy->backoff_max_ns)
        config_error(reader->report, mark_of(backoff, node),
                     "%s: found a \"backoff\" that is longer than \"backoff_max\"; expected at "
                     "most that",
                     who);
    if (policy->mirror_per_million > 0 && policy->mirror_target.len == 0)
        config_error(reader->report, mark_of(mirror, node),
                     "%s: found no \"target\" of \"mirror\"; expected one, as \"percent\" is "
                     "above 0",
                     who);
    else if (policy->mirror_target.len > 0 && policy->mirror_per_million == 0 &&
             config_node_get(mirror, STR("target")) != NULL &&
             config_node_get(mirror, STR("percent")) == NULL)
        config_error(reader->report, mark_of(mirror, node),
                     "%s: found no \"percent\" of \"mirror\"; expected one, as without it nothing "
                     "is copied",
                     who);
    if (policy->mirror_target.len > 0 && !is_target_name(policy->mirror_target))
        config_error(reader->report, mark_of(mirror, node),
                     "%s: found the mirror target \"%.*s\"; expected provider/model or a route",
                     who, STR_ARG(str_head(policy->mirror_target, 80)));
}

/* --- routes ------------------------------------------------------------------------------------
 */

static void check_targets(struct config_reader *reader, const struct config_node *node,
                          const char *who, const struct route *route)
{
    const struct config_node *list =
        node->kind == NODE_LIST ? node : config_node_get(node, STR("targets"));
    if (route->target_count == 0) {
        config_error(reader->report, mark_of(list, node),
                     "%s: found no targets; expected at least one", who);
        return;
    }
    uint64_t sum = 0;
    const struct config_node *entry = list->first;
    for (unsigned i = 0; i < route->target_count; i++, entry = entry->next) {
        sum += route->targets[i].weight;
        if (!is_target_name(route->targets[i].target))
            config_error(reader->report, entry->mark,
                         "%s: found the target \"%.*s\"; expected provider/model, a model, or a "
                         "route",
                         who, STR_ARG(str_head(route->targets[i].target, 80)));
        else if (str_eq(route->targets[i].target, route->name))
            config_error(reader->report, entry->mark,
                         "%s: found the route among its own targets; where a model has the route's "
                         "name, write provider/model",
                         who);
    }
    if (sum == 0)
        config_error(reader->report, list->mark,
                     "%s: found no target with a \"weight\" above 0; expected at least one", who);
}

static void check_key(struct config_reader *reader, const struct config_node *node, const char *who,
                      const struct route *route)
{
    const struct config_node *key = config_node_get(node, STR("key"));
    bool has_header = route->key_header.len > 0;
    if (route->key == ROUTE_KEY_HEADER && !has_header)
        config_error(reader->report, mark_of(key, node),
                     "%s: found no \"header\" of \"key\"; expected the name of one", who);
    else if (route->key != ROUTE_KEY_HEADER && has_header)
        config_error(reader->report, mark_of(key, node),
                     "%s: found a \"header\" of \"key\" that is not asked for; expected "
                     "\"by: header\" beside it",
                     who);
    else if (has_header && !http_name_is_safe(route->key_header))
        config_error(reader->report, mark_of(key, node),
                     "%s: found \"%.*s\"; expected the name of a header", who,
                     STR_ARG(str_head(route->key_header, 80)));
    if (key != NULL && route->strategy != ROUTE_HASH && route->strategy != ROUTE_STICKY)
        config_warning(reader->report, key->key_mark,
                       "%s: \"key\" means nothing to the strategy %s, only to hash and sticky", who,
                       route_strategy_names[route->strategy]);
}

static void check_fallbacks(struct config_reader *reader, const struct config_node *node,
                            const char *who, const struct route *route)
{
    const struct config_node *fallbacks = config_node_get(node, STR("fallbacks"));
    for (unsigned f = 0; f < FALLBACK_COUNT; f++) {
        const struct config_node *list = fallbacks;
        if (fallbacks != NULL && fallbacks->kind == NODE_MAP)
            list = config_node_get(fallbacks, str_c(route_fallback_names[f]));
        for (unsigned i = 0; i < route->fallbacks[f].count; i++) {
            struct str name = route->fallbacks[f].names[i];
            if (!is_target_name(name))
                config_error(reader->report, mark_of(list, node),
                             "%s: found the fallback \"%.*s\"; expected provider/model, a model, "
                             "or a route",
                             who, STR_ARG(str_head(name, 80)));
        }
    }
}

/* What comes first answers to the name, so that the other would never be asked. */
static void check_name(struct config_reader *reader, const struct config_node *node,
                       const char *who, const struct route *route, const struct settings *settings)
{
    for (unsigned i = 0; i < settings->alias_count; i++) {
        if (str_eq(settings->aliases[i].name, route->name))
            config_error(reader->report, node->key_mark,
                         "%s: found the same name under \"models\"; expected another", who);
    }
}

/* --- where names lead --------------------------------------------------------------------------
 */

/* The first scalar of that text below a node. */
static const struct config_node *find_text(const struct config_node *node, struct str text)
{
    if (node->kind == NODE_SCALAR)
        return str_eq(node->text, text) ? node : NULL;
    for (const struct config_node *n = node->first; n != NULL; n = n->next) {
        const struct config_node *found = find_text(n, text);
        if (found != NULL)
            return found;
    }
    return NULL;
}

/* The next text in double quotes, which *line is moved behind. */
static struct str next_quoted(struct str *line)
{
    struct str head, quoted;
    if (!str_cut(line, '"', &head) || !str_cut(line, '"', &quoted))
        return STR_EMPTY;
    return quoted;
}

/* A line of route_check names the route first, and then what is wrong in it. */
static void tell_problem(struct config_reader *reader, const struct config_node *map,
                         struct str line)
{
    struct str rest = line, name = next_quoted(&rest), about = next_quoted(&rest);
    const struct config_node *node = config_node_get(map, name);
    const struct config_node *place = node != NULL && about.len > 0 ? find_text(node, about) : NULL;
    config_error(reader->report,
                 place != NULL  ? place->mark
                 : node != NULL ? node->key_mark
                                : map->key_mark,
                 "%.*s", STR_ARG(line));
}

static void check_names(struct config_reader *reader, const struct config_node *root,
                        const struct settings *settings, const struct plan_world *world)
{
    struct str mirror = settings->routing.mirror_target;
    struct plan_resolution resolution;
    plan_name(world, mirror, &resolution);
    if (mirror.len > 0 && plan_route(world, mirror, NULL) == NULL &&
        resolution.verdict != PLAN_OK) {
        const struct config_node *node = config_node_get(root, STR("routing"));
        config_error(reader->report, node->key_mark,
                     "routing: the mirror target \"%.*s\" leads nowhere; expected a route, an "
                     "alias, provider/model or a model that one provider lists",
                     STR_ARG(mirror));
        return; /* every route that inherits it would say the same */
    }
    struct buf problems = BUF_INIT;
    route_check(world, &problems);
    struct str rest = buf_str(&problems), line;
    while (str_next(&rest, '\n', &line)) {
        if (line.len > 0)
            tell_problem(reader, config_node_get(root, STR("routes")), line);
    }
    if (!buf_ok(&problems))
        config_error(reader->report, CONFIG_NOWHERE, "out of memory");
    buf_fini(&problems);
}

/* --- the whole ---------------------------------------------------------------------------------
 */

static void check_routes(struct config_reader *reader, const struct config_node *root,
                         const struct settings *settings)
{
    const struct config_node *routing = config_node_get(root, STR("routing"));
    const struct config_node *map = config_node_get(root, STR("routes"));
    if (routing != NULL)
        check_policy(reader, routing, "routing", &settings->routing);
    /* What a route inherits was refused in `routing` already. */
    unsigned errors = reader->report->errors;
    const struct config_node *node = settings->route_count > 0 ? map->first : NULL;
    for (unsigned i = 0; i < settings->route_count; i++, node = node->next) {
        const struct route *route = &settings->routes[i];
        char who[96];
        snprintf(who, sizeof(who), "route \"%.*s\"", STR_ARG(str_head(route->name, 64)));
        check_name(reader, node, who, route, settings);
        check_targets(reader, node, who, route);
        check_key(reader, node, who, route);
        check_fallbacks(reader, node, who, route);
        if (errors == 0)
            check_policy(reader, node, who, &route->policy);
    }
}

void config_finish_routes(struct config_reader *reader, const struct config_node *root,
                          struct settings *settings)
{
    struct plan_world world;
    check_routes(reader, root, settings);
    if (reader->report->errors > 0)
        return;
    bool has_memory = settings_world(settings, &world);
    if (has_memory)
        check_names(reader, root, settings, &world);
    for (unsigned i = 0; i < settings->route_count && reader->report->errors == 0; i++)
        has_memory = has_memory && route_prepare(&settings->routes[i], settings->arena) == 0;
    if (!has_memory)
        config_error(reader->report, CONFIG_NOWHERE, "out of memory");
}
