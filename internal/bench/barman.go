package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/drctl/drctl/internal/barman"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/s3"
)

const (
	// barmanRounds is how often each side reads; medians count.
	barmanRounds = 5
	// barmanDelay is what a request takes to a store in the same region.
	barmanDelay = 20 * time.Millisecond

	barmanBucket = "postgres-backups"
	barmanPrefix = "cnpg/immich"
	barmanServer = "immich-database-v1"
)

// BarmanWorks measure the reading of a Barman catalog in S3.
func BarmanWorks() []Work {
	return []Work{
		{Name: "barman-list", Run: barmanList},
		{Name: "wal-continuity", Run: walContinuity},
	}
}

// barmanList reads a catalog of 200 backups, with its WAL, against barman-cloud-backup-list, which
// reads the backups only.
func barmanList(ctx context.Context, env Env) ([]Row, error) {
	const backups, segments = 200, 300
	store, err := newMinIOStore(ctx, env)
	if err != nil {
		return nil, err
	}
	defer store.close()
	if err := store.fill(ctx, backups, segments, 0); err != nil {
		return nil, err
	}
	peer, err := exec.LookPath("barman-cloud-backup-list")
	if err != nil {
		return nil, fmt.Errorf("the anchor is Debian's barman-cli-cloud: %w", err)
	}
	ours := &side{run: store.counted(&store.oursCount, store.drctl(env.Drctl))}
	theirs := &side{run: store.counted(&store.theirsCount, store.barmanList(peer))}
	if err := interleave(ctx, barmanRounds, backups, ours, theirs); err != nil {
		return nil, err
	}
	by := "drctl"
	if env.Drctl == "" {
		by = "drctl's library"
	}
	return []Row{{
		Work:   fmt.Sprintf("%s reads the catalog of %d backups and %d segments, %v a request", by, backups, segments, barmanDelay),
		Anchor: "barman-cloud-backup-list --format json", Ours: ours.median(), Theirs: theirs.median(),
		OursCount: store.oursCount, TheirsCount: store.theirsCount, CountUnit: "S3 requests", GoalRatio: 20, Rounds: barmanRounds,
	}}, nil
}

// walContinuity lists 100,000 segments and finds the seeded gaps. The anchor lists the same keys, page
// by page, and concludes nothing. It is done twice: against MinIO, which on one drive reads the metadata
// of one object at a time, whoever asks, and against a server that is no bottleneck, as S3 is none.
func walContinuity(ctx context.Context, env Env) ([]Row, error) {
	memory, err := continuityRow(ctx, env, "a store in memory", newMemoryStore)
	if err != nil {
		return nil, err
	}
	minio, err := continuityRow(ctx, env, "MinIO on one drive", newMinIOStore)
	return []Row{memory, minio}, err
}

func continuityRow(ctx context.Context, env Env, where string, open func(context.Context, Env) (*slowStore, error)) (Row, error) {
	const segments, holes = 100_000, 7
	store, err := open(ctx, env)
	if err != nil {
		return Row{}, err
	}
	defer store.close()
	env.Logf("writing %d empty WAL segments to %s", segments, where)
	if err := store.fill(ctx, 1, segments, holes); err != nil {
		return Row{}, err
	}
	ours := &side{run: store.counted(&store.oursCount, store.continuity(holes))}
	theirs := &side{run: store.counted(&store.theirsCount, store.serialPages)}
	if err := interleave(ctx, barmanRounds, segments-holes, ours, theirs); err != nil {
		return Row{}, err
	}
	return Row{
		Work:   fmt.Sprintf("WAL continuity of %d segments in %s, %d gaps found, %v a request", segments, where, holes, barmanDelay),
		Anchor: "ListObjectsV2, page by page", Ours: ours.median(), Theirs: theirs.median(),
		OursCount: store.oursCount, TheirsCount: store.theirsCount, CountUnit: "S3 requests", GoalRatio: 5, GoalCount: segments * 14 / 10_000, Rounds: barmanRounds,
	}, nil
}

// counted notes how many requests one run of a side took, as the store's front counts them.
func (s *slowStore) counted(count *int64, run func(context.Context) (int, error)) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		before := s.requests.Load()
		found, err := run(ctx)
		*count = s.requests.Load() - before
		return found, err
	}
}

// drctl reads the catalog with the program, or with its library when there is none.
func (s *slowStore) drctl(program string) func(context.Context) (int, error) {
	if program == "" {
		return func(ctx context.Context) (int, error) {
			server, err := s.read(ctx)
			return len(server.Backups), err
		}
	}
	return func(ctx context.Context) (int, error) {
		command := exec.CommandContext(ctx, program, "cnpg", "backups", "--destination-path", s.destination(), "--endpoint-url", s.endpoint, "-o", "json")
		command.Env = s.env()
		var answer recovery.Catalog
		if err := runJSON(command, &answer); err != nil {
			return 0, err
		}
		total := 0
		for _, server := range answer.Servers {
			total += len(server.Backups)
		}
		return total, nil
	}
}

