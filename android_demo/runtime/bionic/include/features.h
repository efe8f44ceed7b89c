// Compilers know Android; this tells whose C library it is.
#pragma once

#define __BIONIC__ 1
