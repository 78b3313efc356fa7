// A job that is never removed from its list: an early return on the error path.
//
// Symptom. Memory grows only with rejected requests. A test of successful requests finds no leak.
//
// Cause. A job is added to a list when it starts, and removed and freed when it ends. For a request
// without a signature, the function returns between the two steps. Nothing removes that job.
//
// Fix. `variant: fixed` has a single exit, `goto done`, which always ends the job.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "leak_plugin.h"

#define MAX_PAYLOAD_BYTES (16 << 20)
#define DEFAULT_PAYLOAD_BYTES 4096

// After a switch to `fixed`, each request drops at most this many leaked jobs.
#define MAX_DROPS_PER_REQUEST 256

typedef exports_leak_lab_plugin_leak_outcome_t outcome_t;
typedef exports_leak_lab_plugin_leak_request_t request_t;
typedef exports_leak_lab_plugin_leak_retention_t retention_t;
typedef exports_leak_lab_plugin_leak_setting_t setting_t;
typedef exports_leak_lab_plugin_leak_setting_error_t setting_error_t;
typedef exports_leak_lab_plugin_leak_setting_spec_t setting_spec_t;
typedef leak_plugin_string_t string_t;

struct job {
    struct job *next;
    size_t bytes; // The size of the whole block.
    unsigned char body[];
};

static struct job *active_jobs;
static retention_t retained;

static bool is_fixed;
static size_t payload_bytes = DEFAULT_PAYLOAD_BYTES;

static struct job *job_begin(const request_t *request) {
    size_t bytes = sizeof(struct job) + payload_bytes;
    // The leaked memory. It stays on the list until `job_end` removes it.
    struct job *job = malloc(bytes);
    if (!job) {
        return NULL;
    }
    job->bytes = bytes;
    // Fills the body with content that no other request has.
    for (size_t i = 0; i < payload_bytes; i++) {
        job->body[i] = request->id.len ? request->id.ptr[i % request->id.len] : 0;
    }
    job->next = active_jobs;
    active_jobs = job;
    retained.objects += 1;
    retained.bytes += bytes;
    return job;
}

static void job_end(struct job *job) {
    struct job **link = &active_jobs;
    while (*link && *link != job) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = job->next;
        retained.objects -= 1;
        retained.bytes -= job->bytes;
        free(job);
    }
}

static void drop_jobs(size_t max) {
    while (active_jobs && max > 0) {
        job_end(active_jobs);
        max--;
    }
}

static bool equals(const string_t *text, const char *word) {
    return text->len == strlen(word) && memcmp(text->ptr, word, text->len) == 0;
}

static bool is_signed(const request_t *request) {
    for (size_t i = 0; i < request->headers.len; i++) {
        if (equals(&request->headers.ptr[i].f0, "x-signature")) {
            return true;
        }
    }
    return false;
}

static bool handle(const request_t *request) {
    struct job *job = job_begin(request);
    if (!job) {
        return false;
    }
    if (!is_signed(request)) {
        if (is_fixed) {
            goto done; // The fix: the only exit ends the job.
        }
        return true; // The bug: this exit leaves the job on the list.
    }
done:
    job_end(job);
    return true;
}

// The lab's contract starts here. The generated code frees the returned values, so all of them are
// allocated.

static setting_spec_t variant_spec(void) {
    setting_spec_t spec;
    leak_plugin_string_dup(&spec.name, "variant");
    leak_plugin_string_dup(&spec.description,
                           "Whether a rejected job stays on the list (leaky) or not (fixed).");
    spec.type.tag = EXPORTS_LEAK_LAB_PLUGIN_LEAK_SETTING_TYPE_CHOICE;
    spec.type.val.choice.len = 2;
    spec.type.val.choice.ptr = calloc(2, sizeof(string_t));
    leak_plugin_string_dup(&spec.type.val.choice.ptr[0], "leaky");
    leak_plugin_string_dup(&spec.type.val.choice.ptr[1], "fixed");
    spec.default_.tag = EXPORTS_LEAK_LAB_PLUGIN_LEAK_VALUE_TEXT;
    leak_plugin_string_dup(&spec.default_.val.text, "leaky");
    return spec;
}

