// Blocks that are only allocated and resized, never freed.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *keep[8192];
static uint64_t live;
static uint32_t count;

static __attribute__((noinline)) void leak(void) {
  keep[count++] = malloc(1000);
  live += 1000;
}

static __attribute__((noinline)) void grow(uint32_t i) {
  char *block = malloc(10);
  memset(block, (int)i, 10);
  keep[count++] = realloc(block, 2000);
  live += 2000;
}

uint64_t run(uint32_t operations) __attribute__((export_name("run")));
uint64_t run(uint32_t operations) {
  for (uint32_t i = 0; i < operations / 1000 && count + 2 < 8192; i++) {
    leak();
    grow(i);
  }
  return live;
}
