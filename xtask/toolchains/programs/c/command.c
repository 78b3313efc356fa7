// A command that leaks and prints what it holds.
#include <stdio.h>
#include <stdlib.h>

static void *keep[100000];

// The C library takes all memory there is for its heap when it first allocates. The adapter for
// WASI takes a page for itself when the program first calls the host. So the heap has to come
// first: otherwise it includes the adapter's page, and a large heap overwrites it.
__attribute__((constructor)) static void allocate_first(void) {
  void *volatile block = malloc(1);
  free(block);
}

int main(int count, char **arguments) {
  int operations = count > 1 ? atoi(arguments[1]) : 0;
  int n = operations / 1000;
  for (int i = 0; i < n; i++)
    keep[i] = malloc(1000);
  for (int i = 0; i < n; i += 2) {
    free(keep[i]);
    keep[i] = 0;
  }
  printf("live %d\n", n / 2 * 1000);
  return 0;
}
