package nfs

import (
	"encoding/binary"
	"errors"
	"time"
)

// errMalformed is a reply that does not decode: cut short, or a length beyond its end.
var errMalformed = errors.New("malformed reply")

// decoder reads XDR values one after the other and remembers the first failure, after which every
// value is zero. Nothing that it returns is longer than the reply itself, whatever lengths it names.
// Source: RFC 4506.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.rest) {
		d.err = errMalformed
		return nil
	}
	taken := d.rest[:n:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) uint32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) bool() bool { return d.uint32() != 0 }

// opaque reads variable-length bytes. They alias the reply.
func (d *decoder) opaque() []byte {
	length := d.uint32()
	if uint64(length) > uint64(len(d.rest)) {
		d.err = errMalformed
		return nil
	}
	value := d.take(int(length))
	d.take(int(-length & 3))
	return value
}

// attributes are the parts of fattr3 that a repository needs. Source: RFC 1813, 2.5.
type attributes struct {
	Type      uint32
	Mode      uint32
	UID, GID  uint32
	SizeBytes uint64
	Modified  time.Time
}

// attributes reads a fattr3.
func (d *decoder) attributes() *attributes {
	a := &attributes{Type: d.uint32(), Mode: d.uint32()}
	d.take(4) // nlink
	a.UID, a.GID, a.SizeBytes = d.uint32(), d.uint32(), d.uint64()
	d.take(8 + 8 + 8 + 8 + 8) // used, rdev, fsid, fileid, atime
	a.Modified = time.Unix(int64(d.uint32()), int64(d.uint32())).UTC()
	d.take(8) // ctime
	if d.err != nil {
		return nil
	}
	return a
}

// optionalAttributes reads a post_op_attr: nil when the server did not send any.
func (d *decoder) optionalAttributes() *attributes {
	if !d.bool() {
		return nil
	}
	return d.attributes()
}
