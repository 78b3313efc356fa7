// Keeps blocks of its own and has another component keep some, for a third one.
#include <stdint.h>
#include <stdlib.h>

uint64_t put(uint32_t size) __attribute__((import_module("toolchains:ledger/store"), import_name("put")));

static void *blocks[8192];
static uint32_t count;

uint64_t keep(uint32_t size) __attribute__((export_name("toolchains:ledger/shelf#keep")));
uint64_t keep(uint32_t size) {
  if (count < 8192)
    blocks[count++] = calloc(1, 20);
  return put(size) + 20ull * count;
}
