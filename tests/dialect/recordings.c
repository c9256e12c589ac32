#include "recordings.h"

#include <glob.h>

static const char *wire_folder(void)
{
    const char *folder = getenv("WEIR_WIRE_DIR");
    return folder != NULL ? folder : "../shared/wire";
}

static void find_all(glob_t *files)
{
    char pattern[4096];
    snprintf(pattern, sizeof(pattern), "%s/*/*.json", wire_folder());
    if (glob(pattern, 0, NULL, files) != 0)
        files->gl_pathc = 0;
}

bool recordings_are_here(void)
{
    glob_t files = {0};
    find_all(&files);
    bool are_here = files.gl_pathc > 0;
    globfree(&files);
    return are_here;
}

static struct str text(yyjson_val *value)
{
    return str_n(yyjson_get_str(value), yyjson_get_len(value));
}

static bool is_wanted(const char *const *apis, struct str api)
{
    for (; *apis != NULL; apis++) {
        if (str_glob(str_c(*apis), api))
            return true;
    }
    return false;
}

unsigned recordings_each(const char *const *apis, recording_fn *fn, void *ctx)
{
    glob_t files = {0};
    unsigned count = 0;
    find_all(&files);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        yyjson_doc *doc = yyjson_read_file(files.gl_pathv[i], 0, NULL, NULL);
        yyjson_val *root = yyjson_doc_get_root(doc);
        yyjson_val *response = yyjson_obj_get(root, "response");
        struct recording recording = {
            .path = files.gl_pathv[i],
            .api = text(yyjson_obj_get(root, "api")),
            .status = (unsigned)yyjson_get_uint(yyjson_obj_get(response, "status")),
            .framing = text(yyjson_obj_get(root, "framing")),
            .fidelity = text(yyjson_obj_get(yyjson_obj_get(root, "source"), "response_fidelity")),
            .body = text(yyjson_obj_get(response, "body")),
            .body_b64 = text(yyjson_obj_get(response, "body_b64")),
            .error_type =
                text(yyjson_obj_get(yyjson_obj_get(response, "headers"), "x-amzn-errortype")),
            .request_body = text(yyjson_obj_get(yyjson_obj_get(root, "request"), "body")),
            .features = yyjson_obj_get(root, "features"),
        };
        if (is_wanted(apis, recording.api)) {
            count++;
            fn(&recording, ctx);
        }
        yyjson_doc_free(doc);
    }
    globfree(&files);
    return count;
}

bool recording_has(const struct recording *recording, const char *feature)
{
    size_t i, n;
    yyjson_val *value;
    yyjson_arr_foreach(recording->features, i, n, value)
    {
        if (yyjson_equals_str(value, feature))
            return true;
    }
    return false;
}
