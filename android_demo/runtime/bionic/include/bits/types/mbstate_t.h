// Where libc++ looks for it if there are no wide characters.
#pragma once

typedef struct {
  unsigned char state[16];
} mbstate_t;
