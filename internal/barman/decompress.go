package barman

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/drctl/drctl/internal/recovery"
)

// What the decoders may take, in bytes: the largest window that zstd writes by default, a block of
// Snappy's framing (with room to spare), and the largest block of LZ4's.
const (
	maxWindowBytes = 8 << 20
	maxSnappyBlock = 1 << 20
	maxLZ4Block    = 4 << 20
)

// decompress gives the contents of an archived file. The format is told by its first bytes: a suffix
// may lie, or be one that we do not know. The result is bounded: it has at most one byte more than most.
// Source: barman/clients/cloud_compression.py; Barman 3.12 adds lz4, zstd and xz.
func decompress(body []byte, most int) ([]byte, error) {
	reader, err := decoder(body, most)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(reader, int64(most)+1))
	if err != nil {
		return nil, errors.Join(recovery.ErrDamaged, fmt.Errorf("decompress: %w", err))
	}
	return plain, nil
}

func decoder(body []byte, most int) (io.Reader, error) {
	source := bytes.NewReader(body)
	starts := func(magic string) bool { return bytes.HasPrefix(body, []byte(magic)) }
	switch {
	case starts("\x1f\x8b"):
		return orDamaged(gzip.NewReader(source))
	case starts("BZh"):
		return bzip2.NewReader(source), nil
	case starts("\x28\xb5\x2f\xfd"):
		return orDamaged(zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindowBytes)))
	case starts("\xff\x06\x00\x00sNaPpY"):
		return s2.NewReader(source, s2.ReaderMaxBlockSize(maxSnappyBlock)), nil
	case starts("\x04\x22\x4d\x18"):
		return orDamaged(lz4Frame(body, most))
	case starts("\xfd7zXZ\x00"):
		return nil, errors.Join(recovery.ErrUnsupported, errors.New("it is compressed with xz, which drctl does not read"))
	}
	return source, nil
}

func orDamaged[R io.Reader](reader R, err error) (io.Reader, error) {
	if err != nil {
		return nil, errors.Join(recovery.ErrDamaged, fmt.Errorf("decompress: %w", err))
	}
	return reader, nil
}

// lz4Frame decodes an LZ4 frame. Its blocks are turned into S2's, which has the same model.
// Source: LZ4 Frame Format Description 1.6.
func lz4Frame(body []byte, most int) (io.Reader, error) {
	if len(body) < 7 {
		return nil, io.ErrUnexpectedEOF
	}
	flags := body[4]
	blockChecksums, contentSize, dictionary := flags&0x10 != 0, flags&0x08 != 0, flags&0x01 != 0
	header := 7
	if contentSize {
		header += 8
	}
	if dictionary || flags>>6 != 1 || len(body) < header {
		return nil, errors.New("unknown kind of lz4 frame")
	}
	var plain []byte
	for rest := body[header:]; ; {
		if len(rest) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		word := binary.LittleEndian.Uint32(rest)
		rest = rest[4:]
		if word == 0 {
			return bytes.NewReader(plain), nil
		}
		size := int(word &^ (1 << 31))
		end := size
		if blockChecksums {
			end += 4
		}
		if len(rest) < end || len(plain) > most {
			return nil, io.ErrUnexpectedEOF
		}
		block, err := lz4Block(rest[:size], word>>31 == 1)
		if err != nil {
			return nil, err
		}
		plain, rest = append(plain, block...), rest[end:]
	}
}

func lz4Block(block []byte, stored bool) ([]byte, error) {
	if stored {
		return block, nil
	}
	var converter s2.LZ4Converter
	converted, size, err := converter.ConvertBlock(make([]byte, 0, 2*len(block)+1024), block)
	if err != nil {
		return nil, err
	}
	if size > maxLZ4Block {
		return nil, errors.New("a block is larger than lz4 allows")
	}
	return s2.Decode(nil, append(binary.AppendUvarint(nil, uint64(size)), converted...))
}
