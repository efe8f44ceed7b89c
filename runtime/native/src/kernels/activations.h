// exp2, the activations of dense layers, and what they share. The coefficients are of polynomial and rational
// approximations that minimize the largest relative error on the intervals in which they are used.
#pragma once

#include "../kernels.h"
#include "rounding.h"

namespace tfcompress {
namespace {

HWY_INLINE FloatVector Constants(float value) { return hn::Set(kFloats, value); }

// c[0] + c[1] s + c[2] s^2 ...
template <int kTerms>
HWY_INLINE FloatVector Polynomial(FloatVector s, const float (&c)[kTerms]) {
  FloatVector sum = Constants(c[kTerms - 1]);
  TFCOMPRESS_UNROLL
  for (int i = kTerms - 2; i >= 0; --i) sum = hn::MulAdd(sum, s, Constants(c[i]));
  return sum;
}

// NearestWhole rounds t to a whole number; TimesPowerOfTwo returns fraction * 2^whole. Both are for t <= 126; a t far
// below -126 gives 0 or almost 0.
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
HWY_INLINE FloatVector InRange(FloatVector t) { return t; }

HWY_INLINE FloatVector NearestWhole(FloatVector t) { return hn::Round(t); }

HWY_INLINE FloatVector TimesPowerOfTwo(FloatVector fraction, FloatVector, FloatVector whole) {
  return hn::MulByFloorPow2(fraction, whole);
}
#else
HWY_INLINE FloatVector InRange(FloatVector t) { return AtLeast(t, -126.0f); }

HWY_INLINE FloatVector NearestWhole(FloatVector t) { return hn::Sub(hn::Add(t, Constants(kLarge)), Constants(kLarge)); }

// The lowest bits of t + kLarge are the whole number, which is added to the exponent.
HWY_INLINE FloatVector TimesPowerOfTwo(FloatVector fraction, FloatVector t, FloatVector) {
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(kInts, hn::Add(t, Constants(kLarge))));
  return hn::BitCast(kFloats, hn::Add(hn::BitCast(kInts, fraction), exponent));
}
#endif

// 2^t for finite t <= 126 with relative error 2e-7.
HWY_INLINE FloatVector Exp2(FloatVector t) {
  constexpr float c[] = {1.0f, 6.9314697e-1f, 2.402212e-1f, 5.550713e-2f, 9.67554e-3f, 1.32765e-3f};
  t = InRange(t);
  const FloatVector n = NearestWhole(t);
  return TimesPowerOfTwo(Polynomial(hn::Sub(t, n), c), t, n);
}

// The same with relative error 1e-4, for results that are rounded to 8 bits.
HWY_INLINE FloatVector CoarseExp2(FloatVector t) {
  constexpr float c[] = {9.9992807e-1f, 6.9326099e-1f, 2.4261112e-1f, 5.517167e-2f};
  t = InRange(t);
  const FloatVector n = NearestWhole(t);
  return TimesPowerOfTwo(Polynomial(hn::Sub(t, n), c), t, n);
}

// a / b. On x86, a Newton step after the processor's approximation costs a fraction of a division.
HWY_INLINE FloatVector Quotient(FloatVector a, FloatVector b) {
#if HWY_ARCH_X86
  const FloatVector guess = hn::ApproximateReciprocal(b);
  return hn::Mul(a, hn::Mul(guess, hn::NegMulAdd(b, guess, Constants(2.0f))));
#else
  return hn::Div(a, b);
#endif
}

// A single vrangeps instead would make GELU twice as slow.
HWY_INLINE FloatVector Clamped(FloatVector x, float limit) { return AtLeast(AtMost(x, limit), -limit); }

// With absolute error 3e-7.
HWY_INLINE FloatVector Tanh(FloatVector x) {
  constexpr float p[] = {1.0f, 1.3381028e-1f, 3.4955917e-3f, 2.0609137e-5f, 1.3354732e-8f};
  constexpr float q[] = {1.0f, 4.6714345e-1f, 2.5876995e-2f, 3.2856406e-4f, 7.7765884e-7f};
  const FloatVector z = Clamped(x, 9.0f), s = hn::Mul(z, z);
  return Quotient(hn::Mul(z, Polynomial(s, p)), Polynomial(s, q));
}

// x * (1 + erf(x / sqrt(2))) / 2. erf / 2 has absolute error 2e-7.
HWY_INLINE FloatVector Gelu(FloatVector x) {
  constexpr float p[] = {3.9894226e-1f, 3.653603e-2f,   4.548959e-3f,  1.7556376e-4f,
                         3.2468984e-6f, -2.1467152e-8f, 1.0582563e-10f};
  constexpr float q[] = {1.0f, 2.5824788e-1f, 2.9446565e-2f, 1.8650505e-3f, 6.3564163e-5f};
  const FloatVector z = Clamped(x, 5.65f), s = hn::Mul(z, z);
  const FloatVector half_erf = Quotient(hn::Mul(z, Polynomial(s, p)), Polynomial(s, q));
  return hn::Mul(x, hn::Add(half_erf, Constants(0.5f)));
}

// x * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
HWY_INLINE FloatVector GeluTanh(FloatVector x) {
  constexpr float kSlope = 0.79788456f;
  const FloatVector slope = hn::MulAdd(hn::Mul(x, x), Constants(kSlope * 0.044715f), Constants(kSlope));
  const FloatVector half = hn::Mul(x, Constants(0.5f));
  return hn::MulAdd(half, Tanh(hn::Mul(x, slope)), half);
}

template <Activation kActivation>
HWY_INLINE FloatVector Activated(FloatVector x) {
  if constexpr (kActivation == Activation::kRelu) return AtLeast(x, 0.0f);
  if constexpr (kActivation == Activation::kGelu) return Gelu(x);
  if constexpr (kActivation == Activation::kGeluTanh) return GeluTanh(x);
  if constexpr (kActivation == Activation::kTanh) return Tanh(x);
  return x;
}

}  // namespace
}  // namespace tfcompress
