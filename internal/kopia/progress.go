package kopia

import "sync"

// progress counts blobs to read and blobs read. Its methods do nothing without a report function.
type progress struct {
	report func(done, total int)

	mu               sync.Mutex
	finished, wanted int
}

// expect adds n to what is still to be read.
func (p *progress) expect(n int) {
	if p.report == nil || n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted += n
	p.report(p.finished, p.wanted)
}

// done says that one more was read. Reports never overlap.
func (p *progress) done() {
	if p.report == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished++
	p.report(p.finished, p.wanted)
}
