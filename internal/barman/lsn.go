package barman

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// LSN is a position in WAL, in bytes.
type LSN uint64

// String gives PostgreSQL's notation, 0/150000A0.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint64(l)&0xFFFFFFFF) }

// ParseLSN reads PostgreSQL's notation. What is none is ErrDamaged.
func ParseLSN(text string) (LSN, error) {
	high, low, found := strings.Cut(text, "/")
	h, err1 := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	if !found || err1 != nil || err2 != nil {
		return 0, errors.Join(recovery.ErrDamaged, fmt.Errorf("%q is no position in WAL, as 0/150000A0 is", shorten(text)))
	}
	return LSN(h<<32 | l), nil
}

// StartOf is the position of a segment's first byte. A name that does not exist with this size is
// ErrDamaged.
func (s SegmentSize) StartOf(segment string) (LSN, error) {
	name, ok := ParseWALName(segment)
	number, known := s.Number(name)
	if !ok || !known || name.Kind != Segment {
		return 0, errors.Join(recovery.ErrDamaged, fmt.Errorf("%q is no WAL segment of %d bytes", shorten(segment), s))
	}
	return LSN(number * uint64(s)), nil
}

// EndOf is the position right behind a segment: the first byte of the next one.
func (s SegmentSize) EndOf(segment string) (LSN, error) {
	start, err := s.StartOf(segment)
	if err != nil {
		return 0, err
	}
	return start + LSN(s), nil
}
