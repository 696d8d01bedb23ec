package barman

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// The layout of WAL that all PostgreSQL versions since 9.3 share.
// Source: PostgreSQL xlog_internal.h (XLogPageHeaderData), xlogrecord.h (XLogRecord), xact.h.
const (
	walPageHeader       = 24
	walLongHeader       = 40
	walRecordHeader     = 24
	walMagicHigh        = 0xD1
	walFirstContinues   = 0x0001
	walLongPage         = 0x0002
	walManagerXLOG      = 0
	walManagerXact      = 1
	walSwitch           = 0x40
	walBlockDataShort   = 255
	walBlockDataLong    = 254
	walBlockOrigin      = 253
	walBlockTopLevelXID = 252
)

// walSegment is one whole segment as PostgreSQL wrote it.
type walSegment struct {
	body  []byte
	start LSN
	page  int
	magic uint16
}

// segmentRecords is what the records of one segment show.
type segmentRecords struct {
	// end is where the last record ends that is whole, also one that began in an earlier segment; zero
	// when no record ends in this segment.
	end LSN
	// lastCommit is the latest time of a commit or abort; zero when there is none.
	lastCommit time.Time
}

// readSegment walks over the records of a segment, as PostgreSQL's reader does, up to the first place
// where no whole record follows. A record that goes on in the next segment is not whole here.
func readSegment(body []byte, size SegmentSize, start LSN) (segmentRecords, error) {
	s, err := openSegment(body, size, start)
	if err != nil {
		return segmentRecords{}, errors.Join(recovery.ErrDamaged, err)
	}
	var found segmentRecords
	at := walLongHeader
	if binary.LittleEndian.Uint16(body[2:])&walFirstContinues != 0 {
		rest := int(binary.LittleEndian.Uint32(body[16:]))
		_, next, whole := s.take(at, rest)
		if !whole {
			return found, nil
		}
		at = next
		found.end = start + LSN(at)
	}
	for {
		record, next, ok := s.record(at)
		if !ok {
			return found, nil
		}
		if at := commitTime(record); at.After(found.lastCommit) {
			found.lastCommit = at
		}
		if record[17] == walManagerXLOG && record[16]&0xF0 == walSwitch {
			// The rest was left unused on purpose (pg_switch_wal, archive_timeout).
			found.end = start + LSN(size)
			return found, nil
		}
		at, found.end = next, start+LSN(next)
	}
}

func openSegment(body []byte, size SegmentSize, start LSN) (*walSegment, error) {
	if int64(len(body)) != int64(size) {
		return nil, fmt.Errorf("it has %d bytes, not the %d of a WAL segment", len(body), size)
	}
	s := &walSegment{body: body, start: start, magic: binary.LittleEndian.Uint16(body)}
	info := binary.LittleEndian.Uint16(body[2:])
	address := LSN(binary.LittleEndian.Uint64(body[8:]))
	s.page = int(binary.LittleEndian.Uint32(body[36:]))
	switch {
	case s.magic>>8 != walMagicHigh || info&walLongPage == 0:
		return nil, errors.New("it does not begin as a WAL segment does")
	case address != start:
		return nil, fmt.Errorf("it is the segment at %s, not the one at %s that its name says", address, start)
	case s.page < 1<<10 || s.page > 1<<16 || s.page&(s.page-1) != 0:
		return nil, fmt.Errorf("%d is no size of a WAL page", s.page)
	}
	return s, nil
}

// record reads the record at an offset and gives where the next one begins; ok is false when no whole
// and valid one is there.
func (s *walSegment) record(at int) (record []byte, next int, ok bool) {
	if at%s.page == 0 {
		if at >= len(s.body) || !s.pageOK(at) {
			return nil, 0, false
		}
		at += walPageHeader
	}
	if at+4 > len(s.body) {
		return nil, 0, false
	}
	length := binary.LittleEndian.Uint32(s.body[at:])
	if length < walRecordHeader || int64(length) > int64(len(s.body)) {
		return nil, 0, false
	}
	record, next, ok = s.take(at, int(length))
	if !ok {
		return nil, 0, false
	}
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(record[walRecordHeader:], castagnoli), castagnoli, record[:walRecordHeader-4])
	return record, next, sum == binary.LittleEndian.Uint32(record[walRecordHeader-4:])
}

// take gives length bytes of a record from an offset on, without the headers of the pages that it
// crosses, and the offset behind it, aligned as records are.
func (s *walSegment) take(at, length int) (taken []byte, next int, whole bool) {
	taken = make([]byte, 0, min(length, len(s.body)))
	for {
		part := min(length-len(taken), (at/s.page+1)*s.page-at)
		taken = append(taken, s.body[at:at+part]...)
		at += part
		if len(taken) == length {
			return taken, min((at+7)&^7, len(s.body)), true
		}
		if at >= len(s.body) || !s.pageOK(at) {
			return nil, 0, false
		}
		at += walPageHeader
	}
}

// pageOK reports whether a page of this segment begins there. Segments are reused: behind the end of
// what was written stand pages of an older one.
func (s *walSegment) pageOK(at int) bool {
	return binary.LittleEndian.Uint16(s.body[at:]) == s.magic && LSN(binary.LittleEndian.Uint64(s.body[at+8:])) == s.start+LSN(at)
}

// commitTime is the time of a commit or abort, prepared ones too; zero for any other record.
// Source: PostgreSQL xlogrecovery.c, getRecordTimestamp and recoveryStopsBefore.
func commitTime(record []byte) time.Time {
	if record[17] != walManagerXact {
		return time.Time{}
	}
	switch record[16] & 0x70 {
	case 0x00, 0x20, 0x30, 0x40:
	default:
		return time.Time{}
	}
	data := mainData(record[walRecordHeader:])
	if len(data) < 8 {
		return time.Time{}
	}
	micros := int64(binary.LittleEndian.Uint64(data))
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(micros) * time.Microsecond)
}

// mainData is what a record without pages carries; nil when it is built differently.
func mainData(rest []byte) []byte {
	for len(rest) > 1 {
		switch rest[0] {
		case walBlockDataShort:
			return rest[2:]
		case walBlockDataLong:
			return rest[min(5, len(rest)):]
		case walBlockOrigin:
			rest = rest[min(3, len(rest)):]
		case walBlockTopLevelXID:
			rest = rest[min(5, len(rest)):]
		default:
			return nil
		}
	}
	return nil
}
