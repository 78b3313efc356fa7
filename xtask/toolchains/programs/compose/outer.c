// Has two components keep blocks. One of them passes some on to a third one.
#include <stdint.h>
#include <stdlib.h>

uint64_t put(uint32_t size) __attribute__((import_module("toolchains:ledger/store"), import_name("put")));
uint64_t keep(uint32_t size) __attribute__((import_module("toolchains:ledger/shelf"), import_name("keep")));

static void *blocks[8192];
static uint32_t count;

uint64_t run(uint32_t operations) __attribute__((export_name("run")));
uint64_t run(uint32_t operations) {
  uint64_t held = 0;
  for (uint32_t i = 0; i < operations / 1000 && count < 8192; i++) {
    blocks[count++] = malloc(50);
    held = put(1000) + keep(300);
  }
  return held + 50ull * count;
}
