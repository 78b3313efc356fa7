// A job that is never taken off its list: an early return on the error path.
//
// Symptom. Memory grows with every request that is refused, and with no other. Those that succeed are clean, and so is
// every test that only looks at them.
//
// Cause. A job is put on the list of jobs at work when it begins, and is taken off and freed when it ends. The check in
// between returns at once when a request is not signed, and nobody takes that job off.
//
// Fix. `variant: fixed` has one way out of the function: `goto done`, whatever happens.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "leak_plugin.h"

#define MOST_PAYLOAD_BYTES (16 << 20)
#define DEFAULT_PAYLOAD_BYTES 4096

// What was retained before a switch to `fixed` goes in steps, so that no request takes too long.
#define DROP_AT_ONCE 256

typedef exports_leak_lab_plugin_leak_request_t request_t;
typedef exports_leak_lab_plugin_leak_retention_t retention_t;
typedef exports_leak_lab_plugin_leak_setting_t setting_t;
typedef exports_leak_lab_plugin_leak_setting_error_t setting_error_t;
typedef exports_leak_lab_plugin_leak_setting_spec_t setting_spec_t;
typedef leak_plugin_string_t string_t;

struct job {
    struct job *next;
    // Of the whole block, as it was asked for.
    size_t bytes;
    unsigned char body[];
};

static struct job *at_work;
static retention_t held;

static bool is_fixed;
static size_t payload_bytes = DEFAULT_PAYLOAD_BYTES;

static struct job *job_begin(const request_t *request) {
    size_t bytes = sizeof(struct job) + payload_bytes;
    struct job *job = malloc(bytes);
    if (!job) {
        return NULL;
    }
    job->bytes = bytes;
    // Bytes that no other request has.
    for (size_t i = 0; i < payload_bytes; i++) {
        job->body[i] = request->id.len ? request->id.ptr[i % request->id.len] : 0;
    }
    job->next = at_work;
    at_work = job;
    held.objects += 1;
    held.bytes += bytes;
    return job;
}

static void job_end(struct job *job) {
    struct job **link = &at_work;
    while (*link && *link != job) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = job->next;
        held.objects -= 1;
        held.bytes -= job->bytes;
        free(job);
    }
}

static void drop_jobs(size_t most) {
    while (at_work && most > 0) {
        job_end(at_work);
        most--;
    }
}

static bool is(const string_t *text, const char *word) {
    return text->len == strlen(word) && memcmp(text->ptr, word, text->len) == 0;
}

static bool is_signed(const request_t *request) {
    for (size_t i = 0; i < request->headers.len; i++) {
        if (is(&request->headers.ptr[i].f0, "x-signature")) {
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
            goto done;
        }
        return true; // The bug: the job stays on the list.
    }
done:
    job_end(job);
    return true;
}

// The lab's contract from here on. What is returned is freed by the generated code, so it is allocated.

static setting_spec_t variant_spec(void) {
    setting_spec_t spec;
    leak_plugin_string_dup(&spec.name, "variant");
    leak_plugin_string_dup(&spec.description, "Whether a refused job stays on the list (leaky) or not (fixed).");
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
    leak_plugin_string_dup(&spec.description, "Bytes that each job keeps of its request.");
    spec.type.tag = EXPORTS_LEAK_LAB_PLUGIN_LEAK_SETTING_TYPE_INTEGER;
    spec.type.val.integer.min = 0;
    spec.type.val.integer.max = MOST_PAYLOAD_BYTES;
    spec.default_.tag = EXPORTS_LEAK_LAB_PLUGIN_LEAK_VALUE_INTEGER;
    spec.default_.val.integer = DEFAULT_PAYLOAD_BYTES;
    return spec;
}

void exports_leak_lab_plugin_leak_describe(exports_leak_lab_plugin_leak_manifest_t *manifest) {
    leak_plugin_string_dup(&manifest->id, "c-error-path");
    leak_plugin_string_dup(&manifest->version, "0.1.0");
    leak_plugin_string_dup(&manifest->title, "Job left on a list (C)");
    leak_plugin_string_dup(&manifest->description,
                           "Returns early for requests without x-signature, and leaves their jobs on a list.");
    leak_plugin_string_dup(&manifest->unit, "jobs");
    manifest->settings.len = 2;
    manifest->settings.ptr = calloc(2, sizeof(setting_spec_t));
    manifest->settings.ptr[0] = variant_spec();
    manifest->settings.ptr[1] = payload_spec();
}

// What is wrong with a setting, or NULL.
static const char *complaint(const setting_t *setting) {
    if (is(&setting->name, "variant")) {
        bool fits = setting->value.tag == EXPORTS_LEAK_LAB_PLUGIN_LEAK_VALUE_TEXT &&
                    (is(&setting->value.val.text, "leaky") || is(&setting->value.val.text, "fixed"));
        return fits ? NULL : "takes \"leaky\" or \"fixed\"";
    }
    if (is(&setting->name, "payload_bytes")) {
        bool fits = setting->value.tag == EXPORTS_LEAK_LAB_PLUGIN_LEAK_VALUE_INTEGER &&
                    setting->value.val.integer >= 0 && setting->value.val.integer <= MOST_PAYLOAD_BYTES;
        return fits ? NULL : "takes 0 to 16777216";
    }
    return "there is no such setting";
}

bool exports_leak_lab_plugin_leak_configure(exports_leak_lab_plugin_leak_list_setting_t *settings,
                                            setting_error_t *error) {
    bool fits = true;
    // All are checked before any is taken.
    for (size_t i = 0; fits && i < settings->len; i++) {
        const char *message = complaint(&settings->ptr[i]);
        if (message) {
            leak_plugin_string_dup_n(&error->name, (const char *)settings->ptr[i].name.ptr, settings->ptr[i].name.len);
            leak_plugin_string_dup(&error->message, message);
            fits = false;
        }
    }
    for (size_t i = 0; fits && i < settings->len; i++) {
        const setting_t *setting = &settings->ptr[i];
        if (is(&setting->name, "variant")) {
            is_fixed = is(&setting->value.val.text, "fixed");
        } else {
            payload_bytes = (size_t)setting->value.val.integer;
        }
    }
    exports_leak_lab_plugin_leak_list_setting_free(settings);
    return fits;
}

bool exports_leak_lab_plugin_leak_on_request(request_t *request, exports_leak_lab_plugin_leak_outcome_t *outcome,
                                             string_t *error) {
    bool ran = handle(request);
    if (is_fixed) {
        drop_jobs(DROP_AT_ONCE);
    }
    exports_leak_lab_plugin_leak_request_free(request);
    if (!ran) {
        leak_plugin_string_dup(error, "malloc has no memory for the job");
        return false;
    }
    outcome->triggered = true;
    outcome->retained = held;
    return true;
}

void exports_leak_lab_plugin_leak_retained(retention_t *retention) {
    *retention = held;
}

void exports_leak_lab_plugin_leak_clear(retention_t *dropped) {
    *dropped = held;
    drop_jobs(SIZE_MAX);
}
