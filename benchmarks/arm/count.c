// A QEMU plugin (API version 1) that counts the instructions of one thread, for each basic block of code and for each
// part of the program's work. The program tells it what a part is and when to count, with the system calls of count.h.
#include "count.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// QEMU's interface. Debian has no package with its header.
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb*, void (*)(unsigned, void*), int flags, void* data);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t,
                                          void (*)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                   uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb*);
__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct Entry {
  uint64_t address;
  int part;
};

struct Block {
  uint64_t address, instructions, runs[kCountParts];
  int part;  // the part that begins here, or -1
  struct Block* next;
};

static struct Entry entries[kCountEntries];
static int entry_count, part;
static struct Block* blocks;

static void Run(unsigned cpu, void* data) {
  (void)cpu;
  struct Block* block = data;
  if (block->part >= 0) part = block->part;
  ++block->runs[part];
}

static void Translate(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  struct Block* block = calloc(1, sizeof(*block));
  if (block == NULL) abort();
  block->address = qemu_plugin_tb_vaddr(tb);
  block->instructions = qemu_plugin_tb_n_insns(tb);
  block->part = -1;
  for (int i = 0; i < entry_count; ++i) {
    if (entries[i].address == block->address) block->part = entries[i].part;
  }
  block->next = blocks;
  blocks = block;
  qemu_plugin_register_vcpu_tb_exec_cb(tb, Run, 0, block);
}

static void Reset(void) {
  for (struct Block* block = blocks; block != NULL; block = block->next) {
    for (int i = 0; i < kCountParts; ++i) block->runs[i] = 0;
  }
}

// Prints lines of address, part and number of instructions.
static void Print(void) {
  for (const struct Block* block = blocks; block != NULL; block = block->next) {
    for (int i = 0; i < kCountParts; ++i) {
      if (block->runs[i] > 0) {
        printf("count %" PRIx64 " %d %" PRIu64 "\n", block->address, i, block->runs[i] * block->instructions);
      }
    }
  }
  fflush(stdout);
}

static void SystemCall(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c,
                       uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number == kCountEntry && entry_count < kCountEntries && b < kCountParts) {
    entries[entry_count++] = (struct Entry){a, (int)b};
  } else if (number == kCountBegin) {
    Reset();
  } else if (number == kCountEnd) {
    Print();
  }
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void* info, int count,
                                                               char** arguments) {
  (void)info, (void)count, (void)arguments;
  qemu_plugin_register_vcpu_tb_trans_cb(id, Translate);
  qemu_plugin_register_vcpu_syscall_cb(id, SystemCall);
  return 0;
}
