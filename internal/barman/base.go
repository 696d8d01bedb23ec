package barman

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// backupFolder is one folder below base/: a backup, or the beginning of one.
type backupFolder struct {
	id string
	// infoKey and keepKey are the keys of backup.info and of the keep mark; empty when not there.
	infoKey, keepKey string
	// parts are the data files: by tablespace ("data" is the data folder, else the OID) and number.
	parts map[string]map[int]part
	// listed is false when the listing broke off in this folder.
	listed bool
}

// part is one tar file of a backup.
type part struct {
	name      string
	suffix    string
	sizeBytes int64
}

// isBackupID tells backups from other folders. Source: barman/utils.py, is_backup_id.
func isBackupID(name string) bool {
	date, clock, found := strings.Cut(name, "T")
	return found && len(date) == 8 && len(clock) == 6 && strings.Trim(date+clock, "0123456789") == ""
}

// groupBackups sorts the listing of base/ by backup. An incomplete listing has broken off in its last
// folder.
func groupBackups(prefix string, objects []recovery.Object, complete bool) []*backupFolder {
	tar := regexp.MustCompile(`^(data|[0-9]{1,10})(?:_([0-9]{4,9}))?\.tar(?:\.([a-z0-9.]{1,16}))?$`)
	folders := map[string]*backupFolder{}
	for _, object := range objects {
		id, file, _ := strings.Cut(strings.TrimPrefix(object.Key, prefix), "/")
		if !isBackupID(id) {
			continue
		}
		folder := folders[id]
		if folder == nil {
			folder = &backupFolder{id: id, parts: map[string]map[int]part{}, listed: true}
			folders[id] = folder
		}
		switch file {
		case "backup.info":
			folder.infoKey = object.Key
		case "annotations/keep":
			folder.keepKey = object.Key
		default:
			if match := tar.FindStringSubmatch(file); match != nil {
				folder.add(match, object)
			}
		}
	}
	list := slices.SortedFunc(maps.Values(folders), func(a, b *backupFolder) int { return cmp.Compare(a.id, b.id) })
	if len(list) > 0 {
		list[len(list)-1].listed = complete
	}
	return list
}

func (f *backupFolder) add(match []string, object recovery.Object) {
	// The first file has no number.
	number := 0
	if match[2] != "" {
		number, _ = strconv.Atoi(match[2])
	}
	if f.parts[match[1]] == nil {
		f.parts[match[1]] = map[int]part{}
	}
	f.parts[match[1]][number] = part{name: match[0], suffix: match[3], sizeBytes: object.SizeBytes}
}

func (f *backupFolder) sizeBytes() int64 {
	var total int64
	for _, parts := range f.parts {
		for _, p := range parts {
			total += p.sizeBytes
		}
	}
	return total
}

// compression is the suffix of the data files; empty for plain tar.
func (f *backupFolder) compression() string {
	for _, p := range f.parts["data"] {
		return p.suffix
	}
	return ""
}

// missingFiles says which data files are not there. That the last part of a split file is missing
// cannot be seen: nothing tells how many there are.
// Source: barman/cloud.py, CloudUploadController and get_backup_files.
func (f *backupFolder) missingFiles(tablespaces []recovery.Tablespace) []string {
	reasons := f.missingParts("data", "")
	for _, space := range tablespaces {
		reasons = append(reasons, f.missingParts(strconv.FormatInt(space.OID, 10), " of tablespace "+strconv.Quote(space.Name))...)
	}
	return reasons
}

func (f *backupFolder) missingParts(base, of string) []string {
	parts := f.parts[base]
	if len(parts) == 0 {
		return []string{fmt.Sprintf("%s.tar%s is missing", base, of)}
	}
	var reasons []string
	numbers := slices.Sorted(maps.Keys(parts))
	highest := parts[numbers[len(numbers)-1]]
	expected := 0
	for _, number := range numbers {
		if number > expected {
			reasons = append(reasons, fmt.Sprintf("%s%s is missing, though %s is there", holeName(base, expected, number), of, highest.name))
		}
		if parts[number].sizeBytes == 0 {
			reasons = append(reasons, fmt.Sprintf("%s%s is empty (0 bytes)", parts[number].name, of))
		}
		expected = number + 1
	}
	return reasons
}

// holeName names the missing files from one number up to the next one present.
func holeName(base string, from, until int) string {
	name := func(number int) string {
		if number == 0 {
			return base + ".tar"
		}
		return fmt.Sprintf("%s_%04d.tar", base, number)
	}
	if until-from == 1 {
		return name(from)
	}
	return name(from) + " to " + name(until-1)
}
