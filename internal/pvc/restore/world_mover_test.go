package restore

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// fakeMovers hears, as one process does, what Pods say while it is there.
type fakeMovers struct {
	*world
	heard map[string]bool
}

// passMovers has VolSync work.
func (w *world) passMovers() {
	for _, key := range sorted(w.Movers) {
		m := w.Movers[key]
		if m.Completed == m.Trigger || m.Paused || m.Result == "Failed" {
			continue
		}
		m.StartedAt, m.Condition = noon, "SyncInProgress"
		if m.looks++; m.looks < 4 {
			continue
		}
		m.Result, m.EndedAt, m.StartedAt = "Successful", noon.Add(time.Minute), time.Time{}
		if m.Destination != nil {
			w.restore(m)
		} else {
			w.makeBackup(m)
		}
		if w.twist != nil {
			w.twist(m)
		}
		m.told = logOf(m.restored, m.backedUp)
		// Of a backup the status keeps all lines, of a restore those that tell of an error.
		if m.Source != nil || w.statusOnly {
			m.Logs = m.told
		}
		if m.Result == "Successful" && m.Condition != "swallowed" {
			m.Completed = m.Trigger
		}
	}
}

// selects is the mover's own choice.
// Source: perfectra1n/volsync mover-kopia/entry.sh, select_snapshot_to_restore: the listing, oldest first,
// is reversed, filtered by the text of startTime, and indexed by the offset.
func selects(all []recovery.Snapshot, of recovery.KopiaSource, asOf string, previous int, checkpoints bool) (recovery.Snapshot, bool) {
	var list []recovery.Snapshot
	for _, s := range all {
		if s.Source == of && (checkpoints || s.Complete()) {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b recovery.Snapshot) int { return a.StartTime.Compare(b.StartTime) })
	slices.Reverse(list)
	list = slices.DeleteFunc(list, func(s recovery.Snapshot) bool { return asOf != "" && s.StartTime.UTC().Format(time.RFC3339Nano) > asOf })
	if previous >= len(list) {
		return recovery.Snapshot{}, false
	}
	return list[previous], true
}

func (w *world) restore(m *mover) {
	d := m.Destination
	chosen, found := selects(w.Repo, d.Identity, d.RestoreAsOf, d.Previous, w.checkpoints)
	m.restored = recovery.RestoreLog{Nothing: true}
	if found {
		m.restored = recovery.RestoreLog{SelectedID: chosen.ID, Counted: true, FileCount: chosen.FileCount}
		m.Data = w.Contents[chosen.ID]
	}
	if d.Into == "" {
		m.Image = d.Name + "-image"
		return
	}
	for _, p := range w.Pods {
		w.lose(p.Namespace == d.Namespace && p.Claim == d.Into, "a mover wrote into %s, which Pod %s mounts", d.Into, p.Name)
	}
	claim := w.Claims[d.Namespace+"/"+d.Into]
	if claim == nil || w.Volumes[claim.Volume] == nil {
		m.Result = "Failed"
		return
	}
	v := w.Volumes[claim.Volume]
	switch {
	case !d.Exact && !strings.HasPrefix(v.Data, m.Data+" over "):
		v.Data = m.Data + " over " + v.Data
	case d.Exact:
		v.Data = m.Data
	}
}

func (w *world) makeBackup(m *mover) {
	claim := w.Claims[m.Source.Namespace+"/"+m.Source.Claim]
	w.made++
	s := recovery.Snapshot{
		ID: "new" + string(rune('0'+w.made)), Source: m.Source.Template.Identity, StartTime: noon.Add(time.Duration(w.made) * time.Minute), SizeBytes: 3 << 20, FileCount: 700,
	}
	m.Data, m.backedUp = s.ID, recovery.BackupLog{SnapshotID: s.ID}
	w.backup(s)
	w.Contents[s.ID] = w.Volumes[claim.Volume].Data
}

