package operation

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// written is a journal of some entries, and where its lines end.
func written(t testing.TB) (raw []byte, ends []int) {
	t.Helper()
	for _, entry := range []Entry{
		{Time: begun, Step: "git", Event: EntryStarted},
		{Time: begun, Step: "git", Event: EntryFact, Facts: map[string]string{"commit": "c0ffee", "says": "two\nlines, ünïcode"}},
		{Time: begun, Step: "git", Event: EntryDone},
		{Time: begun, Step: "delete", Event: EntryStarted},
	} {
		line, err := encode(entry)
		require.NoError(t, err)
		raw = append(raw, line...)
		ends = append(ends, len(raw))
	}
	return raw, ends
}

// TestTornAtEveryByte: a crash in the middle of a write, wherever it was, costs the last entry only, whose
// effect had not begun.
func TestTornAtEveryByte(t *testing.T) {
	raw, ends := written(t)
	s := NewStore(t.TempDir())
	j, err := s.Create(flipPlan())
	require.NoError(t, err)
	j.Close()
	path := filepath.Join(s.Dir(planID), journalFile)
	before := ends[len(ends)-2]
	for size := before; size < len(raw); size++ {
		for name, torn := range map[string][]byte{
			"short": raw[:size],
			// The file has its length, the last blocks of it never came.
			"zeros": append(append([]byte{}, raw[:size]...), make([]byte, len(raw)-size)...),
			// The first block of the line never came, the last one did.
			"hole": append(append(append([]byte{}, raw[:before]...), make([]byte, size-before+1)...), '\n'),
		} {
			require.NoError(t, os.WriteFile(path, torn, 0o600))
			view, err := s.View(planID)
			require.NoError(t, err, "%s %d", name, size)
			require.Equal(t, StatePending, view.Steps[4].State)
			j, err := s.Open(planID)
			require.NoError(t, err)
			require.Len(t, j.Entries(), 3)
			require.NoError(t, j.Append(Entry{Time: begun, Step: "delete", Event: EntryStarted}))
			j.Close()
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(raw), string(content))
		}
	}
}

func TestDamagedInTheMiddle(t *testing.T) {
	raw, ends := written(t)
	for name, spoil := range map[string]func([]byte) []byte{
		"a line cut":             func(b []byte) []byte { return append(append([]byte{}, b[:ends[0]-5]...), b[ends[0]-1:]...) },
		"zeros before the last":  func(b []byte) []byte { clear(b[ends[0] : ends[1]-1]); return b },
		"an event not known":     func(b []byte) []byte { return bytes.Replace(b, []byte(`"done"`), []byte(`"won"`), 1) },
		"a last line of garbage": func(b []byte) []byte { return append(b, "garbage\n"...) },
		"an empty line":          func(b []byte) []byte { return append([]byte("\n"), b...) },
		"null":                   func(b []byte) []byte { return append(b, "null\n"...) },
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ParseJournal(spoil(append([]byte{}, raw...)))
			require.ErrorIs(t, err, recovery.ErrDamaged)
		})
	}
}

func TestAppendThatFailsLeavesNothing(t *testing.T) {
	s := NewStore(t.TempDir())
	j, err := s.Create(flipPlan())
	require.NoError(t, err)
	defer j.Close()
	require.NoError(t, j.Append(Entry{Time: begun, Step: "git", Event: EntryStarted}))
	require.NoError(t, j.file.Close())
	require.ErrorContains(t, j.Append(Entry{Time: begun, Step: "git", Event: EntryDone}), journalFile)
	require.False(t, j.steps["git"].done)
	require.Len(t, j.Entries(), 1)
}

func TestLongErrorsAreCut(t *testing.T) {
	line, err := encode(Entry{Time: begun, Event: EntryFailed, Error: strings.Repeat("x", 1<<20)})
	require.NoError(t, err)
	require.Less(t, len(line), 3000)
}

func FuzzJournal(f *testing.F) {
	raw, ends := written(f)
	f.Add(raw)
	f.Add(raw[:ends[1]+7])
	f.Add([]byte{})
	f.Add([]byte("\n"))
	f.Add([]byte("{}\n"))
	f.Add([]byte("null\nnull"))
	f.Add(append(append([]byte{}, raw...), 0, 0, 0, '\n'))
	f.Add([]byte(`{"time":"2026-11-24T06:15:02Z","event":"failed","error":"` + "\xff" + `"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, whole, err := ParseJournal(data)
		if whole > len(data) || (whole > 0 && data[whole-1] != '\n') {
			t.Fatalf("whole = %d of %d", whole, len(data))
		}
		// What was read reads the same again, and so it does with another entry behind it.
		again, size, problem := ParseJournal(data[:whole])
		if problem != nil || size != whole || len(again) != len(entries) {
			t.Fatalf("again: %d entries, %d bytes, %v", len(again), size, problem)
		}
		line, problem := encode(Entry{Time: begun, Step: "delete", Event: EntryStarted})
		if problem != nil {
			t.Fatal(problem)
		}
		more, _, problem := ParseJournal(append(append([]byte{}, data[:whole]...), line...))
		if problem != nil || len(more) != len(entries)+1 {
			t.Fatalf("more: %d entries, %v", len(more), problem)
		}
		if kept := withoutFailures(data[:whole]); !bytes.HasPrefix(data, kept) {
			t.Fatal("more than there was")
		}
		if err == nil {
			_, _ = NewView(flipPlan(), data)
			if rest := data[whole:]; len(rest) > 0 && bytes.IndexByte(rest, '\n') >= 0 && bytes.IndexByte(rest, 0) < 0 {
				t.Fatal("a whole line was left out")
			}
		}
	})
}