func (s *slowStore) barmanList(program string) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		command := exec.CommandContext(ctx, program, "--endpoint-url", s.endpoint, "--format", "json", s.destination(), barmanServer)
		command.Env = s.env()
		var answer struct {
			Backups []json.RawMessage `json:"backups_list"`
		}
		err := runJSON(command, &answer)
		return len(answer.Backups), err
	}
}

func runJSON(command *exec.Cmd, into any) error {
	out, err := command.Output()
	if err != nil {
		return fmt.Errorf("bench: %s: %w", command.Path, err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("bench: what %s says: %w", command.Path, err)
	}
	return nil
}

// continuity counts the segments, and fails unless exactly the seeded gaps are found.
func (s *slowStore) continuity(holes int) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		server, err := s.read(ctx)
		if err == nil && len(server.WAL.Gaps) != holes {
			err = fmt.Errorf("bench: %d gaps found, not %d", len(server.WAL.Gaps), holes)
		}
		return server.WAL.SegmentCount, err
	}
}

func (s *slowStore) read(ctx context.Context) (recovery.Server, error) {
	client, err := s.client(ctx)
	if err != nil {
		return recovery.Server{}, err
	}
	catalog, gaps, err := barman.ReadCatalog(ctx, client, barman.Options{Bucket: barmanBucket, Prefix: barmanPrefix, Servers: []string{barmanServer}})
	if err != nil {
		return recovery.Server{}, err
	}
	if len(gaps) > 0 {
		return recovery.Server{}, gaps[0]
	}
	return catalog.Servers[0], nil
}

// serialPages counts the segments the plain way.
func (s *slowStore) serialPages(ctx context.Context) (int, error) {
	client, err := s.client(ctx)
	if err != nil {
		return 0, err
	}
	page, err := client.ListAll(ctx, recovery.ObjectQuery{Bucket: barmanBucket, Prefix: barmanPrefix + "/" + barmanServer + "/wals/"})
	return len(page.Objects), err
}

// client is a new one for each run: both sides open their connections anew, as a command does.
func (s *slowStore) client(ctx context.Context) (*s3.Client, error) {
	return s3.New(ctx, s3.Config{EndpointURL: s.endpoint, AccessKeyID: s.accessKeyID, SecretAccessKey: s.secretAccessKey})
}

// fill writes one server: backups with small data files, and empty WAL segments with holes spread
// among them.
func (s *slowStore) fill(ctx context.Context, backups, segments, holes int) error {
	size := barman.SegmentSize(16 << 20)
	const server = barmanPrefix + "/" + barmanServer + "/"
	for i := range backups {
		at := time.Date(2026, 1, 1, 2, 0, 0, 0, time.UTC).AddDate(0, 0, i)
		folder := server + "base/" + at.Format("20060102T150405")
		err := errors.Join(
			s.server.put(ctx, folder+"/backup.info", backupInfo(at, size.Name(1, uint64(i+2)))),
			s.server.put(ctx, folder+"/data.tar.gz", []byte("data")))
		if err != nil {
			return err
		}
	}
	var keys []string
	for number := 1; number <= segments; number++ {
		if holes == 0 || number%(segments/holes) != segments/holes/2 {
			name := size.Name(1, uint64(number))
			keys = append(keys, server+"wals/"+name[:16]+"/"+name+".gz")
		}
	}
	return s.server.putEmpty(ctx, keys)
}

// backupInfo has the lines of a real one that readers look at, and the long one that they skip.
func backupInfo(at time.Time, segment string) []byte {
	const layout = "2006-01-02 15:04:05.000000-07:00"
	return fmt.Appendf(nil, `backup_label='START WAL LOCATION: 0/2000028 (file %[1]s)\nBACKUP METHOD: streamed\n'
begin_offset=40
begin_time=%[2]s
begin_wal=%[1]s
begin_xlog=0/2000028
compression=None
copy_stats={'total_time': 4.7, 'number_of_workers': 2, 'analysis_time': 0}
end_offset=256
end_time=%[3]s
end_wal=%[1]s
end_xlog=0/2000100
error=None
server_name=cloud
size=None
status=DONE
systemid=7711269069915600929
tablespaces=None
timeline=1
version=150020
xlog_segment_size=16777216
`, segment, at.Format(layout), at.Add(time.Minute).Format(layout))
}
