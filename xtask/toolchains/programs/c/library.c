// Functions of the C library that allocate, and calls of its heap that fail or do nothing.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t live;
// The compiler removes an allocation whose block goes nowhere.
static void *volatile kept;
static volatile size_t zero, huge = 0xfffffff0u;

static void *keep(void *block, size_t size) {
  kept = block;
  if (!block)
    abort();
  live += size;
  return block;
}

static void drop(void *block, size_t size) {
  free(block);
  live -= size;
}

uint64_t run(uint32_t operations) __attribute__((export_name("run")));
uint64_t run(uint32_t operations) {
  for (uint32_t i = 0; i < operations / 100; i++) {
    char *text = keep(strdup("hello world"), 12);
    if (i % 2)
      drop(text, 12);
    keep(strndup("abcdefghij", 5), 6);
    char *block = keep(realloc((void *)zero, 33), 33);
    block = keep(realloc(block, 64), 64 - 33);
    free((void *)zero);
    kept = calloc(huge, 2);
    if (kept)
      abort();
    void *aligned = 0;
    if (posix_memalign(&aligned, 3 + zero, 10) == 0 || posix_memalign(&aligned, 64, huge) == 0)
      abort();
    if (posix_memalign(&aligned, 64, 100) != 0)
      abort();
    keep(aligned, 100);
    if (i % 3 == 0)
      drop(aligned, 100);
    kept = malloc(huge);
    if (kept)
      abort();
    kept = realloc(block, huge);
    if (kept)
      abort();
    kept = malloc(zero);
    if (i % 5)
      free(kept);
    char *line = 0;
    if (asprintf(&line, "%u lines", i % 10) != 7)
      abort();
    keep(line, 8);
  }
  return live;
}
