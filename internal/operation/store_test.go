package operation

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestNewID(t *testing.T) {
	for operation, want := range map[string]string{
		"cnpg-recover":                    `^cnpg-recover-20261124-061502-[a-z0-9]{4}$`,
		"a-very-long-operation-that-goes": `^a-very-long-operati-20261124-061502-[a-z0-9]{4}$`,
		"a-very-long-operat-ion":          `^a-very-long-operat-20261124-061502-[a-z0-9]{4}$`,
	} {
		id := NewID(operation, begun.In(time.FixedZone("elsewhere", 3600)))
		require.Regexp(t, regexp.MustCompile(want), id)
		require.True(t, validID(id))
	}
	require.NotEqual(t, NewID("x", begun), NewID("x", begun))
}

func TestPlanIsStoredAsItIs(t *testing.T) {
	p := flipPlan()
	p.APIVersion, p.Kind = "", ""
	p.Steps[0].Timeout = 1500 * time.Millisecond
	s := NewStore(filepath.Join(t.TempDir(), "state", "plans"))
	j, err := s.Create(p)
	require.NoError(t, err)
	j.Close()
	content, err := os.ReadFile(filepath.Join(s.Dir(planID), planFile))
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(content, &fields))
	require.Equal(t, "drctl.dev/v1", fields["apiVersion"])
	require.Equal(t, "Plan", fields["kind"])
	require.Equal(t, "2026-11-24T06:15:02Z", fields["creationTime"])
	require.Equal(t, map[string]any{"id": "delete", "step": "delete", "title": "delete immich-database", "pointOfNoReturn": true, "timeoutSeconds": 60.0}, fields["steps"].([]any)[4])

	j, err = s.Open(planID)
	require.NoError(t, err)
	defer j.Close()
	want := flipPlan()
	want.Steps[0].Timeout = 2 * time.Second
	require.Equal(t, want, j.Plan, "a part of a second is a second")
	require.Empty(t, j.Entries())

	for path, mode := range map[string]os.FileMode{".": 0o700, planFile: 0o600, journalFile: 0o600, lockFile: 0o600} {
		info, err := os.Stat(filepath.Join(s.Dir(planID), path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
}

func TestPlansThatAreRefused(t *testing.T) {
	cases := map[string]func(*Plan){
		"an ID that leaves the folder": func(p *Plan) { p.ID = "../x" },
		"an ID that is too long":       func(p *Plan) { p.ID = strings.Repeat("a", 41) },
		"an ID in capitals":            func(p *Plan) { p.ID = "A" },
		"no steps":                     func(p *Plan) { p.Steps = nil },
		"a step without ID":            func(p *Plan) { p.Steps[1].ID = "" },
		"an ID twice":                  func(p *Plan) { p.Steps[1].ID = p.Steps[0].ID },
		"a step without kind":          func(p *Plan) { p.Steps[1].Kind = "" },
		"a step without timeout":       func(p *Plan) { p.Steps[1].Timeout = 0 },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			p := flipPlan()
			spoil(&p)
			_, err := NewStore(t.TempDir()).Create(p)
			require.ErrorIs(t, err, recovery.ErrDamaged)
		})
	}
	_, err := NewStore("").Create(flipPlan())
	require.ErrorContains(t, err, "set HOME or XDG_STATE_HOME")
}

func TestReadGivesWhatWasLearned(t *testing.T) {
	s := NewStore(t.TempDir())
	j, err := s.Create(flipPlan())
	require.NoError(t, err)
	defer j.Close()
	for _, commit := range []string{"c0ffee", "decade"} {
		require.NoError(t, j.Append(Entry{Time: begun, Step: "git", Event: EntryFact, Facts: map[string]string{"commit": commit}}))
	}
	p, facts, err := s.Read(planID)
	require.NoError(t, err, "somebody has it open")
	require.Equal(t, flipPlan(), p)
	require.Equal(t, map[string]string{"commit": "decade"}, facts, "the newest counts")
	for _, id := range []string{"none", "../" + planID} {
		_, _, err = s.Read(id)
		require.ErrorIs(t, err, recovery.ErrNotFound)
	}
}

func TestDefaultDir(t *testing.T) {
	for _, c := range []struct{ state, home, want string }{
		{"/state", "/home/ada", "/state/drctl/plans"},
		{"", "/home/ada", "/home/ada/.local/state/drctl/plans"},
		{"relative", "/home/ada", "/home/ada/.local/state/drctl/plans"},
		{"", "", ""},
	} {
		env := map[string]string{"XDG_STATE_HOME": c.state, "HOME": c.home}
		require.Equal(t, c.want, DefaultDir(func(key string) string { return env[key] }))
	}
}

