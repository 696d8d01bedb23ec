package barman

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/drctl/drctl/internal/recovery"
)

// maxKeepBytes bounds a keep mark: it holds one word.
const maxKeepBytes = 1 << 10

// manyFailures is how many failures of one kind are told one by one; more are told together.
const manyFailures = 3

// reading is what one server's part of the store gave, before anything is concluded from it.
type reading struct {
	name    string
	url     string
	folders []*backupFolder
	// infos, infoErrs and keeps are by backup ID.
	infos    map[string]Info
	infoErrs map[string]error
	keeps    map[string]string
	keepErrs map[string]error
	wal      *walFiles
	// forks are by timeline, from the .history files that could be read.
	forks       map[uint32][]Fork
	historyErrs map[uint32]error
	baseErr     error
	walErr      error

	lock sync.Mutex
}

// nothing reports that neither a backup nor a WAL file was seen.
func (r *reading) nothing() bool { return len(r.folders) == 0 && r.wal.empty() }

// readServer reads base/ and wals/ of one server at the same time.
func (d *destination) readServer(ctx context.Context, name string) *reading {
	r := &reading{
		name: name, url: strings.TrimSuffix(d.url(), "/") + "/" + name,
		infos: map[string]Info{}, infoErrs: map[string]error{}, keeps: map[string]string{}, keepErrs: map[string]error{},
		forks: map[uint32][]Fork{}, historyErrs: map[uint32]error{},
	}
	var both sync.WaitGroup
	both.Go(func() { d.readBackups(ctx, d.root+name+"/base/", r) })
	both.Go(func() { d.readWAL(ctx, d.root+name+"/wals/", r) })
	both.Wait()
	return r
}

func (d *destination) readBackups(ctx context.Context, prefix string, r *reading) {
	page, err := d.listAll(ctx, recovery.ObjectQuery{Prefix: prefix})
	r.baseErr = err
	r.folders = groupBackups(prefix, page.Objects, err == nil)
	var all sync.WaitGroup
	for _, folder := range r.folders {
		if folder.infoKey != "" {
			all.Go(func() {
				info, err := d.readInfo(ctx, folder.infoKey)
				note(r, folder.id, info, err, r.infos, r.infoErrs)
			})
		}
		if folder.keepKey != "" {
			all.Go(func() {
				body, err := d.get(ctx, folder.keepKey, maxKeepBytes)
				note(r, folder.id, strings.TrimSpace(string(body)), err, r.keeps, r.keepErrs)
			})
		}
	}
	all.Wait()
}

// note stores a result, or its error, from one of many goroutines.
func note[K comparable, V any](r *reading, key K, value V, err error, values map[K]V, errs map[K]error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if err != nil {
		errs[key] = err
		return
	}
	values[key] = value
}

func (d *destination) readInfo(ctx context.Context, key string) (Info, error) {
	body, err := d.get(ctx, key, maxInfoBytes)
	if err != nil {
		return Info{}, err
	}
	info, err := ParseInfo(body)
	return info, d.named(key, err)
}

// named puts the object's address into the problem of a parser.
func (d *destination) named(key string, err error) error {
	var p *recovery.Problem
	if !errors.As(err, &p) {
		return err
	}
	named := *p
	named.What = fmt.Sprintf("read s3://%s/%s", d.bucket, key)
	return &named
}

// readWAL lists the archive and reads its .history files, each once.
func (d *destination) readWAL(ctx context.Context, prefix string, r *reading) {
	var all sync.WaitGroup
	asked := map[string]bool{}
	r.wal, r.walErr = d.listWAL(ctx, prefix, func(objects []recovery.Object) {
		for _, object := range objects {
			if asked[object.Key] {
				continue
			}
			asked[object.Key] = true
			all.Go(func() {
				forks, err := d.readHistory(ctx, object.Key)
				name, _ := ParseWALName(object.Key[strings.LastIndexByte(object.Key, '/')+1:])
				note(r, name.Timeline, forks, err, r.forks, r.historyErrs)
			})
		}
	})
	all.Wait()
}

func (d *destination) readHistory(ctx context.Context, key string) ([]Fork, error) {
	plain, err := d.readPlainHistory(ctx, key)
	if err != nil {
		return nil, err
	}
	forks, err := ParseHistory(plain)
	return forks, d.named(key, err)
}

// gaps are the parts of the server that could not be read.
func (r *reading) gaps() recovery.Gaps {
	var gaps recovery.Gaps
	gaps.Add("list the backups of "+r.name, r.baseErr)
	gaps.Add("list the WAL of "+r.name, r.walErr)
	addFailures(&gaps, "read backup.info of %d backups of "+r.name, r.infoErrs)
	addFailures(&gaps, "read the keep marks of %d backups of "+r.name, r.keepErrs)
	addFailures(&gaps, "read %d .history files of "+r.name, r.historyErrs)
	return gaps
}

// addFailures adds each failure, in order. When a server went away, hundreds fail alike: those are
// told in one.
func addFailures[K interface{ ~string | ~uint32 }](gaps *recovery.Gaps, many string, errs map[K]error) {
	var alike []error
	for _, key := range slices.Sorted(maps.Keys(errs)) {
		if err := errs[key]; errors.Is(err, recovery.ErrDamaged) || len(errs) <= manyFailures {
			gaps.Add("", err)
		} else {
			alike = append(alike, err)
		}
	}
	if len(alike) == 0 {
		return
	}
	var p *recovery.Problem
	if !errors.As(alike[0], &p) {
		gaps.Add(fmt.Sprintf(many, len(alike)), alike[0])
		return
	}
	one := *p
	one.What = fmt.Sprintf(many, len(alike))
	gaps.Add("", &one)
}
