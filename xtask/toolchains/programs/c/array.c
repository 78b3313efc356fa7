// The functions of C's heap, defined by the program over an array.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef INLINE
#define FUNCTION static inline __attribute__((always_inline))
#define malloc own_malloc
#define calloc own_calloc
#define realloc own_realloc
#define free own_free
#else
#define FUNCTION
#endif

struct block {
  size_t size;
  struct block *next;
};

static _Alignas(16) char array[16 << 20];
static size_t used;
static struct block *free_blocks;

FUNCTION void *malloc(size_t bytes) {
  size_t size = (bytes + 15) & ~(size_t)15;
  struct block **at = &free_blocks;
  for (int tries = 0; tries < 8 && *at; tries++, at = &(*at)->next)
    if ((*at)->size >= size) {
      struct block *block = *at;
      *at = block->next;
      return block + 1;
    }
  if (used + size + sizeof(struct block) > sizeof array)
    return 0;
  struct block *block = (struct block *)(array + used);
  used += size + sizeof *block;
  block->size = size;
  return block + 1;
}

FUNCTION void free(void *pointer) {
  if (!pointer)
    return;
  struct block *block = (struct block *)pointer - 1;
  block->next = free_blocks;
  free_blocks = block;
}

FUNCTION void *calloc(size_t count, size_t size) {
  void *block = malloc(count * size);
  if (block)
    memset(block, 0, count * size);
  return block;
}

FUNCTION void *realloc(void *pointer, size_t bytes) {
  void *block = malloc(bytes);
  if (block && pointer) {
    size_t before = ((struct block *)pointer - 1)->size;
    memcpy(block, pointer, before < bytes ? before : bytes);
    free(pointer);
  }
  return block;
}

static void *keep[1000];
static size_t sizes[1000];
static uint32_t state = 12345;

uint64_t run(uint32_t operations) __attribute__((export_name("run")));
uint64_t run(uint32_t operations) {
  uint64_t live = 0;
  for (uint32_t i = 0; i < operations; i++) {
    state = state * 1664525 + 1013904223;
    uint32_t at = (state >> 8) % 1000;
    size_t size = 16 + (state >> 20) % 200;
    switch (state >> 29) {
    case 0:
    case 1:
      free(keep[at]);
      keep[at] = malloc(size);
      break;
    case 2:
      free(keep[at]);
      size *= 2;
      keep[at] = calloc(size / 2, 2);
      break;
    case 3:
      keep[at] = realloc(keep[at], size);
      break;
    default:
      free(keep[at]);
      keep[at] = 0;
    }
    sizes[at] = keep[at] ? size : 0;
  }
  for (int at = 0; at < 1000; at++)
    live += sizes[at];
  return live;
}
