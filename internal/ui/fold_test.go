package ui

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFold(t *testing.T) {
	const text = "what was written since then (3h10m)"
	require.Equal(t, text, Fold(text, 4, 0), "no terminal")
	require.Equal(t, text, Fold(text, 4, 18), "too narrow for any words")
	require.Equal(t, text, Fold(text, 4, 39))
	require.Equal(t, "what was written since then\n    (3h10m)", Fold(text, 4, 38))
	require.Equal(t, "what was written\n    since then (3h10m)", Fold(text, 4, 22))
	require.Equal(t, "Größe\n  0123456789012345678901234567890123456789\n  ☃ ☃", Fold("Größe 0123456789012345678901234567890123456789 ☃ ☃", 2, 20), "a long word stays whole")
	require.Empty(t, Fold("", 2, 20))
}
