package ui

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestAge(t *testing.T) {
	cases := map[time.Duration]string{
		0: "0s", 90 * time.Second: "90s", 2 * time.Minute: "2m", 179 * time.Minute: "179m", 3*time.Hour + 5*time.Minute: "3h05m",
		25 * time.Hour: "1d1h", 11 * 24 * time.Hour: "11d", -time.Hour: "in 60m",
	}
	for age, want := range cases {
		require.Equal(t, want, Age(age))
	}
}

func TestParseFormat(t *testing.T) {
	for _, text := range Formats() {
		format, err := ParseFormat(text)
		require.NoError(t, err)
		require.Equal(t, Format(text), format)
	}
	_, err := ParseFormat("xml")
	require.ErrorIs(t, err, recovery.ErrUsage)
	require.ErrorContains(t, err, "table|wide|json|yaml|name")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAFailedWriteIsAnError(t *testing.T) {
	for _, format := range Formats() {
		table := NewTable("nothing", "A")
		table.Row("x")
		view := View{Data: []string{"x"}, Names: []string{"x"}, Table: func(w io.Writer, _ bool) error { return table.Write(w) }}
		err := Streams{Out: brokenWriter{}}.Print(Format(format), view)
		require.ErrorContains(t, err, "no space left", format)
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	table := NewTable("No rows.", "NAME", "STATE")
	require.NoError(t, table.Write(&out))
	require.Equal(t, "No rows.\n", out.String())
	out.Reset()
	painted := Streams{Color: true}
	table.Row("a-long-name", painted.Paint(Good, "protected"))
	table.Row("b", "")
	require.NoError(t, table.Write(&out))
	require.Equal(t, "NAME         STATE\na-long-name  \x1b[32mprotected\x1b[0m\nb            -\n", out.String())
}

func TestTableWithinATerminal(t *testing.T) {
	const long = "karakeep-bookmarks-archive-with-full-page-screenshots-2024"
	render := func(columns int, name string) string {
		var out bytes.Buffer
		table := NewTable("", "NAMESPACE", "NAME", "STATE")
		table.Row("karakeep", name, Streams{Color: true}.Paint(Good, "protected"))
		table.Row("karakeep", "data-pvc", "stale")
		require.NoError(t, table.Within(columns).Write(&out))
		return out.String()
	}
	require.Equal(t, `NAMESPACE  NAME                          STATE
karakeep   karakeep-bookmarks-archive-   \x1b[32mprotected\x1b[0m
           with-full-page-screenshots-
           2024
karakeep   data-pvc                      stale
`, strings.ReplaceAll(render(50, long), "\x1b", `\x1b`))
	require.Equal(t, render(0, long), render(80, long), "no terminal, or one that is wide enough")
	require.Contains(t, render(0, long), long)
	require.Contains(t, render(20, long), "full-page-\n", "too narrow for any table: readable all the same")
	require.Contains(t, render(50, strings.Repeat("ä", 30)), strings.Repeat("ä", 28)+" ", "characters, not bytes")
}

func TestWorkingSaysNothingOfShortWork(t *testing.T) {
	var out bytes.Buffer
	Streams{Err: &out}.Working("reading")()
	require.Empty(t, out.String())
}

func TestExplain(t *testing.T) {
	require.Equal(t, "Error: plain\n", Explain(errors.New("plain")))
	require.Equal(t, "Error: open it\n  why:  it is shut\n  next: knock\n", Explain(&recovery.Problem{What: "open it", Why: "it is shut", Next: "knock"}))
	require.Equal(t, "Error: open it\n  why:  cause\n", Explain(&recovery.Problem{What: "open it", Err: errors.New("cause")}))
}
