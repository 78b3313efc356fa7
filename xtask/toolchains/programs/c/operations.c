// Random operations of all kinds on C's heap, and the program's own ledger of live bytes.
#include <stdint.h>
#include <stdlib.h>

#define SLOTS 4096
static void *blocks[SLOTS];
static size_t sizes[SLOTS];
static uint64_t state = 0x9E3779B97F4A7C15u;

static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static void place(size_t at, void *block, size_t size) {
  free(blocks[at]);
  blocks[at] = block;
  sizes[at] = block ? size : 0;
}

static void operation(void) {
  uint64_t a = next();
  size_t at = (a >> 40) % SLOTS;
  size_t size = 1 + ((a & 0xFF) << (((a >> 8) & 3) * ((a >> 12) & 1)));
  switch ((a >> 16) & 15) {
  case 0:
  case 1:
  case 2:
    place(at, malloc(size), size);
    break;
  case 3:
  case 4:
    place(at, calloc(size, 3), size * 3);
    break;
  case 5: {
    size_t alignment = (size_t)16 << ((a >> 24) & 3);
    size_t rounded = (size + alignment - 1) / alignment * alignment;
    place(at, aligned_alloc(alignment, rounded), rounded);
    break;
  }
  case 6: {
    void *block = 0;
    if (posix_memalign(&block, (size_t)8 << ((a >> 24) & 3), size) == 0)
      place(at, block, size);
    break;
  }
  case 7:
  case 8:
  case 9:
  case 10: {
    void *block = realloc(blocks[at], size);
    if (block) {
      blocks[at] = block;
      sizes[at] = size;
    }
    break;
  }
  case 11:
    // Larger than a page.
    if ((a >> 24) % 64 == 0)
      place(at, malloc(size * 300), size * 300);
    break;
  default:
    place(at, 0, 0);
  }
}

uint64_t run(uint32_t operations) __attribute__((export_name("run")));
uint64_t run(uint32_t operations) {
  uint64_t live = 0;
  for (uint32_t i = 0; i < operations; i++)
    operation();
  for (size_t at = 0; at < SLOTS; at++)
    live += sizes[at];
  return live;
}
