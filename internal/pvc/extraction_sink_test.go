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
	tests := map[string][]byte{
		"nothing":                nil,
		"less than a hole":       make([]byte, hole-1),
		"one hole":               empty,
		"data":                   bytes.Repeat(data, 5),
		"a hole in the middle":   slicesOf(data, data, empty, empty, data),
		"holes at both ends":     slicesOf(empty, data, data, empty),
		"zeros behind a hole":    slicesOf(empty, make([]byte, 100)),
		"zeros across two parts": slicesOf(data, make([]byte, hole/2), data, make([]byte, hole/2)),
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			const offset = 12_345
			path := filepath.Join(t.TempDir(), "sparse")
			file, err := os.Create(path)
			require.NoError(t, err)
			require.NoError(t, writeSparse(file, offset, content))
			require.NoError(t, file.Truncate(offset+int64(len(content))))
			require.NoError(t, file.Close())
			read, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, content, append([]byte(nil), read[offset:]...))
			require.True(t, zeros(read[:offset]))
		})
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
