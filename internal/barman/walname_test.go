package barman

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestParseWALName(t *testing.T) {
	for text, want := range map[string]WALName{
		"000000010000000A000000FF":                    {Segment, 1, 10, 255, 0, ""},
		"000000010000000A000000FF.gz":                 {Segment, 1, 10, 255, 0, "gz"},
		"000000010000000A000000FF.lz4":                {Segment, 1, 10, 255, 0, "lz4"},
		"000000010000000A000000FF.brandnew":           {Segment, 1, 10, 255, 0, "brandnew"},
		"000000010000000A000000FF.gz.gpg":             {Segment, 1, 10, 255, 0, "gz.gpg"},
		"0000000200000000000000FE.partial":            {Partial, 2, 0, 254, 0, ""},
		"0000000200000000000000FE.partial.zst":        {Partial, 2, 0, 254, 0, "zst"},
		"000000010000000000000002.00000028.backup":    {BackupLabel, 1, 0, 2, 0x28, ""},
		"000000010000000000000002.00000028.backup.gz": {BackupLabel, 1, 0, 2, 0x28, "gz"},
		"0000000A.history":                            {History, 10, 0, 0, 0, ""},
		"0000000A.history.bz2":                        {History, 10, 0, 0, 0, "bz2"},
		"00000001FFFFFFFF00000FFF":                    {Segment, 1, 1<<32 - 1, 4095, 0, ""},
	} {
		got, ok := ParseWALName(text)
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", ".", "gz", "0000000A", "0000000A.gz", "0000000A.historyx", "0000000A.history.", "00000000.history",
		"00000001000000000000000", "0000000100000000000000001", "00000001000000000000000g", "00000001000000000000000a",
		"000000000000000000000001", "000000010000000000001000", "000000010000000000000001.", "000000010000000000000001..gz",
		"000000010000000000000001.tmp", "000000010000000000000001.GZ", "000000010000000000000001.0028.backup",
		"000000010000000000000001.partial.tmp", "+00000010000000000000001", "backup.info",
	} {
		_, ok := ParseWALName(text)
		require.False(t, ok, text)
	}
}

func TestSegmentArithmetic(t *testing.T) {
	for size := leastSegmentSize; size <= mostSegmentSize; size *= 2 {
		require.True(t, size.Valid())
		perLog := uint64(4<<30) / uint64(size)
		last := WALName{Kind: Segment, Timeline: 7, Log: 3, Segment: uint32(perLog - 1)}
		number, ok := size.Number(last)
		require.True(t, ok)
		require.Equal(t, last.String(), size.Name(7, number))
		require.Equal(t, WALName{Kind: Segment, Timeline: 7, Log: 4}.String(), size.Name(7, number+1), "the next log begins")
		_, ok = size.Number(WALName{Kind: Segment, Timeline: 7, Log: 3, Segment: uint32(perLog)})
		require.False(t, ok)
		require.Equal(t, number, size.At(LSN(4)<<32-1))
		require.Equal(t, number+1, size.At(LSN(4)<<32), "a fork at a segment's first byte begins in that segment")
	}
	for _, size := range []SegmentSize{0, -1, 1 << 19, 1 << 31, 3 << 20} {
		require.False(t, size.Valid())
		_, ok := size.Number(WALName{Kind: Segment, Timeline: 1})
		require.False(t, ok)
	}
}

func TestParseHistory(t *testing.T) {
	plain, err := decompress(sample(t, "00000002.history.gz"), maxHistoryBytes)
	require.NoError(t, err)
	forks, err := ParseHistory(plain)
	require.NoError(t, err)
	require.Equal(t, []Fork{{1, 0x150000A0}}, forks)
	require.Equal(t, "0/150000A0", forks[0].At.String())

	want := []Fork{{1, 0x150000A0}, {2, 0x2A000000}, {3, 0x1_5D0000D8}}
	whole := sample(t, "00000004.history")
	for _, suffix := range []string{"", ".bz2", ".lz4", ".zst"} {
		plain, err := decompress(sample(t, "00000004.history"+suffix), maxHistoryBytes)
		require.NoError(t, err, suffix)
		require.Equal(t, string(whole), string(plain), suffix)
		forks, err := ParseHistory(plain)
		require.NoError(t, err)
		require.Equal(t, want, forks)
	}
	var snappy bytes.Buffer
	writer := s2.NewWriter(&snappy, s2.WriterSnappyCompat())
	_, err = writer.Write(whole)
	require.NoError(t, errors.Join(err, writer.Close()))
	plain, err = decompress(snappy.Bytes(), maxHistoryBytes)
	require.NoError(t, err)
	require.Equal(t, string(whole), string(plain))
	_, err = decompress(sample(t, "00000004.history.xz"), maxHistoryBytes)
	require.ErrorIs(t, err, recovery.ErrUnsupported)

	for _, text := range []string{"", "# nothing\n", "1\n", "x\t0/1\tr\n", "0\t0/1\n", "1\t01\n", "1\t0/G\n", "2\t0/5\n1\t0/9\n", "1\t0/5\n1\t0/9\n", "\xff\xfe", "1\t0/5\x00\n"} {
		_, err := ParseHistory([]byte(text))
		require.ErrorIs(t, err, recovery.ErrDamaged, "%q", text)
	}
}

func TestDecompressIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	writer := s2.NewWriter(&bomb, s2.WriterSnappyCompat())
	_, err := writer.Write(make([]byte, 64<<20))
	require.NoError(t, errors.Join(err, writer.Close()))
	plain, err := decompress(bomb.Bytes(), maxHistoryBytes)
	require.NoError(t, err)
	require.Len(t, plain, maxHistoryBytes+1)
	_, err = ParseHistory(plain)
	require.ErrorContains(t, err, "larger")
	for _, file := range []string{"00000002.history.gz", "00000004.history.bz2", "00000004.history.lz4", "00000004.history.zst"} {
		body := sample(t, file)
		_, err := decompress(body[:len(body)-9], maxHistoryBytes)
		require.ErrorIs(t, err, recovery.ErrDamaged, file)
	}
}

func FuzzParseWALName(f *testing.F) {
	for _, text := range []string{"000000010000000A000000FF.gz", "0000000200000000000000FE.partial.zst", "000000010000000000000002.00000028.backup.gz", "0000000A.history.bz2", "000000010000000000000001.tmp"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, ok := ParseWALName(text)
		if !ok {
			return
		}
		whole := name.String()
		if name.Compression != "" {
			whole += "." + name.Compression
		}
		require.Equal(t, text, whole, "nothing of a name is lost")
		require.NotZero(t, name.Timeline)
		for size := leastSegmentSize; size <= mostSegmentSize; size *= 2 {
			if number, ok := size.Number(name); ok && name.Kind == Segment {
				require.Equal(t, name.String(), size.Name(name.Timeline, number))
			}
		}
	})
}

func FuzzParseHistory(f *testing.F) {
	for _, file := range []string{"00000002.history.gz", "00000004.history", "00000004.history.bz2", "00000004.history.lz4", "00000004.history.zst", "00000004.history.xz"} {
		f.Add(sample(f, file))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		plain, err := decompress(body, maxHistoryBytes)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(plain), max(maxHistoryBytes+1, len(body)))
		forks, err := ParseHistory(plain)
		if err != nil {
			require.ErrorIs(t, err, recovery.ErrDamaged)
			return
		}
		require.NotEmpty(t, forks)
		a := newArchive(&walFiles{}, defaultSegmentSize, map[uint32][]Fork{forks[len(forks)-1].Parent + 1: forks})
		require.NotEmpty(t, a.way(forks[len(forks)-1].Parent+1))
	})
}