func TestListHidesNothing(t *testing.T) {
	s := NewStore(filepath.Join(t.TempDir(), "plans"))
	views, gaps, err := s.List()
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.NotNil(t, views)

	add := func(id string, created time.Time, entries ...Entry) {
		p := flipPlan()
		p.ID, p.CreationTime = id, created
		j, err := s.Create(p)
		require.NoError(t, err)
		defer j.Close()
		for _, entry := range entries {
			require.NoError(t, j.Append(entry))
		}
	}
	add("old", begun, Entry{Event: EntryFinished, Time: begun.Add(time.Hour)})
	add("new", begun.Add(time.Minute), Entry{Event: EntryStarted, Step: "git", Time: begun}, Entry{Event: EntryFailed, Step: "git", Error: "no", Time: begun})
	add("past", begun.Add(-time.Minute), Entry{Event: EntryStarted, Step: "delete", Time: begun})
	add("bad", begun)
	add("worse", begun)
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir("bad"), planFile), []byte("{"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(s.Dir("worse"), journalFile)))
	// A folder without a plan is one that a crash left, or not ours.
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "begun"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "README"), nil, 0o600))

	views, gaps, err = s.List()
	require.NoError(t, err)
	require.Len(t, gaps, 2)
	for _, gap := range gaps {
		require.ErrorIs(t, gap, recovery.ErrDamaged)
		require.Contains(t, gap.Next, "--takeover")
	}
	ids, states, abortable := []string{}, []string{}, []bool{}
	for _, view := range views {
		ids, states, abortable = append(ids, view.ID), append(states, view.State), append(abortable, view.Abortable)
	}
	require.Equal(t, []string{"new", "old", "past"}, ids)
	require.Equal(t, []string{PlanUnfinished, PlanFinished, PlanUnfinished}, states)
	require.Equal(t, []bool{true, false, false}, abortable)
	unfinished, gaps, err := s.Unfinished()
	require.NoError(t, err)
	require.Len(t, gaps, 2)
	require.Len(t, unfinished, 2)
	_, err = s.View("bad")
	require.ErrorIs(t, err, recovery.ErrDamaged)
	_, err = s.View("none")
	require.ErrorIs(t, err, recovery.ErrNotFound)
	_, err = s.Open("bad")
	require.ErrorIs(t, err, recovery.ErrDamaged)
}

func TestViewAsScriptsSeeIt(t *testing.T) {
	var raw []byte
	for _, entry := range []Entry{
		{Time: begun, Step: "git", Event: EntryStarted}, {Time: begun.Add(time.Second), Step: "git", Event: EntryDone},
		{Time: begun.Add(2 * time.Second), Step: "keep", Event: EntryDone},
		{Time: begun.Add(3 * time.Second), Step: "retain", Event: EntryStarted}, {Time: begun.Add(4 * time.Second), Step: "retain", Event: EntryFailed, Error: "denied"},
	} {
		line, err := encode(entry)
		require.NoError(t, err)
		raw = append(raw, line...)
	}
	view, err := NewView(plan("git", "keep", "retain", "fence"), raw)
	require.NoError(t, err)
	out, err := json.Marshal(NewList([]PlanView{view}))
	require.NoError(t, err)
	require.JSONEq(t, `{"apiVersion":"drctl.dev/v1","kind":"PlanList","items":[{
		"id":"`+planID+`","operation":"cnpg-recover","target":"cloudnative-pg/immich-database","recoveryPoint":"20261123T020000","clusterUID":"uid-1",
		"server":"https://127.0.0.1:6443","context":"home","createdBy":"ada@laptop","state":"unfinished","creationTime":"2026-11-24T06:15:02Z","abortable":true,
		"steps":[
			{"id":"git","step":"git","title":"git immich-database","state":"done","startTime":"2026-11-24T06:15:02Z","endTime":"2026-11-24T06:15:03Z"},
			{"id":"keep","step":"keep","title":"keep immich-database","state":"done","endTime":"2026-11-24T06:15:04Z"},
			{"id":"retain","step":"retain","title":"retain immich-database","state":"failed","startTime":"2026-11-24T06:15:05Z","endTime":"2026-11-24T06:15:06Z","error":"denied"},
			{"id":"fence","step":"fence","title":"fence immich-database","state":"pending"}]}]}`, string(out))
	single, err := json.Marshal(view.Single())
	require.NoError(t, err)
	require.Contains(t, string(single), `"apiVersion":"drctl.dev/v1","kind":"Plan"`)
	empty, err := json.Marshal(NewList(nil))
	require.NoError(t, err)
	require.Contains(t, string(empty), `"items":[]`)
	_, err = NewView(plan("git"), []byte("{}\n"))
	require.ErrorIs(t, err, recovery.ErrDamaged)
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := NewStore(file).Create(flipPlan())
	require.ErrorContains(t, err, "make the folder writable")
	_, _, err = NewStore(file).List()
	require.Error(t, err)
}

func TestRunByHand(t *testing.T) {
	run := &Run{}
	_, found := run.Fact("commit")
	require.False(t, found)
	require.NoError(t, run.SetFact(t.Context(), "commit", "c0ffee"))
	value, found := run.Fact("commit")
	require.True(t, found)
	require.Equal(t, "c0ffee", value)
	require.False(t, run.Started("x"))
	require.False(t, run.Done("x"))
	run.Report("nobody hears it")
}
