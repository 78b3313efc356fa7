// A leak by calloc beside malloc and free that are paired.
#include <stdint.h>
#include <stdlib.h>

static void *keep[4000000 / 100];
static uint64_t live;
static uint32_t count;

static void leak(void) {
  if (count < sizeof keep / sizeof *keep && (keep[count] = calloc(1, 1000))) {
    count++;
    live += 1000;
  }
}

static void clean(uint32_t i) {
  char *block = malloc(5000);
  if (block)
    *(volatile char *)block = (char)i;
  free(block);
}

uint64_t run(uint32_t operations) __attribute__((export_name("run")));
uint64_t run(uint32_t operations) {
  for (uint32_t i = 0; i < operations / 1000; i++) {
    leak();
    clean(i);
  }
  return live;
}
