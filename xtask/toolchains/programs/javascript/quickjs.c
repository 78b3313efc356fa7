// A JavaScript program in QuickJS, and the ledger of all blocks that the engine requests.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "quickjs.h"

// Before each block is its size.
#define HEADER 16

static uint64_t live;

static void *js_allocate(void *opaque, size_t size) {
  char *block = malloc(size + HEADER);
  if (!block)
    return NULL;
  *(size_t *)block = size;
  live += size + HEADER;
  return block + HEADER;
}

static void *js_allocate_zeroed(void *opaque, size_t count, size_t size) {
  void *block = js_allocate(opaque, count * size);
  return block ? memset(block, 0, count * size) : NULL;
}

static void js_release(void *opaque, void *at) {
  if (!at)
    return;
  char *block = (char *)at - HEADER;
  live -= *(size_t *)block + HEADER;
  free(block);
}

static void *js_resize(void *opaque, void *at, size_t size) {
  if (!at)
    return size ? js_allocate(opaque, size) : NULL;
  if (!size) {
    js_release(opaque, at);
    return NULL;
  }
  char *block = (char *)at - HEADER;
  size_t old = *(size_t *)block;
  block = realloc(block, size + HEADER);
  if (!block)
    return NULL;
  *(size_t *)block = size;
  live += (uint64_t)size - old;
  return block + HEADER;
}

static size_t js_usable_size(const void *at) {
  return at ? *(const size_t *)((const char *)at - HEADER) : 0;
}

static const char program[] =
    "const kept = [], table = new Map();\n"
    "function run(n) {\n"
    "  for (let i = 0; i < n; i++) {\n"
    "    kept.push(() => i);\n"
    "    table.set('key' + i % 500, { i, text: 'x'.repeat(i % 200) + i });\n"
    "    const cycle = [1.5, i];\n"
    "    cycle.push(cycle);\n"
    "    if (i % 3 === 0) kept.shift();\n"
    "    JSON.parse(JSON.stringify({ a: [i, 'b'], c: null }));\n"
    "  }\n"
    "}\n";

static JSContext *context;

static JSContext *start(void) {
  static const JSMallocFunctions functions = {js_allocate_zeroed, js_allocate, js_release, js_resize,
                                               js_usable_size};
  JSContext *started = JS_NewContext(JS_NewRuntime2(&functions, NULL));
  JSValue result = JS_Eval(started, program, strlen(program), "app.js", JS_EVAL_TYPE_GLOBAL);
  if (JS_IsException(result))
    abort();
  JS_FreeValue(started, result);
  return started;
}

uint64_t run(uint32_t operations) __attribute__((export_name("run")));
uint64_t run(uint32_t operations) {
  // The ledger begins with the engine.
  if (operations == 0)
    return live;
  if (!context)
    context = start();
  JSValue global = JS_GetGlobalObject(context);
  JSValue function = JS_GetPropertyStr(context, global, "run");
  JSValue count = JS_NewInt32(context, (int32_t)(operations / 100));
  JSValue result = JS_Call(context, function, global, 1, &count);
  if (JS_IsException(result))
    abort();
  JS_FreeValue(context, result);
  JS_FreeValue(context, function);
  JS_FreeValue(context, global);
  return live;
}
