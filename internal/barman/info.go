package barman

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/drctl/drctl/internal/recovery"
)

// maxInfoBytes bounds a backup.info. Real ones have 1–2 KB, plus about 100 bytes a tablespace.
const maxInfoBytes = 1 << 20

// statusDone is the only status of a backup that can be restored.
const statusDone = "DONE"

// Info is what recovery needs of a backup.info. Fields that the file gives as None are zero.
// Source: barman/infofile.py, class BackupInfo.
type Info struct {
	// Status is EMPTY, STARTED, WAITING_FOR_WALS, SYNCING, DONE or FAILED.
	Status string
	// Name is backup_name, which the operator chose.
	Name               string
	BeginTime, EndTime time.Time
	// BeginWAL and EndWAL are the first and last segment without which the backup is inconsistent.
	BeginWAL, EndWAL string
	Timeline         int64
	SystemID         string
	// Version is PostgreSQL's server_version_num: 150018.
	Version int
	// SegmentSize is the cluster's WAL segment size; 16 MiB where the file does not say.
	SegmentSize SegmentSize
	Tablespaces []recovery.Tablespace
	// Error is Barman's reason for a FAILED backup.
	Error string
	// Snapshots is true when the data is in disk snapshots of a cloud, not in the store.
	Snapshots bool
}

// ParseInfo reads a backup.info: key=value lines, written by Python. Unknown keys are ignored. What is
// empty, binary, truncated, too large or contradicts itself is a Problem of kind ErrDamaged.
func ParseInfo(body []byte) (Info, error) {
	info, err := parseInfo(body)
	if err != nil {
		return Info{}, &recovery.Problem{
			What: "read backup.info", Why: err.Error(),
			Next: "choose another backup, or look at the file: a hand-repaired copy may do", Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return info, nil
}

func parseInfo(body []byte) (Info, error) {
	switch {
	case len(body) > maxInfoBytes:
		return Info{}, fmt.Errorf("it is larger than %d bytes, which no backup.info is", maxInfoBytes)
	case len(bytes.TrimSpace(body)) == 0:
		return Info{}, errors.New("it is empty")
	case !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0:
		return Info{}, errors.New("it is not text")
	}
	info := Info{SegmentSize: defaultSegmentSize}
	seen := map[string]bool{}
	number := 0
	for line := range strings.Lines(string(body)) {
		number++
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, value, found := strings.Cut(text, "=")
		if !found {
			return Info{}, fmt.Errorf("line %d is not KEY=VALUE: the file is truncated or something else", number)
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		seen[key] = true
		if err := info.set(key, value); err != nil {
			return Info{}, fmt.Errorf("line %d: %s: %w", number, key, err)
		}
	}
	return info, info.check(seen, body[len(body)-1] == '\n')
}

// set takes over one line. Python's None leaves the field as it is.
func (i *Info) set(key, value string) (err error) {
	if value == "None" {
		return nil
	}
	switch key {
	case "status":
		i.Status, err = parseStatus(value)
	case "backup_name":
		i.Name = value
	case "begin_time":
		i.BeginTime, err = parseTime(value)
	case "end_time":
		i.EndTime, err = parseTime(value)
	case "begin_wal":
		i.BeginWAL, err = parseSegmentName(value)
	case "end_wal":
		i.EndWAL, err = parseSegmentName(value)
	case "timeline":
		i.Timeline, err = parseNumber(value, 1, 1<<32-1)
	case "systemid":
		i.SystemID, err = parseSystemID(value)
	case "version":
		var version int64
		version, err = parseNumber(value, 1, 9_999_999)
		i.Version = int(version)
	case "xlog_segment_size":
		var size int64
		size, err = parseNumber(value, 1, 1<<40)
		if i.SegmentSize = SegmentSize(size); err == nil && !i.SegmentSize.Valid() {
			err = fmt.Errorf("%d is no WAL segment size (a power of two from 1 MiB to 1 GiB)", size)
		}
	case "tablespaces":
		i.Tablespaces, err = parseTablespaces(value)
	case "error":
		i.Error = shorten(value)
	case "snapshots_info":
		i.Snapshots = true
	}
	return err
}

// check tells a truncated file. Barman writes its keys in alphabetical order, xlog_segment_size last
// and version before it, each line with its end.
func (i *Info) check(seen map[string]bool, ended bool) error {
	if !ended && !seen["xlog_segment_size"] {
		return errors.New("it is truncated: its last line has no end")
	}
	if !seen["status"] {
		return errors.New("it is truncated: it has no status")
	}
	if i.Status == "" {
		i.Status = "EMPTY"
	}
	if i.Status != statusDone {
		return nil
	}
	for _, needed := range []struct {
		key     string
		missing bool
	}{
		{"begin_wal", i.BeginWAL == ""},
		{"end_wal", i.EndWAL == ""},
		{"begin_time", i.BeginTime.IsZero()},
		{"end_time", i.EndTime.IsZero()},
		{"tablespaces", !seen["tablespaces"]},
		{"timeline", i.Timeline == 0},
		{"version", i.Version == 0},
	} {
		if needed.missing {
			return fmt.Errorf("it is truncated: status is DONE and there is no %s", needed.key)
		}
	}
	_, _, _, err := i.segments()
	return err
}

// segments gives timeline, first and last number of the WAL that the backup needs.
func (i *Info) segments() (timeline uint32, first, last uint64, err error) {
	begin, _ := ParseWALName(i.BeginWAL)
	end, _ := ParseWALName(i.EndWAL)
	first, known := i.SegmentSize.Number(begin)
	last, alsoKnown := i.SegmentSize.Number(end)
	if !known || !alsoKnown {
		return 0, 0, 0, fmt.Errorf("begin_wal %s or end_wal %s does not exist with segments of %d bytes", i.BeginWAL, i.EndWAL, i.SegmentSize)
	}
	if begin.Timeline != end.Timeline || last < first {
		return 0, 0, 0, fmt.Errorf("begin_wal %s and end_wal %s contradict each other", i.BeginWAL, i.EndWAL)
	}
	return begin.Timeline, first, last, nil
}

func parseStatus(value string) (string, error) {
	if len(value) > 32 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return "", fmt.Errorf("%q is no status", shorten(value))
	}
	return value, nil
}

// parseTime reads Python's str(datetime). A time without a zone is taken as UTC: barman-cloud always
// writes one.
func parseTime(value string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04:05.999999999Z07:00", time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "Mon Jan _2 15:04:05 2006"} {
		if at, err := time.Parse(layout, value); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", shorten(value))
}

func parseSegmentName(value string) (string, error) {
	name, ok := ParseWALName(value)
	if !ok || name.Kind != Segment || name.Compression != "" {
		return "", fmt.Errorf("%q is no WAL segment", shorten(value))
	}
	return value, nil
}

func parseNumber(value string, least, most int64) (int64, error) {
	number, err := strconv.ParseInt(value, 10, 64)
	if err != nil || number < least || number > most {
		return 0, fmt.Errorf("%q is no number from %d to %d", shorten(value), least, most)
	}
	return number, nil
}

func parseSystemID(value string) (string, error) {
	if _, err := strconv.ParseUint(value, 10, 64); err != nil {
		return "", fmt.Errorf("%q is no system identifier", shorten(value))
	}
	return value, nil
}

// shorten keeps foreign text in messages to a line.
func shorten(text string) string {
	const most = 160
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
