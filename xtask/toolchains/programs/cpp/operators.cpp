// Containers whose memory comes from operators that the program may define: over an array for small
// blocks and over malloc for large ones. Other blocks come from malloc directly.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <vector>

#ifdef ARRAY
static char array[8 << 20];
static size_t used;
struct Free {
  Free *next;
};
static Free *lists[32];

// A block begins with the number of its list, or with 0 if it comes from malloc.
static void *take(size_t bytes) {
  size_t size = bytes + 8, list = 4;
  while ((size_t(1) << list) < size)
    list++;
  char *block;
  if (size > 1024) {
    list = 0;
    block = (char *)malloc(size);
  } else if (lists[list]) {
    block = (char *)lists[list];
    lists[list] = lists[list]->next;
  } else {
    block = array + used;
    used += size_t(1) << list;
    if (used > sizeof array)
      block = nullptr;
  }
  if (!block)
    abort();
  *(size_t *)block = list;
  return block + 8;
}

static void put(void *pointer) {
  if (!pointer)
    return;
  char *block = (char *)pointer - 8;
  size_t list = *(size_t *)block;
  if (list == 0) {
    free(block);
    return;
  }
  ((Free *)block)->next = lists[list];
  lists[list] = (Free *)block;
}

void *operator new(size_t bytes) { return take(bytes); }
void operator delete(void *pointer) noexcept { put(pointer); }
void operator delete(void *pointer, size_t) noexcept { put(pointer); }
#endif

static uint64_t live;

template <class T> struct Counting {
  using value_type = T;
  Counting() = default;
  template <class U> Counting(const Counting<U> &) {}
  T *allocate(size_t count) {
    live += count * sizeof(T);
    return (T *)::operator new(count * sizeof(T));
  }
  void deallocate(T *pointer, size_t count) {
    live -= count * sizeof(T);
    ::operator delete(pointer);
  }
};
template <class T, class U> bool operator==(const Counting<T> &, const Counting<U> &) { return true; }
template <class T, class U> bool operator!=(const Counting<T> &, const Counting<U> &) { return false; }

using Text = std::basic_string<char, std::char_traits<char>, Counting<char>>;
static std::vector<uint32_t, Counting<uint32_t>> numbers;
static std::map<uint32_t, Text, std::less<>, Counting<std::pair<const uint32_t, Text>>> texts;
static void *keep[4000000 / 1000 + 1];
static uint32_t kept;

extern "C" __attribute__((export_name("run"))) uint64_t run(uint32_t operations) {
  for (uint32_t i = 0; i < operations / 10; i++) {
    if (numbers.size() < 20000)
      numbers.push_back(i);
    texts[i * 7 % 977] = Text(i % 50, 'x');
    if (i % 3 == 0)
      texts.erase(i * 5 % 977);
    if (i % 100 == 0 && kept < sizeof keep / sizeof *keep && (keep[kept++] = malloc(50)))
      live += 50;
  }
  return live;
}
