package ui

import (
	"fmt"
	"io"
	"strings"

	"github.com/fatih/color"
	"github.com/jedib0t/go-pretty/v6/table"
)

// Table is a listing in kubectl's manner: upper-case heads, columns set apart by spaces, no lines.
type Table struct {
	writer table.Writer
	empty  bool
	none   string
}

// NewTable starts a table. None is what is printed instead of an empty one.
func NewTable(none string, heads ...string) *Table {
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	writer := table.NewWriter()
	writer.SetStyle(style)
	writer.SuppressTrailingSpaces()
	writer.AppendHeader(row(heads))
	return &Table{writer: writer, empty: true, none: none}
}

// Row adds a row.
func (t *Table) Row(cells ...string) {
	t.empty = false
	t.writer.AppendRow(row(cells))
}

func row(cells []string) table.Row {
	r := make(table.Row, 0, len(cells))
	for _, cell := range cells {
		if cell == "" {
			cell = "-"
		}
		r = append(r, cell)
	}
	return r
}

// Write prints the table.
func (t *Table) Write(w io.Writer) error {
	text := t.none
	if !t.empty {
		text = t.writer.Render()
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(text, " "))
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
