// How a program speaks with the plugin that counts its instructions: numbers of system calls that Linux does not have.
#ifndef COUNT_H_
#define COUNT_H_

enum {
  kCountEntry = 70001,  // address, part: code that begins at the address, not translated yet, and all after it
  kCountBegin = 70002,
  kCountEnd = 70003,
};

enum { kCountParts = 8, kCountEntries = 64 };  // part 0: before any other

#endif
