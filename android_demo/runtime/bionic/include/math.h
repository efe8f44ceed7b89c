// libc++'s overloads want every function for each of the three types.
#pragma once

#define HUGE_VAL __builtin_huge_val()
#define HUGE_VALF __builtin_huge_valf()
#define HUGE_VALL __builtin_huge_vall()
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define isfinite(x) __builtin_isfinite(x)
#define isinf(x) __builtin_isinf(x)
#define isnan(x) __builtin_isnan(x)

typedef double double_t;
typedef float float_t;

extern "C" {

// For each type: its letter behind the names.
#define OF_ONE(T, name) T name(T);
#define OF_TWO(T, name) T name(T, T);
#define OF_ALL(OF, name) OF(double, name) OF(float, name##f) OF(long double, name##l)
#define ONE(name) OF_ALL(OF_ONE, name)
#define TWO(name) OF_ALL(OF_TWO, name)

// clang-format off
ONE(acos) ONE(acosh) ONE(asin) ONE(asinh) ONE(atan) ONE(atanh) ONE(cbrt) ONE(ceil) ONE(cos) ONE(cosh) ONE(erf)
ONE(erfc) ONE(exp) ONE(exp2) ONE(expm1) ONE(fabs) ONE(floor) ONE(lgamma) ONE(log) ONE(log10) ONE(log1p) ONE(log2)
ONE(logb) ONE(nearbyint) ONE(rint) ONE(round) ONE(sin) ONE(sinh) ONE(sqrt) ONE(tan) ONE(tanh) ONE(tgamma) ONE(trunc)
TWO(atan2) TWO(copysign) TWO(fdim) TWO(fmax) TWO(fmin) TWO(fmod) TWO(hypot) TWO(nextafter) TWO(pow) TWO(remainder)
// clang-format on

#define OTHERS(T, s)               \
  T fma##s(T, T, T);               \
  T frexp##s(T, int*);             \
  int ilogb##s(T);                 \
  T ldexp##s(T, int);              \
  long lrint##s(T);                \
  long lround##s(T);               \
  long long llrint##s(T);          \
  long long llround##s(T);         \
  T modf##s(T, T*);                \
  T nan##s(const char*);           \
  T nexttoward##s(T, long double); \
  T remquo##s(T, T, int*);         \
  T scalbln##s(T, long);           \
  T scalbn##s(T, int);
    // clang-format off
OTHERS(double, )
OTHERS(float, f)
OTHERS(long double, l)
// clang-format on

#undef OTHERS
#undef TWO
#undef ONE
#undef OF_ALL
#undef OF_TWO
#undef OF_ONE
}
