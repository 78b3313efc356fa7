// Callers that share a wrapper of malloc, and a tree that is built and dropped.
#include <stdint.h>
#include <stdlib.h>

struct node {
  struct node *left, *right;
};

static struct node *trees[64];
static uint64_t live;

static void *xmalloc(size_t size) {
  void *block = malloc(size);
  if (!block)
    abort();
  live += size;
  return block;
}

static struct node *build(int depth) {
  struct node *node = xmalloc(sizeof *node);
  node->left = depth ? build(depth - 1) : 0;
  node->right = depth ? build(depth - 1) : 0;
  return node;
}

static void drop(struct node *node) {
  if (!node)
    return;
  drop(node->left);
  drop(node->right);
  free(node);
  live -= sizeof *node;
}

uint64_t run(uint32_t operations) __attribute__((export_name("run")));
uint64_t run(uint32_t operations) {
  for (uint32_t i = 0; i < operations / 1000; i++) {
    drop(trees[i % 64]);
    trees[i % 64] = build((int)(i % 7));
  }
  return live;
}
