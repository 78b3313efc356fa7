// A command that leaks and prints what it holds.
#include <stdio.h>
#include <stdlib.h>

static void *keep[100000];

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
