package nfs

import (
	"context"
	"fmt"

	"github.com/kopia/kopia/repo/blob"
	"golang.org/x/sync/errgroup"
)

// readRange reads length bytes of a file from offset on, in parallel parts; a file that ends before
// that is blob.ErrInvalidRange.
func (t *tree) readRange(ctx context.Context, handle []byte, offset, length int64) ([][]byte, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * len(t.slots))
	var parts []*[]byte
	for done := int64(0); done < length || len(parts) == 0; done += int64(t.readBytes) {
		part := new([]byte)
		parts = append(parts, part)
		group.Go(func() error {
			var err error
			*part, err = t.readPart(ctx, handle, offset+done, min(int64(t.readBytes), length-done))
			return err
		})
		if ctx.Err() != nil {
			break // one part failed
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	data := make([][]byte, 0, len(parts))
	for _, part := range parts {
		data = append(data, *part)
	}
	return data, nil
}

// readPart reads exactly length bytes, at most readBytes, with as many calls as the server makes of it.
func (t *tree) readPart(ctx context.Context, handle []byte, offset, length int64) ([]byte, error) {
	var data []byte
	for {
		reply, err := t.read(ctx, handle, offset+int64(len(data)), uint32(length-int64(len(data))))
		if err != nil {
			return nil, err
		}
		if data == nil {
			data = reply.data
		} else {
			data = append(data, reply.data...)
		}
		switch {
		case int64(len(data)) == length:
			return data, nil
		case reply.eof || len(reply.data) == 0:
			return nil, fmt.Errorf("%d bytes at %d, the file ends after %d of them: %w", length, offset, len(data), blob.ErrInvalidRange)
		}
	}
}

// readWhole reads a file of unknown size: the first answer tells how much there is.
func (t *tree) readWhole(ctx context.Context, handle []byte) ([][]byte, error) {
	first, err := t.read(ctx, handle, 0, t.readBytes)
	if err != nil {
		return nil, err
	}
	data, begin := [][]byte{first.data}, int64(len(first.data))
	if first.eof {
		return data, nil
	}
	if first.size < 0 {
		return t.readOn(ctx, handle, data, begin)
	}
	if first.size <= begin {
		return data, nil
	}
	rest, err := t.readRange(ctx, handle, begin, first.size-begin)
	return append(data, rest...), err
}

// readOn reads to the end, part by part, from a server that does not tell the size.
func (t *tree) readOn(ctx context.Context, handle []byte, data [][]byte, offset int64) ([][]byte, error) {
	for {
		next, err := t.read(ctx, handle, offset, t.readBytes)
		if err != nil {
			return nil, err
		}
		data, offset = append(data, next.data), offset+int64(len(next.data))
		if next.eof {
			return data, nil
		}
		if len(next.data) == 0 {
			return nil, fmt.Errorf("the file does not end: %w", errMalformed)
		}
	}
}
