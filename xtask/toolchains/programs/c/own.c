// An allocator of the program's own, with a free list, in a program without a C library.
typedef unsigned long size_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

struct block {
  size_t size;
  struct block *next;
};

static struct block *free_blocks;
static size_t start, end;

static void *slow(size_t size) {
  if (start + size > end) {
    size_t pages = (size + 65535) / 65536 + 1;
    size_t old = __builtin_wasm_memory_grow(0, pages);
    if (old == (size_t)-1)
      return 0;
    if (end != old * 65536)
      start = old * 65536;
    end = (old + pages) * 65536;
  }
  void *at = (void *)start;
  start += size;
  return at;
}

#ifndef INLINE
__attribute__((noinline))
#endif
void *malloc(size_t bytes) {
  size_t size = (bytes + 8 + 15) & ~(size_t)15;
  for (struct block **at = &free_blocks; *at; at = &(*at)->next)
    if ((*at)->size == size) {
      struct block *block = *at;
      *at = block->next;
      return (char *)block + 8;
    }
  struct block *block = slow(size);
  if (!block)
    return 0;
  block->size = size;
  return (char *)block + 8;
}

#ifndef INLINE
__attribute__((noinline))
#endif
void free(void *pointer) {
  if (!pointer)
    return;
  struct block *block = (struct block *)((char *)pointer - 8);
  block->next = free_blocks;
  free_blocks = block;
}

static void *keep[512];
static size_t sizes[512];

uint64_t run(uint32_t operations) __attribute__((export_name("run")));
uint64_t run(uint32_t operations) {
  uint64_t live = 0;
  for (uint32_t i = 0; i < operations / 100; i++) {
    uint32_t at = i * 7 % 512;
    free(keep[at]);
    sizes[at] = 16 + i % 5 * 100;
    keep[at] = malloc(sizes[at]);
    void *short_lived = malloc(64);
    *(volatile char *)short_lived = 1;
    free(short_lived);
  }
  for (uint32_t at = 0; at < 512; at++)
    live += keep[at] ? sizes[at] : 0;
  return live;
}