func logOf(r recovery.RestoreLog, b recovery.BackupLog) string {
	raw, err := json.Marshal([]any{r, b})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func (m fakeMovers) ReadRestore(lines string) (r recovery.RestoreLog) {
	var b recovery.BackupLog
	if lines != "" {
		_ = json.Unmarshal([]byte(lines), &[]any{&r, &b})
	}
	return r
}

func (m fakeMovers) ReadBackup(lines string) (b recovery.BackupLog) {
	var r recovery.RestoreLog
	if lines != "" {
		_ = json.Unmarshal([]byte(lines), &[]any{&r, &b})
	}
	return b
}

func (m fakeMovers) Template(ctx context.Context, namespace, claim string) (t Template, err error) {
	return t, m.do(ctx, "template", func() error {
		t = m.templates[namespace+"/"+claim]
		if t.Secret == "" {
			t = Template{Identity: recovery.KopiaSource{Username: claim + "-backup", Hostname: namespace, Path: "/data"}, Secret: claim + "-backup", Kopia: json.RawMessage(`{}`)}
		}
		return nil
	})
}

func (m fakeMovers) create(ctx context.Context, call, key string, made *mover) error {
	return m.do(ctx, call, func() error {
		if there := m.Movers[key]; there != nil {
			if there.PlanID != made.PlanID {
				return recovery.ErrExists
			}
			return nil
		}
		made.UID, made.Trigger, made.Job = m.uid("mover"), made.PlanID, "job-"+made.Name
		m.Movers[key] = made
		return nil
	})
}

func (m fakeMovers) CreateDestination(ctx context.Context, d Destination) error {
	return m.create(ctx, "create-destination", "destination "+d.Namespace+"/"+d.Name, &mover{MoverRun: recovery.MoverRun{Name: d.Name, PlanID: d.PlanID}, Destination: &d})
}

func (m fakeMovers) CreateSource(ctx context.Context, s Source) error {
	return m.create(ctx, "create-source", "source "+s.Namespace+"/"+s.Name, &mover{MoverRun: recovery.MoverRun{Name: s.Name, PlanID: s.PlanID}, Source: &s})
}

func (m fakeMovers) look(ctx context.Context, call, key string) (found *recovery.MoverRun, err error) {
	return found, m.do(ctx, call, func() error {
		if there := m.Movers[key]; there != nil {
			same := there.MoverRun
			found = &same
			m.heard[there.Job+there.UID] = m.heard[there.Job+there.UID] || there.Completed != there.Trigger
		}
		return nil
	})
}

func (m fakeMovers) Destination(ctx context.Context, namespace, name string) (*recovery.MoverRun, error) {
	return m.look(ctx, "destination", "destination "+namespace+"/"+name)
}

func (m fakeMovers) DestinationNow(ctx context.Context, namespace, name string) (*recovery.MoverRun, error) {
	return m.look(ctx, "destination-now", "destination "+namespace+"/"+name)
}

func (m fakeMovers) Source(ctx context.Context, namespace, name string) (*recovery.MoverRun, error) {
	return m.look(ctx, "source", "source "+namespace+"/"+name)
}

func (m fakeMovers) Rerun(ctx context.Context, namespace, name, planID, trigger string) error {
	return m.do(ctx, "rerun", func() error {
		there := m.Movers["destination "+namespace+"/"+name]
		if there == nil || there.PlanID != planID {
			return recovery.ErrNotFound
		}
		there.Trigger, there.looks, there.UID = trigger, 0, m.uid("run")
		m.heard[there.Job+there.UID] = true
		return nil
	})
}

func (m fakeMovers) Remove(ctx context.Context, namespace, name, planID string) error {
	return m.do(ctx, "remove", func() error {
		for _, key := range []string{"destination " + namespace + "/" + name, "source " + namespace + "/" + name} {
			if there := m.Movers[key]; there != nil && there.PlanID == planID {
				delete(m.Movers, key)
			}
		}
		return nil
	})
}

func (m fakeMovers) Left(ctx context.Context, namespace, planID string) (left []string, err error) {
	return left, m.do(ctx, "left", func() error {
		for _, key := range sorted(m.Movers) {
			if m.Movers[key].PlanID == planID {
				left = append(left, key)
			}
		}
		return nil
	})
}

func (m fakeMovers) Running(context.Context, string, string) ([]string, error) { return m.running, nil }

func (m fakeMovers) MoverLog(ctx context.Context, _, job string) (lines string, err error) {
	return lines, m.do(ctx, "mover-log", func() error {
		for _, there := range m.Movers {
			if there.Job == job && !m.silent && m.heard[there.Job+there.UID] {
				lines = there.told
			}
		}
		return nil
	})
}
