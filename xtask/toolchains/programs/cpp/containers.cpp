// Containers and operator new, and the program's own ledger.
#include <cstdint>
#include <cstdlib>
#include <new>

struct Item {
  char bytes[72];
};

static void *keep[2048];
static uint32_t sizes[2048];
static Item *items[2048];

extern "C" uint64_t run(uint32_t operations) __attribute__((export_name("run")));
extern "C" uint64_t run(uint32_t operations) {
  uint64_t live = 0;
  for (uint32_t i = 0; i < operations / 10; i++) {
    uint32_t at = i * 31 % 2048;
    ::operator delete(keep[at]);
    sizes[at] = 1 + i % 700;
    keep[at] = ::operator new(sizes[at]);
    delete[] items[at];
    items[at] = i % 3 ? new Item[1] : nullptr;
    char *text = new char[i % 100 + 1];
    *static_cast<volatile char *>(text) = 1;
    delete[] text;
  }
  for (uint32_t at = 0; at < 2048; at++)
    live += (keep[at] ? sizes[at] : 0) + (items[at] ? sizeof(Item) : 0);
  return live;
}
