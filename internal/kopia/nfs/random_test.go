package nfs

import "math/rand/v2"

// fillRandom fills b with bytes that no compressor makes smaller; the same ones in every run.
func fillRandom(b []byte) {
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(b)
}
