package kube

import (
	"bytes"
	"sync"
)

// boundedBuffer keeps maxOutputBytes and calls full when more comes. It takes the rest without an error,
// which client-go would print; and it may be read while a stream that was given up still writes to it.
type boundedBuffer struct {
	full func()

	mu      sync.Mutex
	buffer  bytes.Buffer
	tooMuch bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := maxOutputBytes - b.buffer.Len()
	b.buffer.Write(p[:min(room, len(p))])
	if len(p) > room && !b.tooMuch {
		b.tooMuch = true
		b.full()
	}
	return len(p), nil
}

func (b *boundedBuffer) overflowed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tooMuch
}

func (b *boundedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
