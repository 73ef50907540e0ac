package log

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// keyHash is what a key is known by in an offsetMap: the values of one polynomial at two points.
type keyHash [2]uint64

// keyHasher makes hashes of keys. The bytes of a key, seven at a time behind its length, are the coefficients of a
// polynomial over the integers modulo the prime 2^61-1, and its values at two secret random points are the hash. Two keys
// of up to n such words are different polynomials of degree n, which agree at no more than n points: they have one hash
// with a probability of (n/2^61)^2, that is 2^-116 for keys of 40 bytes, whoever chose them, as long as the points are
// not told. (Kafka's MD5 lets anybody choose keys that are one. AES under a random key, chained over blocks, is as safe
// and takes three times as long; 64 bits of any hash would lose a record of a large topic each few years.)
type keyHasher struct{ points [2]uint64 }

// mersenne61 is the prime.
const mersenne61 = 1<<61 - 1

func newKeyHasher() keyHasher {
	var secret [16]byte
	rand.Read(secret[:])
	return keyHasher{[2]uint64{binary.LittleEndian.Uint64(secret[:8]) & mersenne61, binary.LittleEndian.Uint64(secret[8:]) & mersenne61}}
}

// hash returns what stands for the key.
func (h *keyHasher) hash(key []byte) keyHash {
	const word = 7 // bytes of a coefficient
	x, y := h.points[0], h.points[1]
	a := uint64(len(key)) + 1 // above 0, so that the degree tells the number of words
	b := a
	for ; len(key) > word; key = key[word:] {
		w := binary.LittleEndian.Uint64(key) & (1<<(8*word) - 1)
		a, b = mulMersenne(a, x)+w, mulMersenne(b, y)+w
	}
	var w uint64
	for i, c := range key {
		w |= uint64(c) << (8 * i)
	}
	a, b = mulMersenne(a, x)+w, mulMersenne(b, y)+w
	return keyHash{a, b}
}

// mulMersenne returns the product modulo 2^61-1, which may be two more than the least residue or less: equal keys have equal
// hashes all the same. Factors are below 2^62.
func mulMersenne(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	sum := lo&mersenne61 + (hi<<3 | lo>>61)
	return sum&mersenne61 + sum>>61
}

// slot returns where the search for the key begins in a table of n slots. The bits are mixed first: keys that count up make
// arithmetic progressions, which might lie close together.
func (k keyHash) slot(n int) int {
	x := k[0] * 0x9e3779b97f4a7c15
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	at, _ := bits.Mul64(x, uint64(n))
	return int(at)
}
