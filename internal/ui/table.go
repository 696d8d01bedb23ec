package ui

import (
	"fmt"
	"io"
	"strings"

	"github.com/fatih/color"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Table is a listing in kubectl's manner: upper-case heads, columns set apart by spaces, no lines.
type Table struct {
	writer table.Writer
	widths []int
	none   string
	rows   int
}

// NewTable starts a table. None is what is printed instead of an empty one.
func NewTable(none string, heads ...string) *Table {
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	writer := table.NewWriter()
	writer.SetStyle(style)
	writer.SuppressTrailingSpaces()
	t := &Table{writer: writer, widths: make([]int, len(heads)), none: none}
	writer.AppendHeader(t.row(heads))
	return t
}

// Row adds a row.
func (t *Table) Row(cells ...string) {
	t.rows++
	t.writer.AppendRow(t.row(cells))
}

func (t *Table) row(cells []string) table.Row {
	r := make(table.Row, 0, len(cells))
	for i, cell := range cells {
		if cell == "" {
			cell = "-"
		}
		t.widths[i] = max(t.widths[i], text.StringWidthWithoutEscSequences(cell))
		r = append(r, cell)
	}
	return r
}

// leastWidth is how narrow Within may make a column.
const leastWidth = 16

// Within makes a table that is wider than a terminal of so many columns fit, where it can: the widest
// column is continued on the next line, so that the others stay below each other and nothing is left
// out. Call it behind the last Row; 0 stands for no terminal and changes nothing.
func (t *Table) Within(columns int) *Table {
	const between = 2
	total, widest := -between, 0
	for i, width := range t.widths {
		total += width + between
		if width > t.widths[widest] {
			widest = i
		}
	}
	if columns > 0 && total > columns {
		most := max(leastWidth, t.widths[widest]-(total-columns))
		t.writer.SetColumnConfigs([]table.ColumnConfig{{Number: widest + 1, WidthMax: most, WidthMaxEnforcer: breakName}})
	}
	return t
}

// breakName breaks a name into lines of at most so many characters, behind a dash where there is one.
func breakName(name string, most int) string {
	var lines []string
	rest := []rune(name)
	for len(rest) > most {
		line := string(rest[:most])
		if dash := strings.LastIndexAny(line, "-./"); dash > most/2 {
			line = line[:dash+1]
		}
		lines = append(lines, line)
		rest = rest[len([]rune(line)):]
	}
	return strings.Join(append(lines, string(rest)), "\n")
}

// Write prints the table.
func (t *Table) Write(w io.Writer) error {
	rendered := t.none
	if t.rows > 0 {
		rendered = t.writer.Render()
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(rendered, " "))
	return err
}

// Tone says how a word is meant; it becomes a colour where there are colours.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Caution
	Bad
	Faint
)

// Paint colours text in the tone, or gives it back as it is where nobody wants colours.
func (s Streams) Paint(tone Tone, text string) string {
	if !s.Color || text == "" {
		return text
	}
	var c *color.Color
	switch tone {
	case Good:
		c = color.New(color.FgGreen)
	case Caution:
		c = color.New(color.FgYellow)
	case Bad:
		c = color.New(color.FgRed, color.Bold)
	case Faint:
		c = color.New(color.Faint)
	default:
		return text
	}
	c.EnableColor()
	return c.Sprint(text)
}
