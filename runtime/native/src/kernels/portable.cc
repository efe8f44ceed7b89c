#define TFCOMPRESS_SET portable  // with the flags that CMakeLists.txt gives this file
#include "table.h"
