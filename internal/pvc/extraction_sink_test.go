package pvc

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWriteSparse: whatever zeros a content has and wherever it begins, the file reads as the content.
func TestWriteSparse(t *testing.T) {
	data, empty := bytes.Repeat([]byte{7}, hole), make([]byte, hole)
	tests := map[string]struct {
		content []byte
		writes  int
	}{
		"nothing":                {nil, 0},
		"less than a hole":       {make([]byte, hole-1), 1},
		"one hole":               {empty, 0},
		"data":                   {bytes.Repeat(data, 5), 1},
		"a hole in the middle":   {slicesOf(data, data, empty, empty, data), 2},
		"holes at both ends":     {slicesOf(empty, data, data, empty), 1},
		"zeros behind a hole":    {slicesOf(empty, make([]byte, 100)), 1},
		"zeros across two parts": {slicesOf(data, make([]byte, hole/2), data, make([]byte, hole/2)), 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			const offset = 12_345
			path := filepath.Join(t.TempDir(), "sparse")
			file, err := os.Create(path)
			require.NoError(t, err)
			require.NoError(t, writeSparse(file, offset, test.content))
			require.NoError(t, file.Truncate(offset+int64(len(test.content))))
			require.NoError(t, file.Close())
			read, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, test.content, append([]byte(nil), read[offset:]...))
			require.True(t, zeros(read[:offset]))

			writes := 0
			for left := test.content; len(left) > 0; {
				length, isHole := sparseRun(left)
				if !isHole {
					writes++
				}
				left = left[length:]
			}
			require.Equal(t, test.writes, writes)
		})
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
