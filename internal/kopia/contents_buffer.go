package kopia

import (
	"errors"
	"io"
)

// ReadFrom implements io.ReaderFrom: Kopia's storages hand what they read over in pieces of 64 KB unless the
// buffer takes it from the connection itself, into the room that it has.
// Source: kopia internal/iocopy/copy.go.
func (b *buffer) ReadFrom(r io.Reader) (int64, error) {
	begin := len(b.content)
	for {
		n, err := b.readSome(r)
		b.content = b.content[:n]
		if errors.Is(err, io.EOF) {
			return int64(n - begin), nil
		}
		if err != nil {
			return int64(n - begin), err
		}
	}
}

// readSome reads once and gives the length of what is there then. A full buffer grows only when there is
// more to come: mostly it was made for just what is read.
func (b *buffer) readSome(r io.Reader) (int, error) {
	if free := b.content[len(b.content):cap(b.content)]; len(free) > 0 {
		n, err := r.Read(free)
		return len(b.content) + n, err
	}
	var more [512]byte
	n, err := r.Read(more[:])
	b.content = append(b.content, more[:n]...)
	return len(b.content), err
}
