// Philox 4x64 with 10 rounds, and singles of its words as NumPy's Generator(Philox(key=...)).random(dtype=float32) makes
// them, bit for bit.     Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; NumPy
#pragma once

typedef unsigned long long Word;

// The upper half of the product.
__device__ __forceinline__ Word high(Word a, Word b) {
  const Word a_low = unsigned(a), a_high = a >> 32, b_low = unsigned(b), b_high = b >> 32;
  const Word middle = a_high * b_low + (a_low * b_low >> 32);
  return a_high * b_high + (middle >> 32) + ((a_low * b_high + unsigned(middle)) >> 32);
}

struct Block {
  Word words[4];
};

// The block of random words that stands at `counter` in the sequence of `key`.
__device__ __forceinline__ Block philox(Word counter, Word key) {
  Word a = counter, b = 0, c = 0, d = 0, first_key = key, second_key = 0;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const Word product_a = a * 0xD2E7470EE14C6C93ull, product_c = c * 0xCA5A826395121157ull;
    const Word next_a = high(c, 0xCA5A826395121157ull) ^ b ^ first_key;
    const Word next_c = high(a, 0xD2E7470EE14C6C93ull) ^ d ^ second_key;
    a = next_a, b = product_c, c = next_c, d = product_a;
    first_key += 0x9E3779B97F4A7C15ull;
    second_key += 0xBB67AE8584CAA73Bull;
  }
  return {{a, b, c, d}};
}

// u[i], uniform in [0, 1), for i = 8 * group + j: the upper 24 bits of a half of a word, of which the low one comes first.
__device__ __forceinline__ float uniform(const Block& block, int j) {
  return float(unsigned(block.words[j / 2] >> (j % 2 * 32)) >> 8) * (1.f / (1 << 24));
}
