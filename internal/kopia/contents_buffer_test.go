package kopia

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// TestBufferTakesWhatItIsGiven: whatever room it has, whatever the pieces are.
func TestBufferTakesWhatItIsGiven(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 500)
	readers := map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "in halves": iotest.HalfReader,
		"with its end": iotest.DataErrReader,
	}
	for name, wrap := range readers {
		for _, room := range []int{0, 1, 4999, 5000, 5001, 20_000} {
			b := buffer{content: make([]byte, 0, room)}
			n, err := b.ReadFrom(wrap(bytes.NewReader(content)))
			require.NoError(t, err, name)
			require.EqualValues(t, len(content), n, name)
			require.Equal(t, content, b.content, "%s, room %d", name, room)
		}
	}
	exact := buffer{content: make([]byte, 0, len(content))}
	_, err := exact.ReadFrom(bytes.NewReader(content))
	require.NoError(t, err)
	require.Equal(t, len(content), cap(exact.content), "it does not grow for nothing")
}

func TestBufferKeepsTheErrorOfItsReader(t *testing.T) {
	gone := errors.New("gone")
	b := buffer{content: []byte("before")}

	n, err := b.ReadFrom(io.MultiReader(bytes.NewReader([]byte(" and after")), iotest.ErrReader(gone)))

	require.ErrorIs(t, err, gone)
	require.EqualValues(t, 10, n)
	require.Equal(t, "before and after", string(b.content))
}
