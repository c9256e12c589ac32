#include "gateway/settings.h"

void settings_free(struct settings *settings)
{
    if (settings != NULL)
        arena_free(settings->arena); /* the struct itself is in it */
}

bool settings_world(const struct settings *settings, struct plan_world *world)
{
    struct plan_provider *providers =
        arena_calloc(settings->arena, settings->provider_count * sizeof(*providers));
    struct plan_alias *aliases =
        arena_calloc(settings->arena, settings->alias_count * sizeof(*aliases));
    if (providers == NULL || aliases == NULL)
        return false;
    for (unsigned i = 0; i < settings->provider_count; i++) {
        const struct provider *p = &settings->providers[i];
        providers[i] = (struct plan_provider){
            .name = p->name,
            .models = p->models,
            .model_count = p->model_count,
            .is_simulated = p->is_simulated,
        };
    }
    for (unsigned i = 0; i < settings->alias_count; i++)
        aliases[i] = (struct plan_alias){settings->aliases[i].name, settings->aliases[i].target};
    *world = (struct plan_world){.providers = providers,
                                 .provider_count = settings->provider_count,
                                 .aliases = aliases,
                                 .alias_count = settings->alias_count,
                                 .routes = settings->routes,
                                 .route_count = settings->route_count,
                                 .policy = &settings->routing};
    return true;
}
