// How a program talks to the plugin that counts its instructions: with system calls whose numbers Linux does not use.
#ifndef COUNT_H_
#define COUNT_H_

enum {
  kCountEntry = 70001,  // address, part: the part begins when code at this address runs, which has not run before
  kCountBegin = 70002,
  kCountEnd = 70003,
};

enum { kCountParts = 8, kCountEntries = 64 };  // Part 0 is before any other.

#endif