static setting_spec_t payload_spec(void) {
    setting_spec_t spec;
    leak_plugin_string_dup(&spec.name, "payload_bytes");
    leak_plugin_string_dup(&spec.description, "Bytes that each job retains.");
    spec.type.tag = EXPORTS_LEAK_LAB_PLUGIN_LEAK_SETTING_TYPE_INTEGER;
    spec.type.val.integer.min = 0;
    spec.type.val.integer.max = MAX_PAYLOAD_BYTES;
    spec.default_.tag = EXPORTS_LEAK_LAB_PLUGIN_LEAK_VALUE_INTEGER;
    spec.default_.val.integer = DEFAULT_PAYLOAD_BYTES;
    return spec;
}

void exports_leak_lab_plugin_leak_describe(exports_leak_lab_plugin_leak_manifest_t *manifest) {
    leak_plugin_string_dup(&manifest->id, "c-error-path");
    leak_plugin_string_dup(&manifest->version, "0.1.0");
    leak_plugin_string_dup(&manifest->title, "Job left on a list (C)");
    leak_plugin_string_dup(&manifest->description,
                           "Returns early for requests without x-signature and leaves their jobs "
                           "on a list.");
    leak_plugin_string_dup(&manifest->unit, "jobs");
    manifest->settings.len = 2;
    manifest->settings.ptr = calloc(2, sizeof(setting_spec_t));
    manifest->settings.ptr[0] = variant_spec();
    manifest->settings.ptr[1] = payload_spec();
}

// An error message for an invalid setting, or NULL.
static const char *find_error(const setting_t *setting) {
    if (equals(&setting->name, "variant")) {
        const string_t *text = &setting->value.val.text;
        bool valid = setting->value.tag == EXPORTS_LEAK_LAB_PLUGIN_LEAK_VALUE_TEXT &&
                     (equals(text, "leaky") || equals(text, "fixed"));
        return valid ? NULL : "must be \"leaky\" or \"fixed\"";
    }
    if (equals(&setting->name, "payload_bytes")) {
        int64_t bytes = setting->value.val.integer;
        bool valid = setting->value.tag == EXPORTS_LEAK_LAB_PLUGIN_LEAK_VALUE_INTEGER &&
                     bytes >= 0 && bytes <= MAX_PAYLOAD_BYTES;
        return valid ? NULL : "must be an integer from 0 to 16777216";
    }
    return "is not a setting of this plugin";
}

bool exports_leak_lab_plugin_leak_configure(exports_leak_lab_plugin_leak_list_setting_t *settings,
                                            setting_error_t *error) {
    bool valid = true;
    // Checks all settings before it changes any.
    for (size_t i = 0; valid && i < settings->len; i++) {
        const char *message = find_error(&settings->ptr[i]);
        if (message) {
            const string_t *name = &settings->ptr[i].name;
            leak_plugin_string_dup_n(&error->name, (const char *)name->ptr, name->len);
            leak_plugin_string_dup(&error->message, message);
            valid = false;
        }
    }
    for (size_t i = 0; valid && i < settings->len; i++) {
        const setting_t *setting = &settings->ptr[i];
        if (equals(&setting->name, "variant")) {
            is_fixed = equals(&setting->value.val.text, "fixed");
        } else {
            payload_bytes = (size_t)setting->value.val.integer;
        }
    }
    exports_leak_lab_plugin_leak_list_setting_free(settings);
    return valid;
}

bool exports_leak_lab_plugin_leak_on_request(request_t *request, outcome_t *outcome,
                                             string_t *error) {
    bool handled = handle(request);
    if (is_fixed) {
        drop_jobs(MAX_DROPS_PER_REQUEST);
    }
    exports_leak_lab_plugin_leak_request_free(request);
    if (!handled) {
        leak_plugin_string_dup(error, "malloc failed");
        return false;
    }
    outcome->triggered = true;
    outcome->retained = retained;
    return true;
}

void exports_leak_lab_plugin_leak_retained(retention_t *retention) {
    *retention = retained;
}

void exports_leak_lab_plugin_leak_clear(retention_t *dropped) {
    *dropped = retained;
    drop_jobs(SIZE_MAX);
}
